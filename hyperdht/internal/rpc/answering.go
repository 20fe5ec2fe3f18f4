package rpc

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// answering owns the state for answering requests: the limits on senders, the tokens, the delayed
// answers, and the counters.
type answering struct {
	requests pace  // of each host
	own      *pace // answers by servers of this node, see MayAnswer
	received ReceivedStats
	dropped  DroppedStats
	tokens   kad.Tokens
	delayed  []*delayedPing
}

func (a *answering) init(now host.Instant) {
	a.requests = newPace(now)
	own := newPace(now)
	a.own = &own
}

// allows counts a request and reports whether it may be answered.
func (a *answering) allows(now host.Instant, from netip.Addr) bool {
	ok := a.requests.allows(now, from)
	if !ok {
		a.dropped.Limited++
	}
	return ok
}

// allowsOwn is allows for the answer of a server of this node.
func (a *answering) allowsOwn(now host.Instant, to netip.Addr) bool {
	ok := a.own.allows(now, to)
	if !ok {
		a.dropped.Limited++
	}
	return ok
}

// delayedPing is an answer that waits.
type delayedPing struct {
	answer answer
	timer  host.Timer
}

// delay sends an answer later.
func (a *answering) delay(h host.Host, delay time.Duration, what *answer, send func(*answer)) {
	if delay > maxPingDelay {
		return
	}
	if len(a.delayed) >= maxDelayedPings {
		a.dropped.Busy++
		return
	}
	p := &delayedPing{answer: *what}
	p.timer = h.AfterFunc(delay, func() {
		a.delayed = slices.DeleteFunc(a.delayed, func(q *delayedPing) bool { return q == p })
		send(&p.answer)
	})
	a.delayed = append(a.delayed, p)
}

// close drops the answers that wait.
func (a *answering) close() {
	for _, p := range a.delayed {
		p.timer.Stop()
	}
	a.delayed = nil
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
	if !e.running() || a.socket == nil {
		return
	}
	m := wire.Response{TID: a.tid, To: a.to, Error: a.code, Value: a.value}
	var self id.NodeID
	if e.named(a.socket) {
		self = e.nodes.table.Self()
		m.ID = &self
	}
	var token id.Token
	if a.token {
		var err error
		if token, err = e.answering.tokens.Issue(e.h.Now(), e.h.Rand(), a.to.Addr()); err != nil {
			return
		}
		m.Token = &token
	}
	var addrs [kad.K]netip.AddrPort
	if a.target != nil {
		m.Closer = e.nodes.table.AppendAddrs(addrs[:0], *a.target, kad.K)
	}
	out := messages.Get().(*message)
	out.built = m.Append(out.built[:0])
	out.send(a.socket, a.to)
}
