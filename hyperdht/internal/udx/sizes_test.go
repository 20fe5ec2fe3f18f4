package udx

import (
	"testing"
	"unsafe"
)

// A program with thousands of streams waits for memory more than it computes.
func TestSizesInMemory(t *testing.T) {
	var m Machine
	for _, test := range []struct {
		what     string
		is, most uintptr
	}{
		{"machine", unsafe.Sizeof(m), 1056},
		{"what a small packet touches of it, but for the counters", unsafe.Offsetof(m.keepalive), 936},
		{"packet", unsafe.Sizeof(packet{}), 112},
	} {
		if test.is > test.most {
			t.Errorf("%s: %d bytes, want at most %d", test.what, test.is, test.most)
		}
	}
}
