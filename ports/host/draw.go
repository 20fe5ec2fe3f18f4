package host

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Draw fills b from a host's source of randomness. It panics if the source fails: nothing can go on without randomness, and a
// real host exits before.
func Draw(rand io.Reader, b []byte) {
	if _, err := io.ReadFull(rand, b); err != nil {
		panic(fmt.Sprintf("host: no randomness: %v", err))
	}
}

// DrawUint16 draws a number of 2 bytes.
func DrawUint16(rand io.Reader) uint16 {
	var b [2]byte
	Draw(rand, b[:])
	return binary.LittleEndian.Uint16(b[:])
}

// DrawUint32 draws a number of 4 bytes.
func DrawUint32(rand io.Reader) uint32 {
	var b [4]byte
	Draw(rand, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// DrawUint64 draws a number of 8 bytes.
func DrawUint64(rand io.Reader) uint64 {
	var b [8]byte
	Draw(rand, b[:])
	return binary.LittleEndian.Uint64(b[:])
}
