package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder records the failure of a comparison.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	if r.failed == "" {
		r.failed = fmt.Sprintf(format, args...)
	}
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func TestComparing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "folder", "file.txt")
	updating := func(on bool) { *update = on }
	defer updating(*update)

	updating(true)
	File(t, file, "one\ntwo\n")
	updating(false)
	for _, test := range []struct{ name, got, says string }{
		{"equal", "one\ntwo\n", ""},
		{"another line", "one\nthree\n", "line 2"},
		{"a line of the same length", "one\nTWO\n", "line 2"},
		{"a line more", "one\ntwo\n\n", "4 lines, were 3"},
		{"a line less", "one\ntwo", "2 lines, were 3"},
	} {
		r := &recorder{TB: t}
		File(r, file, test.got)
		if (r.failed == "") != (test.says == "") || !strings.Contains(r.failed, test.says) {
			t.Errorf("%s: says %q, want %q", test.name, r.failed, test.says)
		}
	}
	r := &recorder{TB: t}
	File(r, file+".none", "")
	if r.failed == "" {
		t.Error("a file that is missing is equal to nothing")
	}

	const content = "one\ntwo\n"
	r = &recorder{TB: t}
	if Part(r, file, content, 4, 8, "two\n"); r.failed != "" {
		t.Errorf("a part that is equal: %s", r.failed)
	}
	if Part(r, file, content, 4, 8, "2\n"); !strings.Contains(r.failed, "now\n\t2\n") {
		t.Errorf("a part that differs: %q", r.failed)
	}
	updating(true)
	Part(t, file, content, 4, 8, "2\n3\n")
	if b, err := os.ReadFile(file); err != nil || string(b) != "one\n2\n3\n" {
		t.Errorf("rewritten: %q, %v", b, err)
	}
}
