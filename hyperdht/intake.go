package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// intake limits the work and memory that a node spends on callers, over all its servers. The states of a caller are in internals.go.
// It takes tokens of its paces as it arrives, has a place in the queue (waiting) while it is queued, and a part of the room (held)
// from when it is read and admitted until its connection is open or it is dropped, which is counted.
//
// Paces come before any Diffie-Hellman operation. They are counted for the address that answers for the message: the
// caller's own, if it came straight from there or through a node that this server announced to. Any other sender may have
// invented the caller, so it answers itself.
//
// An attacker can run a node near our key, to which we then announce, and which can name arbitrary callers. So a relay has a part of
// the queue only, the room is shared between relays first, and a caller whose own pace is used up has a reserve with each relay. A
// relay that invents callers, or names those of others, takes from its own share. Held callers share the room by class.
type intake struct {
	p *peering

	sockets  ration[netip.AddrPort]
	hosts    ration[netip.Prefix]
	networks ration[netip.Prefix]
	senders  *bound.Rates[netip.Prefix]
	unknown  *bound.Bucket // of senders that this node did not announce to, in all
	all      *bound.Bucket

	waiting *bound.Queue[*incoming]
	through map[netip.Prefix]*bound.Queue[*incoming] // waiting callers, by the relay that names them
	held    *bound.Shares[*incoming]
	read    *bound.Recent[[32]byte] // handshakes of known keys, by their ephemeral key
	turn    host.Timer              // for waiting callers: the next token, or the next turn
	busy    host.Instant            // the turn in which handshakes were read last
	served  int                     // how many in that turn

	computing int // messages that are read or written off the loop

	remembered  []*incoming // settled attempts, the oldest first; some are forgotten already
	remembering int
}

// The classes of callers, in the order of the proof that they have given.
const (
	callerNamed    = iota // named by a sender that may have invented it
	callerSeen            // seen at its address, by us or by a node that we announced to
	callerAnswered        // has answered, under the keys of its handshake
	callerKnown           // has a key that the application knows, and a handshake that is new
	callerBoth            // has answered, and has such a key
)

func newIntake(p *peering) *intake {
	now := p.host.Now()
	return &intake{
		p:        p,
		sockets:  newRation[netip.AddrPort](socketPace, relayedSocketPace),
		hosts:    newRation[netip.Prefix](hostPace, relayedHostPace),
		networks: newRation[netip.Prefix](networkPace, relayedNetworkPace),
		senders:  bound.NewRates[netip.Prefix](maxPaced, senderPace),
		unknown:  bound.NewBucket(now, unknownPace),
		all:      bound.NewBucket(now, handshakePace),
		waiting:  bound.NewQueue[*incoming](maxWaitingCallers),
		through:  map[netip.Prefix]*bound.Queue[*incoming]{},
		read:     bound.NewRecent[[32]byte](maxRead),
		held: bound.NewShares[*incoming](maxCallers,
			bound.Class{Kept: keptNamed}, bound.Class{Kept: keptSeen}, bound.Class{Kept: keptAnswered},
			bound.Class{Kept: keptKnown, PerPart: maxCallersPerKey, PerKey: maxCallersOfKey},
			bound.Class{Kept: keptBoth, PerPart: maxCallersPerKey, PerKey: maxCallersOfKey}),
	}
}

// admission holds the places at which the intake counts a caller.
type admission struct {
	origin     origin
	other      origin // through which the handshake came again while it was read; the zero origin for none
	tokens     tokens
	queued     *bound.Item[*incoming] // set once it waited to be read
	lined      *bound.Item[*incoming] // likewise, with its relay
	held       *bound.Item[*incoming] // set once it was admitted
	asked      *Admission             // while the application decides
	known      bool                   // the application knows its key
	eager      bool                   // our NAT is classified, and the relay joined, before it has proven anything
	answeredUs bool                   // it has proven to have our answer
}

// origin is the address that answers for a caller.
type origin struct {
	addr  netip.AddrPort
	seen  bool       // it is the caller's own
	relay netip.Addr // the announced node that has named it; invalid for none
}

// waits is the place at which a caller counts before its key is known: by address, and there by relay, since a relay may name
// the callers of others.
func (o origin) waits() bound.Place {
	var relay [32]byte
	if o.relay.IsValid() {
		a := bound.Host(o.relay).Addr().As16()
		copy(relay[:], a[:])
	}
	return bound.At(0, o.addr.Addr(), relay)
}

// named is an attribute of a caller together with the relay that names it.
type named[K comparable] struct {
	relay netip.Prefix
	of    K
}

// ration limits the handshakes of a socket, host or network, with a reserve for each relay that names it.
type ration[K comparable] struct {
	own     *bound.Rates[K]
	reserve *bound.Rates[named[K]]
}

func newRation[K comparable](own, reserve bound.Pace) ration[K] {
	return ration[K]{bound.NewRates[K](maxPaced, own), bound.NewRates[named[K]](maxPaced, reserve)}
}

// of returns the bucket that a handshake takes from: the caller's own, or the reserve for the relay if that is empty.
func (r ration[K]) of(now host.Instant, k K, relay netip.Addr) *bound.Bucket {
	b := r.own.Of(now, k)
	if relay.IsValid() && b.Empty(now) {
		b = r.reserve.Of(now, named[K]{bound.Host(relay), k})
	}
	return b
}

func (r ration[K]) len(now host.Instant) int { return r.own.Len(now) + r.reserve.Len(now) }

func (r ration[K]) clear() {
	r.own.Clear()
	r.reserve.Clear()
}

// tokens are the buckets that a handshake has taken from.
type tokens [3]*bound.Bucket

// take takes the tokens of a handshake, or counts the first that is missing and takes none.
func (in *intake) take(o origin) (t tokens, ok bool) {
	now, count := in.p.host.Now(), &in.p.stats.Refused
	var refused [3]*uint64
	if o.seen {
		addr := o.addr.Addr()
		t = tokens{in.sockets.of(now, o.addr, o.relay), in.hosts.of(now, bound.Host(addr), o.relay), in.networks.of(now, bound.Network(addr), o.relay)}
		refused = [3]*uint64{&count.Socket, &count.Address, &count.Network}
	} else {
		t = tokens{in.senders.Of(now, bound.Host(o.addr.Addr())), in.unknown}
		refused = [3]*uint64{&count.Sender, &count.Relays}
	}
	for i, b := range t {
		if b != nil && b.Empty(now) {
			*refused[i]++
			return tokens{}, false
		}
	}
	for _, b := range t {
		if b != nil {
			b.Take(now)
		}
	}
	return t, true
}

// give returns tokens: the connection is open, or the handshake counts elsewhere.
func (t tokens) give() {
	for _, b := range t {
		if b != nil {
			b.Return()
		}
	}
}

// arrive queues a new caller, whose turn may come at once. It reports false if the caller is dropped.
func (in *intake) arrive(h *incoming) bool {
	var ok bool
	if h.tokens, ok = in.take(h.origin); !ok {
		return false
	}
	var dropped *bound.Item[*incoming]
	h.queued, dropped = in.waiting.Add(h, h.origin.waits())
	in.turnAway(dropped, h)
	in.line(h)
	if !h.queued.Held() {
		return false
	}
	in.serve()
	if h.queued.Held() {
		h.become(incomingQueued)
	}
	return true
}

// line counts a waiting caller for the relay that names it, which has a part of the queue.
func (in *intake) line(h *incoming) {
	relay := bound.Host(h.origin.relay)
	if !relay.IsValid() || !h.queued.Held() {
		return
	}
	q := in.through[relay]
	if q == nil {
		q = bound.NewQueue[*incoming](maxWaitingPerRelay)
		in.through[relay] = q
	}
	var dropped *bound.Item[*incoming]
	h.lined, dropped = q.Add(h, h.origin.waits())
	in.turnAway(dropped, h)
}

// leaveLine stops counting a caller for its relay.
func (in *intake) leaveLine(h *incoming) {
	relay := bound.Host(h.origin.relay)
	if q := in.through[relay]; q != nil && h.lined != nil {
		if q.Remove(h.lined); q.Len() == 0 {
			delete(in.through, relay)
		}
	}
	h.lined = nil
}

// lineOf returns the number of waiting callers that a relay names.
func (in *intake) lineOf(o origin) int {
	if q := in.through[bound.Host(o.relay)]; q != nil {
		return q.Len()
	}
	return 0
}

// turnAway removes a waiting caller in favour of a new one, which may be the same; nil is none.
func (in *intake) turnAway(gone *bound.Item[*incoming], comes *incoming) {
	if gone == nil {
		return
	}
	in.p.stats.Refused.Queue++
	if h := gone.Value; h == comes {
		in.waiting.Remove(h.queued)
	} else {
		h.s.forget(h)
	}
}

// serve reads the handshakes of waiting callers, as long as there are tokens and not too many computations under way, and a few in one
// turn: a host with one processor computes within the turn, a batch of datagrams may be a turn and have dozens of handshakes, and scrapes
// wait.
func (in *intake) serve() {
	now := in.p.host.Now()
	if in.busy != now {
		in.busy, in.served = now, 0
	}
	for in.waiting.Len() > 0 && !in.all.Empty(now) && in.served < handshakesPerTurn && in.computing < maxComputing {
		h, _ := in.waiting.Next()
		in.leaveLine(h)
		in.all.Take(now)
		in.served++
		in.p.stats.HandshakesRead++
		h.read()
	}
	wait := max(in.all.Wait(now), handshakesPause)
	switch {
	case in.waiting.Len() == 0:
	case in.turn == nil:
		in.turn = in.p.host.AfterFunc(wait, in.serve)
	default:
		in.turn.Reset(wait)
	}
}

// compute has a message of a handshake read or written off the loop.
func (in *intake) compute(work, done func()) {
	in.computing++
	in.p.host.Compute(work, func() {
		in.computing--
		done()
	})
}

// hold counts a caller that was read and admitted. It reports false if there is no room for it.
func (in *intake) hold(h *incoming) bool {
	h.known = h.s.cfg.Known != nil && h.s.cfg.Known(h.attemptTrace.key) && in.firstOf(h)
	if h.over() {
		return false // the application has closed the server while it was asked
	}
	place := h.place(h.origin)
	var evicted *bound.Item[*incoming]
	// Honest callers get this a round trip later. Those of a flood never do: pings for them would delay
	// those for others.
	h.eager = h.known && in.held.Size(place, 1) < maxEagerPerKey || in.held.In(callerNamed)+in.held.In(callerSeen) < maxEager
	h.held, evicted = in.held.Add(h, place)
	in.evict(evicted)
	return h.held.Held()
}

// firstOf reports whether the handshake of a known key is read for the first time. Nodes on its way can record it and send it
// again, and cannot make a new one; repetitions count among strangers.
func (in *intake) firstOf(h *incoming) bool {
	var ephemeral [32]byte
	copy(ephemeral[:], h.key)
	if in.read.Has(ephemeral) {
		return false
	}
	in.read.Add(ephemeral)
	return true
}

// answered records that a caller has received our answer: it knows the keys of the handshake.
func (in *intake) answered(h *incoming) {
	if h.answeredUs || h.held == nil {
		return
	}
	h.answeredUs = true
	in.evict(in.held.Move(h.held, h.place(h.origin)))
}

// again handles the handshake of a caller that came through another node, too. The caller counts there if fewer do: the
// first node that forwards a message may have crowded its own share.
func (in *intake) again(h *incoming, o origin) {
	if h.answeredUs || !o.seen || h.origin.seen && h.origin.relay == o.relay {
		return
	}
	switch {
	case h.in(incomingReading) && h.held == nil:
		h.other = o
	case h.queued != nil && h.queued.Held():
		if before := h.origin; before.seen && in.lineOf(o)+1 >= in.lineOf(before) || !in.settle(h, o) {
			return
		}
		in.waiting.Move(h.queued, o.waits())
		in.line(h)
	case h.held != nil && h.held.Held():
		steps := 1
		if h.known {
			steps = 3 // the key, the server and the relay
		}
		if old := in.held.Size(h.place(h.origin), steps); h.origin.seen && in.held.Size(h.place(o), steps)+1 >= old || !in.settle(h, o) {
			return
		}
		in.evict(in.held.Move(h.held, h.place(o)))
	}
}

// settle makes another origin answer for a caller, if its paces allow.
func (in *intake) settle(h *incoming, o origin) bool {
	t, ok := in.take(o)
	if ok {
		in.leaveLine(h)
		h.tokens.give()
		h.origin, h.tokens = o, t
	}
	return ok
}

// place is the place at which a caller counts once its key is known, if an origin answers for it.
func (ic *incoming) place(o origin) bound.Place {
	key := ic.attemptTrace.key
	switch {
	case ic.known && ic.answeredUs:
		return bound.Under(callerBoth, key).For(ic.s.cfg.Keys.Public)
	case ic.known: // an attacker may have repeated its handshake
		return bound.UnderThrough(callerKnown, key, o.relay, o.addr.Addr()).For(ic.s.cfg.Keys.Public)
	case ic.answeredUs:
		return bound.Through(callerAnswered, o.relay, o.addr.Addr(), key)
	case o.seen:
		return bound.Through(callerSeen, o.relay, o.addr.Addr(), key)
	}
	return bound.Through(callerNamed, o.relay, o.addr.Addr(), key)
}

// release stops counting a caller, wherever it is.
func (in *intake) release(h *incoming) {
	if h.queued != nil {
		in.waiting.Remove(h.queued)
		in.leaveLine(h)
	}
	if h.held != nil {
		in.held.Remove(h.held)
	}
}

// paces returns the number of sockets, hosts, networks and senders with a pace of their own.
func (in *intake) paces() int {
	now := in.p.host.Now()
	return in.sockets.len(now) + in.hosts.len(now) + in.networks.len(now) + in.senders.Len(now)
}

func (in *intake) close() {
	if in.turn != nil {
		in.turn.Stop()
	}
	in.sockets.clear()
	in.hosts.clear()
	in.networks.clear()
	in.senders.Clear()
	in.read.Clear()
}

func (in *intake) evict(it *bound.Item[*incoming]) {
	if it != nil {
		in.p.stats.Refused.Share++
		it.Value.evict()
	}
}

// remember keeps a settled attempt for retransmissions. The oldest one is dropped when there are too many.
func (in *intake) remember(h *incoming) {
	in.remembered = append(in.remembered, h)
	in.remembering++
	for len(in.remembered) > 0 && (in.remembered[0].over() || in.remembering > maxRemembered) {
		oldest := in.remembered[0]
		in.remembered[0] = nil
		in.remembered = in.remembered[1:]
		oldest.s.forget(oldest)
	}
}
