package rpc

import (
	"bytes"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Receive takes a datagram that has arrived on a socket, by its first byte. Endpoints whose application has a way of its own to
// tell datagrams apart do without.
func (e *Endpoint) Receive(s host.Socket, from netip.AddrPort, b []byte) {
	switch {
	case wire.IsRequest(b):
		e.ReceiveRequest(s, from, b)
	case wire.IsResponse(b):
		e.ReceiveResponse(s, from, b)
	default:
		e.Drop(s, from)
	}
}

// Drop counts a datagram that is no message.
func (e *Endpoint) Drop(s host.Socket, from netip.AddrPort) {
	if e.heard(s, from) {
		e.answering.dropped.Unusable++
	}
}

// heard records that a datagram has arrived, and reports whether it is to be processed.
func (e *Endpoint) heard(s host.Socket, from netip.AddrPort) bool {
	if s == e.sockets.server {
		e.standing.reachedBy(from.Addr())
	}
	return e.running()
}

// mayRead reports whether a message is to be read. One from an address that cannot be answered is dropped.
func (e *Endpoint) mayRead(s host.Socket, from netip.AddrPort) bool {
	if !e.heard(s, from) {
		return false
	}
	if !isUsable(from) {
		e.answering.dropped.Unusable++
		return false
	}
	return true
}

// ReceiveRequest takes a datagram that looks like a request and has arrived on any socket of the node, those for hole punching
// included.
func (e *Endpoint) ReceiveRequest(s host.Socket, from netip.AddrPort, b []byte) {
	if !e.mayRead(s, from) {
		return
	}
	m, err := wire.ParseRequest(b)
	if err != nil {
		e.answering.dropped.Malformed++
		return
	}
	if !e.own(&m) && !e.answering.allows(e.h.Now(), from.Addr()) {
		return
	}
	if c := e.calls.echoed(m.TID, from, b); c != nil {
		e.metSelf(c)
		return
	}
	e.answering.received.Requests++
	a := answer{tid: m.TID, to: from, socket: s, target: m.Target}
	if m.Token != nil && !e.answering.tokens.Valid(e.h.Now(), from.Addr(), *m.Token) {
		// No handler runs, and the sender does not enter the table.
		a.code, a.token = wire.CodeInvalidToken, true
		e.answer(&a)
		return
	}
	claimed := m.ID
	if claimed != nil && m.Internal && m.Command == wire.CmdPing && !e.nodes.table.HasRoom(*claimed) {
		// A ping must not trigger eviction: eviction itself pings the oldest node, which usually does not know us either, so one
		// ping would cause the next. In a DHT of ten thousand nodes of the reference implementation most datagrams are such pings.
		claimed = nil
	}
	node, known := e.nodes.verify(claimed, from)
	if known {
		e.learn(s == e.Socket(), node, from, m.To)
	}
	if m.Internal {
		e.command(&m, &a)
		return
	}
	r := &Request{
		From: from, To: m.To, Socket: s, TID: m.TID, Command: m.Command,
		HasID: known, ID: node, Value: m.Value, Size: len(b), e: e,
	}
	if m.Target != nil {
		r.target = *m.Target
		r.Target = &r.target
	}
	if m.Token != nil {
		r.token = *m.Token
		r.Token = &r.token
	}
	e.app.Request(r)
}

// own reports whether a request is for a server of this node.
func (e *Endpoint) own(m *wire.Request) bool {
	return !m.Internal && m.Target != nil && m.Token == nil && e.app.OwnRequest(m.Command, *m.Target)
}

// MayAnswer counts an answer to a request for a server of this node, and reports whether it may leave: to each host as many
// may as answers of the DHT.
func (e *Endpoint) MayAnswer(to netip.Addr) bool { return e.answering.allowsOwn(e.h.Now(), to) }

// metSelf ends a call whose own packet has arrived here: its destination is an address of this node.
func (e *Endpoint) metSelf(c *Call) {
	e.nodes.metSelf(c.to)
	e.calls.end(c)
	c.fail(ErrSelf)
}

// command answers an internal command (dht-rpc index.js, _onrequest). Malformed ones get no answer.
func (e *Endpoint) command(m *wire.Request, a *answer) {
	target := a.target
	a.target = nil
	switch m.Command {
	case wire.CmdPing:
	case wire.CmdPingNAT:
		v, err := wire.ParsePingNAT(m.Value)
		if err != nil || v.Port == 0 {
			return
		}
		a.to = netip.AddrPortFrom(a.to.Addr(), v.Port)
	case wire.CmdFindNode:
		if target == nil {
			return
		}
		a.target = target
	case wire.CmdDownHint:
		v, err := wire.ParseDownHint(m.Value)
		if err != nil {
			return
		}
		if n := e.nodes.hinted(v.Node); n != nil {
			e.check(n)
		}
	case wire.CmdDelayedPing:
		if v, err := wire.ParseDelayedPing(m.Value); err == nil {
			e.answering.delay(e.h, v.Delay, a, e.answer)
		}
		return
	default:
		a.target, a.code = target, wire.CodeUnknownCommand
	}
	e.answer(a)
}

// ReceiveResponse is ReceiveRequest for what looks like a response.
func (e *Endpoint) ReceiveResponse(s host.Socket, from netip.AddrPort, b []byte) {
	if !e.mayRead(s, from) {
		return
	}
	m := messages.Get().(*message)
	if err := m.response.Parse(b); err == nil {
		e.answering.received.Responses++
		e.receiveResponse(s, from, &m.response)
	} else {
		e.answering.dropped.Malformed++
	}
	m.release()
}

func (e *Endpoint) receiveResponse(s host.Socket, from netip.AddrPort, m *wire.Response) {
	c := e.calls.find(m.TID, from)
	if c == nil {
		e.answering.dropped.Unexpected++
		return
	}
	rtt := e.calls.answered(c)
	e.answered(c.peer)
	e.nodes.notSelf(c.to)

	node, known := e.verifyAnswer(c, m.ID, from)
	if known {
		if s == e.Socket() {
			e.suspectMove(m.To.Addr()) // first: where samples are few, one that differs makes them say nothing
		}
		e.learn(s == e.Socket(), node, from, m.To)
	} else {
		e.sampleUnnamed(from, m.To)
	}
	if c.query == nil && c.done == nil {
		return
	}
	r := Reply{
		From: from, To: m.To, Socket: s, ID: node, HasID: known,
		Closer: m.Closer[:min(len(m.Closer), maxCloser)], Error: m.Error, Value: bytes.Clone(m.Value), RTT: rtt,
	}
	if m.Token != nil {
		token := *m.Token
		r.Token = &token
	}
	e.calls.deliver(c, r)
}

// verifyAnswer is verify for the answer to a call. A query has already hashed the addresses of its candidates, which it
// forgets when it ends.
func (e *Endpoint) verifyAnswer(c *Call, claimed *id.NodeID, from netip.AddrPort) (node id.NodeID, ok bool) {
	if claimed != nil && c.query != nil && !c.query.Done() && c.to == from {
		if c.candidate.id == *claimed {
			return *claimed, true
		}
		return node, false
	}
	return e.nodes.verify(claimed, from)
}
