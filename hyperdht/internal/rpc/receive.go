package rpc

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// datagram takes what arrives on one of the two sockets.
func (e *Endpoint) datagram(s host.Socket, from netip.AddrPort, b []byte) {
	if !wire.IsRequest(b) && !wire.IsResponse(b) && e.cfg.OnDatagram != nil && e.cfg.OnDatagram(s, from, b) {
		return
	}
	if len(e.probes) > 0 && s == e.server {
		for _, p := range e.probes {
			p.heard(from.Addr())
		}
	}
	e.Receive(s, from, b)
}

// Receive takes a datagram that arrived on any socket of the node, pool sockets included. What is not an
// RPC message is counted and dropped.
func (e *Endpoint) Receive(s host.Socket, from netip.AddrPort, b []byte) {
	if e.suspended || e.closed {
		return
	}
	if len(b) < 2 || !isUsable(from) {
		e.stats.Dropped.Unusable++
		return
	}
	switch {
	case wire.IsRequest(b):
		m, err := wire.ParseRequest(b)
		if err != nil {
			e.stats.Dropped.Malformed++
			return
		}
		if !e.own(&m) && !e.pace.allows(e.h.Now(), from.Addr()) {
			e.stats.Dropped.Limited++
			return
		}
		if c := e.calls.get(m.TID); c != nil && bytes.Equal(c.packet, b) && (c.to.Addr() == from.Addr() || c.hairpins(from)) {
			e.metSelf(c)
			return
		}
		e.stats.Received.Requests++
		e.receiveRequest(s, from, &m, len(b))
	case wire.IsResponse(b):
		m := &e.response
		if err := m.Parse(b); err != nil {
			e.stats.Dropped.Malformed++
			return
		}
		e.stats.Received.Responses++
		e.receiveResponse(s, from, m)
		if cap(m.Closer) > 2*maxCloser {
			m.Closer = nil // what a hostile one needed is not kept for good
		}
	default:
		e.stats.Dropped.Unusable++
	}
}

// own reports whether a request is for a server of this node.
func (e *Endpoint) own(m *wire.Request) bool {
	return !m.Internal && m.Target != nil && m.Token == nil && e.cfg.OwnRequest != nil && e.cfg.OwnRequest(m.Command, *m.Target)
}

// MayAnswer counts an answer to a request for a server of this node, and reports whether it may leave: to each host as many
// may as answers of the DHT.
func (e *Endpoint) MayAnswer(to netip.Addr) bool {
	if e.answers.allows(e.h.Now(), to) {
		return true
	}
	e.stats.Dropped.Limited++
	return false
}

func (e *Endpoint) receiveRequest(s host.Socket, from netip.AddrPort, m *wire.Request, size int) {
	a := answer{tid: m.TID, to: from, socket: s, target: m.Target}
	if m.Token != nil && !e.tokens.Valid(e.h.Now(), from.Addr(), *m.Token) {
		// No handler runs, and the sender does not enter the table.
		a.code, a.token = wire.CodeInvalidToken, true
		e.answer(&a)
		return
	}
	claimed := m.ID
	if claimed != nil && m.Internal && m.Command == wire.CmdPing && !e.table.HasRoom(*claimed) {
		// Who pings us contests no place: that is done by a ping, and mostly of a node that does not know us, so that in the
		// original each such ping causes the next one, and in a DHT of ten thousand nodes most datagrams are these.
		claimed = nil
	}
	node, known := e.verify(claimed, from)
	if known {
		e.learn(s == e.Socket(), node, from, m.To)
	}
	if m.Internal {
		e.command(m, &a)
		return
	}
	if e.cfg.OnRequest == nil {
		a.code = wire.CodeUnknownCommand
		e.answer(&a)
		return
	}
	r := &Request{
		From: from, To: m.To, Socket: s, TID: m.TID, Command: m.Command,
		HasID: known, ID: node, Value: m.Value, Size: size, e: e,
	}
	if m.Target != nil {
		r.target = *m.Target
		r.Target = &r.target
	}
	if m.Token != nil {
		r.token = *m.Token
		r.Token = &r.token
	}
	e.cfg.OnRequest(r)
}

// verify is the id of a sender: what it claims, if that fits its address.
func (e *Endpoint) verify(claimed *id.NodeID, from netip.AddrPort) (node id.NodeID, ok bool) {
	if claimed == nil {
		return node, false
	}
	n := e.table.Get(*claimed)
	if n != nil && n.Addr() == from || id.NodeIDOf(from) == *claimed { // hashing takes longer than looking
		return *claimed, true
	}
	return node, false
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
		e.downHint(v.Node)
	case wire.CmdDelayedPing:
		if v, err := wire.ParseDelayedPing(m.Value); err == nil {
			e.delayPing(v.Delay, a)
		}
		return
	default:
		a.target, a.code = target, wire.CodeUnknownCommand
	}
	e.answer(a)
}

// delayedPing is an answer that waits.
type delayedPing struct {
	answer answer
	timer  host.Timer
}

func (e *Endpoint) delayPing(delay time.Duration, a *answer) {
	if delay > maxPingDelay {
		return
	}
	if len(e.delayed) >= maxDelayedPings {
		e.stats.Dropped.Busy++
		return
	}
	p := &delayedPing{answer: *a}
	p.timer = e.h.AfterFunc(delay, func() {
		e.delayed = slices.DeleteFunc(e.delayed, func(q *delayedPing) bool { return q == p })
		e.answer(&p.answer)
	})
	e.delayed = append(e.delayed, p)
}

func (e *Endpoint) receiveResponse(s host.Socket, from netip.AddrPort, m *wire.Response) {
	c := e.calls.get(m.TID)
	if c == nil || c.to != from && !c.hairpins(from) {
		e.stats.Dropped.Unexpected++
		return
	}
	rtt := e.h.Now().Sub(c.created)
	if e.adaptiveTimeout != nil && c.sent <= 2 {
		e.adaptiveTimeout.put(e.h.Now(), c.to, rtt)
	}
	e.end(c)
	if c.command != noCommand {
		e.stats.Commands[c.command].Received++
	}
	e.stats.Requests.Responses++
	e.answered()
	if len(e.self) > 0 {
		e.self = slices.DeleteFunc(e.self, func(a netip.AddrPort) bool { return a == c.to })
	}
	if !e.online {
		e.health.Heard()
		e.judge()
	}

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
	if c.query == nil {
		c.done(r, nil)
		return
	}
	e.reply = r
	c.query.onReply(c, &e.reply)
	e.reply = Reply{}
}

// hairpins reports whether a packet from an address may come from the node asked: a router that is asked for one of its own
// public addresses may lead to a host behind it, whose answer arrives directly, from its private address.
//
// The original takes an answer from anywhere that has the request's id, of 16 bits. Whoever sends all of these to an address
// without a NAT then ends every request there, with nodes and an address of ours that are false.
func (c *Call) hairpins(from netip.AddrPort) bool {
	return kad.IsPrivate(from.Addr()) && !kad.IsPrivate(c.to.Addr())
}

// verifyAnswer is verify for the answer to a call. A query has hashed the addresses of those whom it asks.
func (e *Endpoint) verifyAnswer(c *Call, claimed *id.NodeID, from netip.AddrPort) (node id.NodeID, ok bool) {
	if claimed != nil && c.candidate != nil && c.to == from {
		if c.candidate.id == *claimed {
			return *claimed, true
		}
		return node, false
	}
	return e.verify(claimed, from)
}

// answer is a response to be sent.
type answer struct {
	tid    uint16
	to     netip.AddrPort
	socket host.Socket
	target *id.Target // nil: no closer nodes
	token  bool
	code   uint64
	value  []byte
}

func (e *Endpoint) answer(a *answer) {
	if e.suspended || e.closed || a.socket == nil {
		return
	}
	m := wire.Response{TID: a.tid, To: a.to, Error: a.code, Value: a.value}
	var self id.NodeID
	if e.named(a.socket) {
		self = e.table.Self()
		m.ID = &self
	}
	var token id.Token
	if a.token {
		var err error
		if token, err = e.tokens.Issue(e.h.Now(), e.h.Rand(), a.to.Addr()); err != nil {
			return
		}
		m.Token = &token
	}
	var (
		nodes [kad.K]*kad.Node
		addrs [kad.K]netip.AddrPort
	)
	if a.target != nil {
		near := e.table.AppendClosest(nodes[:0], *a.target, kad.K)
		for i, n := range near {
			addrs[i] = n.Addr()
		}
		m.Closer = addrs[:len(near)]
	}
	e.out = m.Append(e.out[:0])
	a.socket.Send(a.to, 0, e.out)
}
