// Package demux dispatches the datagrams that arrive on a node's sockets, on its two main sockets and on those for hole
// punching alike:
//
//	first bytes          kind       goes to
//	03                   Request    the DHT
//	13                   Response   the DHT
//	ff 01, 20 bytes      Stream     streams; if it is of none that is known, as Other
//	at most one byte     Probe      the address probe, then the puncher of that socket
//	anything else        Other      the address probe (STUN); if it is not its own, the DHT counts it as dropped
//
// The kinds exclude each other. A packet of a stream, of which there are the most, passes nothing but the table of streams.
package demux

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Kind is the kind of a datagram by its form. It may still fail to parse.
type Kind uint8

// The kinds, see the package comment.
const (
	Other Kind = iota
	Request
	Response
	Stream
	Probe
)

// Classify returns the kind of a datagram by its first bytes and its length.
func Classify(b []byte) Kind {
	if _, ok := udx.PeekStreamID(b); ok {
		return Stream
	}
	switch {
	case len(b) <= 1:
		return Probe
	case wire.IsRequest(b):
		return Request
	case wire.IsResponse(b):
		return Response
	}
	return Other
}

// Claimant takes a datagram and returns true if it has consumed it. It must be fast otherwise.
type Claimant interface {
	Receive(s host.Socket, from netip.AddrPort, b []byte) bool
}

// Messages takes the messages of the DHT.
type Messages interface {
	ReceiveRequest(s host.Socket, from netip.AddrPort, b []byte)
	ReceiveResponse(s host.Socket, from netip.AddrPort, b []byte)
	// Drop counts a datagram without a receiver.
	Drop(s host.Socket, from netip.AddrPort)
}

// Probes takes datagrams too short for a message. It returns false if no puncher uses that socket.
type Probes interface {
	ReceiveProbe(s host.Socket, from netip.AddrPort, b []byte) bool
}

// Door hands each datagram of the sockets attached to it to its receiver. Messages must be set before a socket is attached, all but
// Address when the first datagram arrives.
type Door struct {
	Streams  Claimant // the table of streams
	Address  Claimant // the address probe; nil for none
	Messages Messages
	Probes   Probes
}

// Attach receives what arrives on a socket. Messages must be set by then.
//
// The messages of the DHT go to their receiver without a look at the door: a program with thousands of nodes waits for each place in
// memory that a datagram needs.
func (d *Door) Attach(s host.Socket) {
	messages := d.Messages
	s.OnReceive(func(from netip.AddrPort, b []byte) {
		switch kind := Classify(b); kind {
		case Request:
			messages.ReceiveRequest(s, from, b)
		case Response:
			messages.ReceiveResponse(s, from, b)
		default:
			d.receive(kind, s, from, b)
		}
	})
}

// receive hands a datagram that is no message of the DHT to its receiver.
func (d *Door) receive(kind Kind, s host.Socket, from netip.AddrPort, b []byte) {
	switch {
	case kind == Stream && d.Streams.Receive(s, from, b):
	case d.Address != nil && d.Address.Receive(s, from, b):
	case kind == Probe && d.Probes.ReceiveProbe(s, from, b):
	default:
		d.Messages.Drop(s, from)
	}
}
