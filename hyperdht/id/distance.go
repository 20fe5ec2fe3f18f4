package id

import (
	"cmp"
	"encoding/binary"
	"math/bits"
)

// Closer compares two ids by their distance to a target: negative if a is nearer, positive if b is,
// 0 if they are the same. The distance is the XOR, read as a big endian number.
func Closer[T, N ~[32]byte](target T, a, b N) int {
	for i := 0; i < 32; i += 8 {
		t := word(target, i)
		if c := cmp.Compare(word(a, i)^t, word(b, i)^t); c != 0 {
			return c
		}
	}
	return 0
}

// CommonPrefix is the number of leading bits in which two ids agree: 256 if they are equal.
func CommonPrefix[T, N ~[32]byte](a T, b N) int {
	for i := 0; i < 32; i += 8 {
		if x := word(a, i) ^ word(b, i); x != 0 {
			return i*8 + bits.LeadingZeros64(x)
		}
	}
	return 256
}

func word[T ~[32]byte](v T, i int) uint64 {
	b := [32]byte(v)
	return binary.BigEndian.Uint64(b[i:])
}
