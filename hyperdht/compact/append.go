package compact

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Markers of a uint that takes more than one byte.
const (
	marker16 = 0xfd
	marker32 = 0xfe
	marker64 = 0xff
)

// AppendUint appends v in the shortest form. v must not exceed MaxUint: such a number cannot be
// sent, and asking for it is a bug that panics rather than corrupting the message.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v < marker16:
		return append(dst, byte(v))
	case v <= 0xffff:
		return binary.LittleEndian.AppendUint16(append(dst, marker16), uint16(v))
	case v <= 0xffffffff:
		return binary.LittleEndian.AppendUint32(append(dst, marker32), uint32(v))
	case v <= MaxUint:
		return binary.LittleEndian.AppendUint64(append(dst, marker64), v)
	}
	panic(fmt.Sprintf("compact: %d does not fit the encoding", v))
}

// AppendLongUint appends v in the nine bytes of the longest form, which readers accept for every number, for messages that need a certain
// length.
func AppendLongUint(dst []byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, marker64), v)
}

// UintSize returns the number of bytes that AppendUint appends.
func UintSize(v uint64) int {
	switch {
	case v < marker16:
		return 1
	case v <= 0xffff:
		return 3
	case v <= 0xffffffff:
		return 5
	}
	return 9
}

// AppendInt appends v in zig-zag form: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
func AppendInt(dst []byte, v int64) []byte { return AppendUint(dst, zigzag(v)) }

// IntSize returns the number of bytes that AppendInt appends.
func IntSize(v int64) int { return UintSize(zigzag(v)) }

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// AppendUint8 appends one byte.
func AppendUint8(dst []byte, v uint8) []byte { return append(dst, v) }

// AppendUint16 appends two bytes.
func AppendUint16(dst []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(dst, v) }

// AppendUint24 appends the low three bytes of v.
func AppendUint24(dst []byte, v uint32) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16))
}

// AppendUint32 appends four bytes.
func AppendUint32(dst []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(dst, v) }

// AppendUint64 appends eight bytes. Like AppendUint it panics above MaxUint.
func AppendUint64(dst []byte, v uint64) []byte {
	if v > MaxUint {
		panic(fmt.Sprintf("compact: %d does not fit the encoding", v))
	}
	return binary.LittleEndian.AppendUint64(dst, v)
}

// AppendBool appends 1 or 0.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendBytes appends b behind its length. Nil and empty give the same byte; where the difference
// matters the message has a flag for it.
func AppendBytes(dst, b []byte) []byte { return append(AppendUint(dst, uint64(len(b))), b...) }

// BytesSize returns the number of bytes that AppendBytes appends for n bytes.
func BytesSize(n int) int { return UintSize(uint64(n)) + n }

// AppendString appends s behind its length in bytes.
func AppendString(dst []byte, s string) []byte {
	return append(AppendUint(dst, uint64(len(s))), s...)
}

// AppendAddr appends an IPv4 address, then its port: the host in network order, the port little
// endian. The network is IPv4 only; any other address is written as 0.0.0.0:0, which is never answered.
func AppendAddr(dst []byte, a netip.AddrPort) []byte {
	host := a.Addr().Unmap()
	if !host.Is4() {
		return append(dst, 0, 0, 0, 0, 0, 0)
	}
	h := host.As4()
	return AppendUint16(append(dst, h[:]...), a.Port())
}

// AppendAddrs appends the number of addresses, then each of them.
func AppendAddrs(dst []byte, list []netip.AddrPort) []byte {
	dst = AppendUint(dst, uint64(len(list)))
	for _, a := range list {
		dst = AppendAddr(dst, a)
	}
	return dst
}

// AddrsSize returns the number of bytes that AppendAddrs appends for n addresses.
func AddrsSize(n int) int { return UintSize(uint64(n)) + n*AddrSize }

// AppendAddr6 appends an IPv6 address: eight groups in network order, then the port little endian.
func AppendAddr6(dst []byte, a netip.AddrPort) []byte {
	h := a.Addr().As16()
	return AppendUint16(append(dst, h[:]...), a.Port())
}

// AppendAddr6s appends the number of addresses, then each of them.
func AppendAddr6s(dst []byte, list []netip.AddrPort) []byte {
	dst = AppendUint(dst, uint64(len(list)))
	for _, a := range list {
		dst = AppendAddr6(dst, a)
	}
	return dst
}

// Addr6sSize returns the number of bytes that AppendAddr6s appends for n addresses.
func Addr6sSize(n int) int { return UintSize(uint64(n)) + n*Addr6Size }
