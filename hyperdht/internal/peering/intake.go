package peering

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// intake decides on which callers a node spends work and memory, over all its servers.
//
//	message 1 ── paces ──▶ waiting ── its turn ──▶ read ── Admit ──▶ held ── connection open ──▶ done
//	    │                     │ queue full, 4 s      │                 │ share full, given up
//	    └─────────────────────┴──────────────────────┴─────────────────┴──▶ dropped, counted
//
// Paces come before any Diffie-Hellman operation. They are counted for the address that answers for the message: the
// caller's own, if it came straight from there or through a node that this server announced to, which names the real
// one. Any other sender may have invented the caller, so it answers itself. Held callers share the room by what is known
// of them; see the classes.
type intake struct {
	p *Peering

	sockets  *bound.Rates[netip.AddrPort]
	hosts    *bound.Rates[netip.Prefix]
	networks *bound.Rates[netip.Prefix]
	senders  *bound.Rates[netip.Prefix]
	unknown  *bound.Bucket // of senders that this node did not announce to, in all
	all      *bound.Bucket

	waiting *bound.Queue[*session]
	held    *bound.Shares[*session]
	turn    host.Timer // the next token for those who wait

	remembered  []*session // settled sessions, the oldest first; some are forgotten already
	remembering int
}

// The classes of callers, in the order of what they have shown.
const (
	callerNamed    = iota // named by a sender that may have invented it
	callerSeen            // seen at its address, by us or by a node that we announced to
	callerAnswered        // has answered, under the keys of its handshake
	callerKnown           // has a key that the application knows; relays may send its handshakes again
	callerBoth            // has answered, and has such a key
)

func newIntake(p *Peering) *intake {
	now := p.host.Now()
	return &intake{
		p:        p,
		sockets:  bound.NewRates[netip.AddrPort](maxPaced, socketPace),
		hosts:    bound.NewRates[netip.Prefix](maxPaced, hostPace),
		networks: bound.NewRates[netip.Prefix](maxPaced, networkPace),
		senders:  bound.NewRates[netip.Prefix](maxPaced, senderPace),
		unknown:  bound.NewBucket(now, unknownPace),
		all:      bound.NewBucket(now, handshakePace),
		waiting:  bound.NewQueue[*session](maxWaitingCallers),
		held: bound.NewShares[*session](maxCallers,
			bound.Class{Kept: keptNamed}, bound.Class{Kept: keptSeen}, bound.Class{Kept: keptAnswered},
			bound.Class{Kept: keptKnown, PerKey: maxCallersPerKey}, bound.Class{Kept: keptBoth, PerKey: maxCallersPerKey}),
	}
}

// origin is the address that answers for a caller.
type origin struct {
	addr netip.AddrPort
	seen bool // it is the caller's own
}

// buckets are those that a handshake of an origin takes from, with what to count when they are empty.
func (in *intake) buckets(o origin) [3]paced {
	now, refused := in.p.host.Now(), &in.p.stats.Refused
	if !o.seen {
		return [3]paced{{in.senders.Of(now, bound.Host(o.addr.Addr())), &refused.Sender}, {in.unknown, &refused.Relays}}
	}
	return [3]paced{
		{in.sockets.Of(now, o.addr), &refused.Socket},
		{in.hosts.Of(now, bound.Host(o.addr.Addr())), &refused.Address},
		{in.networks.Of(now, bound.Network(o.addr.Addr())), &refused.Network},
	}
}

type paced struct {
	*bound.Bucket
	refused *uint64
}

// arrive lets a new caller wait for its turn, which may come at once. It reports false if the caller is dropped.
func (in *intake) arrive(h *session) bool {
	now := in.p.host.Now()
	buckets := in.buckets(h.origin)
	for _, b := range buckets {
		if b.Bucket != nil && b.Empty(now) {
			*b.refused++
			return false
		}
	}
	for _, b := range buckets {
		if b.Bucket != nil {
			b.Take(now)
		}
	}
	h.arrived = now
	var dropped *bound.Item[*session]
	h.queued, dropped = in.waiting.Add(h, bound.At(0, h.origin.addr.Addr(), [32]byte{}))
	if dropped != nil {
		in.p.stats.Refused.Queue++
		if dropped.Value == h {
			return false
		}
		dropped.Value.s.forget(dropped.Value)
	}
	in.serve()
	return true
}

// serve begins with those who wait, as long as there are tokens.
func (in *intake) serve() {
	now := in.p.host.Now()
	for in.waiting.Len() > 0 && !in.all.Empty(now) {
		h, _ := in.waiting.Next()
		if now.Sub(h.arrived) > callerPatience {
			in.p.stats.Refused.Queue++
			h.s.forget(h)
			continue
		}
		in.all.Take(now)
		in.p.stats.HandshakesRead++
		h.begin()
	}
	switch {
	case in.waiting.Len() == 0:
	case in.turn == nil:
		in.turn = in.p.host.AfterFunc(in.all.Wait(now), in.serve)
	default:
		in.turn.Reset(in.all.Wait(now))
	}
}

// hold counts a caller that was read and admitted. It reports false if there is no room for it.
func (in *intake) hold(h *session) bool {
	key := h.trail.key
	place := bound.At(callerNamed, h.origin.addr.Addr(), key)
	switch known := h.s.cfg.Known; {
	case known != nil && known(key):
		h.known = true
		place = bound.Under(callerKnown, key)
	case h.origin.seen:
		place = bound.At(callerSeen, h.origin.addr.Addr(), key)
	}
	var evicted *bound.Item[*session]
	// Honest callers come to this a round trip later. Those of a flood never do, whose pings would queue up before
	// those for others.
	h.eager = h.known && in.held.Size(place) < maxEagerPerKey || in.held.In(callerNamed)+in.held.In(callerSeen) < maxEager
	h.held, evicted = in.held.Add(h, place)
	in.evict(evicted)
	return h.held.Held()
}

// answered notes that a caller has got our answer: it knows the keys of the handshake.
func (in *intake) answered(h *session) {
	if h.answeredUs || h.held == nil {
		return
	}
	h.answeredUs = true
	place := bound.At(callerAnswered, h.origin.addr.Addr(), h.trail.key)
	if h.known {
		place = bound.Under(callerBoth, h.trail.key)
	}
	in.evict(in.held.Move(h.held, place))
}

// opened gives a caller's tokens back: it was no waste.
func (in *intake) opened(h *session) {
	for _, b := range in.buckets(h.origin) {
		if b.Bucket != nil {
			b.Return()
		}
	}
}

// release stops counting a caller, wherever it is.
func (in *intake) release(h *session) {
	if h.queued != nil {
		in.waiting.Remove(h.queued)
	}
	if h.held != nil {
		in.held.Remove(h.held)
	}
}

// paces is how many sockets, hosts, networks and senders have a pace of their own.
func (in *intake) paces() int {
	now := in.p.host.Now()
	return in.sockets.Len(now) + in.hosts.Len(now) + in.networks.Len(now) + in.senders.Len(now)
}

func (in *intake) close() {
	if in.turn != nil {
		in.turn.Stop()
	}
	in.sockets.Clear()
	in.hosts.Clear()
	in.networks.Clear()
	in.senders.Clear()
}

func (in *intake) evict(it *bound.Item[*session]) {
	if it != nil {
		in.p.stats.Refused.Share++
		it.Value.evict()
	}
}

// remember keeps a settled session for retransmissions. The oldest one goes when there are too many.
func (in *intake) remember(h *session) {
	in.remembered = append(in.remembered, h)
	in.remembering++
	for len(in.remembered) > 0 && (in.remembered[0].forgotten || in.remembering > maxRemembered) {
		oldest := in.remembered[0]
		in.remembered[0] = nil
		in.remembered = in.remembered[1:]
		oldest.s.forget(oldest)
	}
}
