package stream

import (
	"testing"
	"unsafe"
)

// A program with thousands of streams waits for memory more than it computes. Nearly all of a stream is its machine.
func TestSizesInMemory(t *testing.T) {
	var s Stream
	for _, test := range []struct {
		what     string
		is, most uintptr
	}{
		{"stream", unsafe.Sizeof(s), 1432},
		{"what is not its machine", unsafe.Sizeof(s) - unsafe.Sizeof(s.machine), 376},
	} {
		if test.is > test.most {
			t.Errorf("%s: %d bytes, want at most %d", test.what, test.is, test.most)
		}
	}
}
