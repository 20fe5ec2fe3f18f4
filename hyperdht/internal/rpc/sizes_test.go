package rpc

import (
	"testing"
	"unsafe"
)

// A program with thousands of nodes waits for memory more than it computes. A call takes 256 bytes, and so many of an endpoint
// are touched by each datagram, which lie together at its beginning.
func TestSizesInMemory(t *testing.T) {
	var e Endpoint
	for _, test := range []struct {
		what     string
		is, most uintptr
	}{
		{"call", unsafe.Sizeof(Call{}), 256},
		{"query", unsafe.Sizeof(Query{}), 448},
		{"endpoint", unsafe.Sizeof(e), 2048},
		{"what a datagram touches of it", unsafe.Offsetof(e.network) + unsafe.Offsetof(e.network.interfaces), 1600},
	} {
		if test.is > test.most {
			t.Errorf("%s: %d bytes, want at most %d", test.what, test.is, test.most)
		}
	}
}
