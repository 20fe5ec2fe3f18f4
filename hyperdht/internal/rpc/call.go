package rpc

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// NoRetry as a number of retries means that the request is sent once.
const NoRetry = -1

// RequestOptions describes a request to send. Its slices and pointers may be reused when Request has returned.
type RequestOptions struct {
	To       netip.AddrPort
	Internal bool
	Command  uint64
	Target   *id.Target
	Token    *id.Token
	Value    []byte // nil is absent

	Socket  host.Socket   // nil is the main socket of this moment
	Retries int           // 0 is DefaultRetries
	Timeout time.Duration // of each transmission; 0 is RequestTimeout
	TTL     int           // 0 is the system's
	Force   bool          // sends even if the congestion window is full
	// Follows marks a request that an answer has led to. If the window is full it is queued before those that begin an operation,
	// so that a thousand dials started at the same time end one after the other, not all at the end.
	Follows bool
	// Peer marks a request to a peer at an address of its own: its answer does not mean that DHT nodes answer.
	Peer  bool
	Group *CallGroup
}

// Reply is the answer to a request.
type Reply struct {
	// From is the node that answered: the address that was asked, or a private one where a router led to a host behind it
	// (see hairpins).
	From netip.AddrPort
	// To is our address as the answerer sees it.
	To     netip.AddrPort
	Socket host.Socket // where it arrived
	ID     id.NodeID   // of the answerer
	HasID  bool        // it is persistent, and its id fits its address
	Token  *id.Token
	Closer []netip.AddrPort // nodes closer to the target; borrowed until the callback returns
	Error  uint64           // wire.Code...; 0 is success
	Value  []byte           // nil is absent
	RTT    time.Duration    // since the request was made, retransmissions included
}

// Call is a request that was sent or waits to be. There are thousands at a time, and each takes 256 bytes.
type Call struct {
	calls      *calls
	done       func(Reply, error)
	visit                   // instead of done
	membership              // of a group, if it has one
	created    host.Instant // of the request
	seat       seat         // in the table
	transmission
}

// visit is the query to which a call belongs, and the candidate that it asks.
type visit struct {
	query     *Query // nil for calls of no query
	candidate *candidate
}

// transmission is the datagram of a call, how it is sent and how often it was.
type transmission struct {
	to      netip.AddrPort
	socket  host.Socket
	packet  []byte
	timeout time.Duration // 0 is the default
	retries int8
	sent    int8
	ttl     uint8
	command uint8 // of the internal ones that are counted, else noCommand
	force   bool
	follows bool
	peer    bool
	state   callState
	slow    bool             // timed out once
	node    bool             // a final timeout takes the destination out of the table
	room    [packetRoom]byte // for packet
}

const noCommand = 0xff

// init takes over all but the packet.
func (t *transmission) init(out *RequestOptions) {
	t.to, t.socket, t.timeout = out.To, out.Socket, out.Timeout
	t.force, t.follows, t.peer = out.Force, out.Follows, out.Peer
	t.ttl = uint8(min(out.TTL, 255))
	switch {
	case out.Force || out.Retries < 0:
		t.retries = 0
	case out.Retries == 0:
		t.retries = DefaultRetries
	default:
		t.retries = int8(min(out.Retries, retriesLimit))
	}
	t.command = noCommand
	if out.Internal && out.Command < countedCommands {
		t.command = uint8(out.Command)
	}
}

// hairpins reports whether a packet from an address may come from the node asked: a router that is asked for one of its own
// public addresses may lead to a host behind it, whose answer arrives directly, from its private address.
//
// The reference implementation accepts an answer from any address with the request's id, of 16 bits. An attacker that sends all of
// these to an address without a NAT ends every request there, with false nodes and a false public address.
func (t *transmission) hairpins(from netip.AddrPort) bool {
	return kad.IsPrivate(from.Addr()) && !kad.IsPrivate(t.to.Addr())
}

// Cancel fails the call with ErrCanceled if it still waits; done runs at the end of the turn.
func (c *Call) Cancel() {
	if c.state != callEnded {
		c.calls.abort(c, ErrCanceled)
	}
}

func (c *Call) fail(err error) {
	switch {
	case c.query != nil:
		c.query.onError(c, err)
	case c.done != nil:
		c.done(Reply{}, err)
	}
}

// Request sends a request and calls done exactly once, with the answer or an error.
func (e *Endpoint) Request(out RequestOptions, done func(Reply, error)) *Call {
	c := &Call{done: done}
	if err := e.request(c, &out); err != nil {
		return e.calls.refuse(c, err)
	}
	return c
}

// request sends a request as call c.
func (e *Endpoint) request(c *Call, out *RequestOptions) error {
	if e.Closed() {
		return ErrClosed
	}
	if out.Socket == nil {
		out.Socket = e.Socket()
	}
	var self *id.NodeID
	if e.named(out.Socket) {
		own := e.nodes.table.Self()
		self = &own
	}
	if err := e.calls.make(c, out, self); err != nil {
		return err
	}
	e.calls.send(c)
	return nil
}

// Ping pings a node. A nil socket is the main socket; group may be nil.
func (e *Endpoint) Ping(to netip.AddrPort, socket host.Socket, group *CallGroup, done func(Reply, error)) *Call {
	return e.Request(RequestOptions{To: to, Internal: true, Command: wire.CmdPing, Socket: socket, Group: group}, done)
}

// DelayedPing asks a node to answer after a delay of at most 10 s, in whole milliseconds.
func (e *Endpoint) DelayedPing(to netip.AddrPort, delay time.Duration, socket host.Socket, group *CallGroup, done func(Reply, error)) *Call {
	if delay > maxPingDelay {
		return e.calls.refuse(&Call{done: done}, ErrPingDelay)
	}
	var value [4]byte
	return e.Request(RequestOptions{
		To: to, Internal: true, Command: wire.CmdDelayedPing, Socket: socket, Group: group,
		Value:   wire.DelayedPing{Delay: max(delay, 0)}.Append(value[:0]),
		Timeout: delay + pingDelayExtra,
	}, done)
}

// pingNAT asks a node to answer to a port of our public host, which leads to our server socket. That it cannot reach it says nothing about the
// node, so unlike in the reference implementation a timeout leaves it in the table.
func (e *Endpoint) pingNAT(to netip.AddrPort, port uint16, done func(Reply, error)) {
	if !e.sockets.isOpen() {
		e.h.Defer(func() { done(Reply{}, ErrSuspended) })
		return
	}
	var value [2]byte
	e.Request(RequestOptions{
		To: to, Internal: true, Command: wire.CmdPingNAT,
		Value: wire.PingNAT{Port: port}.Append(value[:0]),
	}, done)
}

// named reports whether packets from that socket carry our id.
func (e *Endpoint) named(s host.Socket) bool {
	return !e.Ephemeral() && s != nil && s == e.sockets.server
}
