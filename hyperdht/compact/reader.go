package compact

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Reader reads compact encodings from the front of a byte slice. After the first error every method
// returns a zero value and consumes nothing, so one look at Err after the last field is enough.
//
// Byte slices it returns borrow the input.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Len is the number of bytes left. It is 0 after an error.
func (r *Reader) Len() int { return len(r.b) }

// Fail makes the Reader report err, for rules that a message adds to the encoding's own. An earlier
// error stays.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// take consumes n bytes, or none and fails.
func (r *Reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.Fail(ErrShort)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Uint8 reads one byte.
func (r *Reader) Uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads two bytes.
func (r *Reader) Uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// Uint24 reads three bytes.
func (r *Reader) Uint24() uint32 {
	if b := r.take(3); b != nil {
		return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	}
	return 0
}

// Uint32 reads four bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads eight bytes. Numbers above MaxUint fail with ErrRange.
func (r *Reader) Uint64() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	v := binary.LittleEndian.Uint64(b)
	if v > MaxUint {
		r.Fail(ErrRange)
		return 0
	}
	return v
}

// Uint reads a number of variable size. Longer forms than needed are accepted.
func (r *Reader) Uint() uint64 {
	switch m := r.Uint8(); m {
	case marker16:
		return uint64(r.Uint16())
	case marker32:
		return uint64(r.Uint32())
	case marker64:
		return r.Uint64()
	default:
		return uint64(m)
	}
}

// Int reads a zig-zag number.
func (r *Reader) Int() int64 {
	v := r.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Bool reads one byte; only 1 is true, and no value is rejected.
func (r *Reader) Bool() bool { return r.Uint8() == 1 }

// Fixed reads n bytes.
func (r *Reader) Fixed(n int) []byte { return r.take(n) }

// Key reads 32 bytes: a key, hash, token or id.
func (r *Reader) Key() [32]byte {
	if b := r.take(32); b != nil {
		return [32]byte(b)
	}
	return [32]byte{}
}

// Bytes reads a length and that many bytes. The result is nil only after an error.
func (r *Reader) Bytes() []byte {
	n := r.Uint()
	if r.err == nil && n > uint64(len(r.b)) {
		r.Fail(ErrShort)
	}
	if r.err != nil {
		return nil
	}
	return r.take(int(n))
}

// OptionalBytes reads what Bytes reads, but takes length 0 for absent and returns nil.
func (r *Reader) OptionalBytes() []byte {
	if b := r.Bytes(); len(b) > 0 {
		return b
	}
	return nil
}

// String reads a length and that many bytes of text. Invalid UTF-8 is passed on as it is.
func (r *Reader) String() string { return string(r.Bytes()) }

// Rest takes everything that is left. It is nil only after an error.
func (r *Reader) Rest() []byte { return r.take(len(r.b)) }

// Count reads the element count of an array whose elements take at least elemSize bytes each. Counts
// above max fail with ErrTooLong, counts that the input cannot hold with ErrShort, so the result is
// safe to allocate for.
func (r *Reader) Count(elemSize, max int) int {
	n := r.Uint()
	switch {
	case r.err != nil:
		return 0
	case n > uint64(max) || n > MaxArray:
		r.Fail(ErrTooLong)
		return 0
	case n*uint64(elemSize) > uint64(len(r.b)):
		r.Fail(ErrShort)
		return 0
	}
	return int(n)
}

// Addr reads an IPv4 address with port.
func (r *Reader) Addr() netip.AddrPort {
	b := r.take(AddrSize)
	if b == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.LittleEndian.Uint16(b[4:]))
}

// Addrs reads an array of at most max IPv4 addresses. The result is nil only after an error.
func (r *Reader) Addrs(max int) []netip.AddrPort {
	list := r.ReadAddrs([]netip.AddrPort{}, max)
	if r.err != nil {
		return nil
	}
	return list
}

// ReadAddrs is like Addrs but appends to dst, to reuse memory. After an error it appends nothing.
func (r *Reader) ReadAddrs(dst []netip.AddrPort, max int) []netip.AddrPort {
	n := r.Count(AddrSize, max)
	dst = slices.Grow(dst, n)
	for range n {
		dst = append(dst, r.Addr())
	}
	return dst
}

// Addr6 reads an IPv6 address with port.
func (r *Reader) Addr6() netip.AddrPort {
	b := r.take(Addr6Size)
	if b == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), binary.LittleEndian.Uint16(b[16:]))
}

// Addr6s reads an array of at most max IPv6 addresses. The result is nil only after an error.
func (r *Reader) Addr6s(max int) []netip.AddrPort {
	n := r.Count(Addr6Size, max)
	if r.err != nil {
		return nil
	}
	list := make([]netip.AddrPort, n)
	for i := range list {
		list[i] = r.Addr6()
	}
	return list
}
