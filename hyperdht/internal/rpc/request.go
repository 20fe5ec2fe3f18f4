package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Request is a received application command. It may be kept and answered later, except
// for Value.
type Request struct {
	From     netip.AddrPort
	To       netip.AddrPort // our address as the sender dialled it
	Socket   host.Socket    // where it arrived
	TID      uint16
	Internal bool // always false: internal commands are the endpoint's own
	Command  uint64
	Target   *id.Target
	Token    *id.Token // a valid one; nil if it carried none
	HasID    bool      // the sender is persistent, and its id fits its address
	ID       id.NodeID // of the sender, if HasID
	Value    []byte    // borrowed for the turn; nil is absent
	Size     int       // of the datagram, in bytes

	e      *Endpoint
	target id.Target // what Target and Token point to
	token  id.Token
}

// ReplyOptions change what an answer carries and where it goes.
type ReplyOptions struct {
	NoToken  bool // Reply only
	Token    bool // Error only
	NoCloser bool
	Socket   host.Socket    // nil is the socket where the request arrived
	To       netip.AddrPort // invalid is the sender
}

// Reply answers with a value, nil for none, with a token, and with closer nodes if there is a target.
func (r *Request) Reply(value []byte, o ReplyOptions) { r.answer(0, value, !o.NoToken, o) }

// Error answers with an error code, and with closer nodes if there is a target.
func (r *Request) Error(code uint64, o ReplyOptions) { r.answer(code, nil, o.Token, o) }

// Unknown answers with CodeUnknownCommand.
func (r *Request) Unknown() { r.Error(wire.CodeUnknownCommand, ReplyOptions{}) }

func (r *Request) answer(code uint64, value []byte, token bool, o ReplyOptions) {
	a := answer{tid: r.TID, to: r.From, socket: r.Socket, token: token, code: code, value: value}
	if o.Socket != nil {
		a.socket = o.Socket
	}
	if o.To.IsValid() {
		a.to = o.To
	}
	if !o.NoCloser {
		a.target = r.Target
	}
	r.e.answer(&a)
}

// Forwarded is a request that is forwarded for another sender, which gets the answer.
type Forwarded struct {
	TID      uint16
	Internal bool
	Command  uint64
	Target   *id.Target
	Value    []byte
	To       netip.AddrPort
	Socket   host.Socket // nil is the main socket
}

// Forward sends a request under another sender's transaction id. No answer is expected.
func (e *Endpoint) Forward(f Forwarded) {
	if f.Socket == nil {
		f.Socket = e.Socket()
	}
	if !e.running() {
		return
	}
	m := wire.Request{
		TID: f.TID, To: f.To, Internal: f.Internal, Command: f.Command, Target: f.Target, Value: f.Value,
	}
	var self id.NodeID
	if e.named(f.Socket) {
		self = e.TableID()
		m.ID = &self
	}
	out := messages.Get().(*message)
	out.built = m.Append(out.built[:0])
	out.send(f.Socket, f.To)
}

// Respond answers a request that went to another node, at a chosen address: the last hop of a
// forwarded exchange. It carries neither token nor closer nodes. A nil socket is the main socket.
func (e *Endpoint) Respond(tid uint16, to netip.AddrPort, s host.Socket, value []byte) {
	if s == nil {
		s = e.Socket()
	}
	e.answer(&answer{tid: tid, to: to, socket: s, value: value})
}
