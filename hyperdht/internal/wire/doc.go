// Package wire holds the messages of the DHT: the packets, the values inside them, the payloads of
// handshake and hole punching, the records that nodes store, and the signatures over those.
//
// One message is one type in one file, with its layout in the comment and three functions:
//
//	func (m M) Append(dst []byte) []byte    the bytes that the JavaScript packages produce
//	func (m M) Size() int                   how many Append appends
//	func ParseM(b []byte) (M, error)        the inverse
//
// Policy for what peers send, the same for every message because the reference implementations share a decoder:
// unknown flag bits and trailing bytes are ignored, so that later versions can add fields; an input
// that ends inside a field is refused; numbers above 2^53-1 are refused; every count is checked
// against the bytes at hand before anything is allocated. A parsed message borrows the input's byte
// slices, so it is good for the turn and must be copied to be kept.
//
// Optional parts are nil pointers, nil slices or invalid addresses when absent. An empty slice that
// is not nil is present and empty, which several messages distinguish on the wire.
//
// Sources: dht-rpc lib/io.js; hyperdht lib/messages.js, lib/persistent.js, lib/secure-payload.js;
// blind-relay index.js.
package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// flag returns bit if on, for composing flag bytes.
func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

// appendAddrIf appends a if it is present.
func appendAddrIf(dst []byte, a netip.AddrPort) []byte {
	if a.IsValid() {
		return compact.AppendAddr(dst, a)
	}
	return dst
}

// addrIf reads an address if it is present.
func addrIf(r *compact.Reader, present bool) netip.AddrPort {
	if present {
		return r.Addr()
	}
	return netip.AddrPort{}
}

// borrowKeyIf reads 32 bytes if they are present. The result points into what is read.
func borrowKeyIf(r *compact.Reader, present bool) *[32]byte {
	if !present {
		return nil
	}
	if b := r.Fixed(32); b != nil {
		return (*[32]byte)(b)
	}
	return nil // the reader has failed
}

// keyIf reads 32 bytes if they are present.
func keyIf(r *compact.Reader, present bool) *[32]byte {
	if k := borrowKeyIf(r, present); k != nil {
		return new(*k)
	}
	return nil
}

// streamID reads a transport stream id: a uint on the wire, of which only 32 bits can exist.
func streamID(r *compact.Reader) uint32 {
	v := r.Uint()
	if v > 0xffffffff {
		r.Fail(compact.ErrRange)
	}
	return uint32(v)
}
