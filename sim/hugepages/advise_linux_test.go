package hugepages

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinesOfTheHeap(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       bool
	}{
		{"heap", "c000000000-c004000000 rw-p 00000000 00:00 0 \n", true},
		{"heap with its name", "c000000000-c004000000 rw-p 00000000 00:00 0                  [anon: Go: heap]\n", true},
		{"small", "c000000000-c000001000 rw-p 00000000 00:00 0 \n", false},
		{"reserved", "c000000000-c004000000 ---p 00000000 00:00 0 \n", false},
		{"shared", "c000000000-c004000000 rw-s 00000000 00:00 0 \n", false},
		{"of a file", "c000000000-c004000000 rw-p 00000000 fe:00 247260                     /tmp/data\n", false},
		{"nonsense", "Size: 4 kB\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, ok := heap(tt.line); ok != tt.want {
				t.Errorf("%v, want %v", ok, tt.want)
			}
		})
	}
}

func TestTheKernelTakesTheAdvice(t *testing.T) {
	large := make([]byte, 256<<20)
	err := Advise()
	if errors.Is(err, unix.EINVAL) {
		t.Logf("this kernel has no huge pages: %v", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	// hg: the mapping was given the advice (proc_pid_smaps(5)).
	if !bytes.Contains(maps, []byte(" hg")) {
		t.Error("no memory was given the advice")
	}
	runtime.KeepAlive(large)
}
