package vectors

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// An Example is a block of bytes on a page of the specification:
//
//	```hex
//	; name of the message (file.json)
//	03  ; bytes, and after the semicolon what they are
//	00*32  ; 32 bytes of zero
//	```
//
// The file is the one of the vectors that has the bytes. Additions of dhtprom have none: the test of their encoder compares them.
type Example struct {
	Name, File string
	Bytes      Hex
}

// Examples reads those of a page, such as "hyperdht". A malformed one fails the test, and so does a name that occurs twice.
func Examples(t testing.TB, page string) []Example {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(specFolder(t), page+".md"))
	if err != nil {
		t.Fatalf("read page: %v", err)
	}
	var all []Example
	names := map[string]bool{}
	for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
		e := readExample(t, block[1])
		if names[e.Name] {
			t.Fatalf("%s.md has two examples %q", page, e.Name)
		}
		names[e.Name] = true
		all = append(all, e)
	}
	return all
}

// ExampleBytes returns the bytes of the example with a name. A missing one fails the test.
func ExampleBytes(t testing.TB, page, name string) Hex {
	t.Helper()
	for _, e := range Examples(t, page) {
		if e.Name == name {
			return e.Bytes
		}
	}
	t.Fatalf("%s.md has no example %q", page, name)
	return nil
}

var (
	blocks = regexp.MustCompile("(?ms)^```hex\n(.*?)^```$")
	title  = regexp.MustCompile(`^; (.*?)(?: \(([a-z0-9-]+)\.json\))?$`)
)

func readExample(t testing.TB, block string) Example {
	t.Helper()
	first, rest, _ := strings.Cut(block, "\n")
	m := title.FindStringSubmatch(first)
	if m == nil {
		t.Fatalf("an example begins with %q, want a semicolon and its name", first)
	}
	e := Example{Name: m[1], File: m[2]}
	for line := range strings.Lines(rest) {
		bytes, _, _ := strings.Cut(line, ";")
		for _, word := range strings.Fields(bytes) {
			digits, count, repeated := strings.Cut(word, "*")
			n := 1
			b, err := hex.DecodeString(digits)
			if err == nil && repeated {
				n, err = strconv.Atoi(count)
			}
			if err != nil {
				t.Fatalf("example %q has %q, want bytes: %v", e.Name, word, err)
			}
			for range n {
				e.Bytes = append(e.Bytes, b...)
			}
		}
	}
	return e
}

// specFolder is the folder spec of the module that the test runs in.
func specFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	for err == nil && folder != filepath.Dir(folder) {
		if _, missing := os.Stat(filepath.Join(folder, "go.mod")); missing == nil {
			return filepath.Join(folder, "spec")
		}
		folder = filepath.Dir(folder)
	}
	t.Fatalf("the test runs in no module: %v", err)
	return ""
}
