// Package compact implements the compact encoding of all HyperDHT messages
// (compact-encoding 3.5.2).
//
// The encoding does not describe itself: both sides know the layout. Encoders append to a slice and return
// it; decoders are methods of [Reader], which remembers its first error, so that a message is read
// field by field and checked once at the end:
//
//	r := compact.NewReader(b)
//	seq, value := r.Uint(), r.Bytes()
//	if err := r.Err(); err != nil { ... }
//
// Rules that hold everywhere: integers are little endian; a length or count is checked against what
// is left of the input before anything is allocated; numbers above [MaxUint] do not exist in
// JavaScript and are rejected; bytes after the last field are left to the caller, and
// messages ignore them so that later versions can append fields.
package compact

import "errors"

// Fixed by the encoding.
const (
	// MaxUint is the largest number that can be encoded: 2^53-1, the largest integer a JavaScript
	// number holds exactly.
	MaxUint = 1<<53 - 1
	// MaxArray is the largest element count that decoders accept (compact-encoding's array).
	MaxArray = 0x100000
	// AddrSize is the encoded size of an IPv4 address with port.
	AddrSize = 6
	// Addr6Size is the encoded size of an IPv6 address with port.
	Addr6Size = 18
)

var (
	// ErrShort means that the input ends inside a field.
	ErrShort = errors.New("compact: input too short")
	// ErrRange means that a number is larger than MaxUint.
	ErrRange = errors.New("compact: number out of range")
	// ErrTooLong means that an array announces more elements than allowed.
	ErrTooLong = errors.New("compact: array too long")
)
