package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
)

// asking is one round of asking whether our public address has moved.
type asking struct {
	sampler nat.Sampler
	heard   []netip.AddrPort // nodes that have answered
	pending int              // answers that are still to come, and one until all are asked
	asked   int              // nodes
	probing bool             // the address probe is asked, and several machines may answer
	cancel  func()           // ends what the address probe does
}

func (a *asking) sample(seen, from netip.AddrPort) {
	if len(a.heard) < maxResponders && !slices.Contains(a.heard, from) {
		a.heard = append(a.heard, from)
		a.sampler.Add(seen, from)
	}
}

// suspectMove is called with our host as an answer reports it. The public address of a NAT can change
// without any change on this machine; if an answer indicates that, other nodes are asked.
func (e *Endpoint) suspectMove(seen netip.Addr) {
	if e.address.suspects(seen, e.nodes.tick) {
		e.askAddress()
	}
}

// askAddress asks a few nodes for our address, and the address probe if there are too few, and moves if they agree on another
// host. If they agree on another port, their samples replace those from before, which would outvote them for half an hour where
// few nodes are known. They are taken evenly from all known nodes: attackers can be the last ones heard by pinging us, and a
// handful of them that lie would make us drop our id and announce a false address.
func (e *Endpoint) askAddress() {
	if !e.running() || e.address.preset {
		return
	}
	e.address.endAsking()
	q := &asking{pending: 1}
	e.address.askedAt, e.address.asking = e.nodes.tick, q
	known, at := e.nodes.list.Len(), 0
	for n := e.nodes.list.Latest(); n != nil; n = n.Older() { // askedNodes at most
		if at++; q.asked*known >= at*askedNodes {
			continue
		}
		q.asked++
		q.pending++
		e.Ping(n.Addr(), nil, nil, func(r Reply, err error) {
			if err == nil {
				q.sample(r.To, r.From)
			}
			e.settle(q)
		})
	}
	if s := e.Socket(); e.cfg.AddressProbe != nil && s != nil && q.asked < probeNodes {
		q.pending++
		q.probing = true
		q.cancel = e.cfg.AddressProbe(s, q.sample, func() { q.probing = false; e.settle(q) })
	}
	e.h.Defer(func() { e.settle(q) })
}

// settle draws the conclusion from the answers once the rest cannot change it.
func (e *Endpoint) settle(q *asking) {
	q.pending--
	if !e.running() || e.address.asking != q {
		return
	}
	agreed, need := mostAgree(q.sampler.Samples(), e.h.Addrs(), q.pending), e.moveSamples(q.asked)
	if q.pending > 0 && (q.probing || agreed.Len() == 0 || agreed.Len() < need) {
		return
	}
	e.address.endAsking()
	switch found := agreed.Host(); {
	case agreed.Len() < need || !found.IsValid():
	case found == e.address.sampler.Host() && (agreed.Port() == 0 || agreed.Port() == e.address.sampler.Port()):
	case found == e.address.host: // no move, or another port of the NAT
		e.resample(agreed)
	default:
		e.moved(agreed)
	}
}

// mostAgree keeps the samples of a host that three quarters of the machines have seen, or two of three machines. So a few that give false
// answers do not keep a node at an address that is no longer its own, and one with many ports moves no node. For the address of an
// local interface more than half is enough, since the machine itself confirms it. Machines that have yet to answer count as if they
// disagreed. The sampler is empty if there is no such majority.
func mostAgree(samples []nat.Sample, interfaces []netip.Addr, unanswered int) *nat.Sampler {
	agree := new(nat.Sampler)
	from := make(map[netip.Addr]netip.Addr, len(samples)) // by machine: the host it sees, invalid if it sees several
	for _, s := range samples {
		if seen, known := from[s.From.Addr()]; known && seen != s.Seen.Addr() {
			from[s.From.Addr()] = netip.Addr{}
		} else {
			from[s.From.Addr()] = s.Seen.Addr()
		}
	}
	votes := make(map[netip.Addr]int, len(from))
	for _, seen := range from {
		votes[seen]++
	}
	most := func(seen netip.Addr) bool {
		n, all := votes[seen], len(from)+unanswered
		return 4*n >= 3*all || n == 2 && all == 3 || 2*n > all && slices.Contains(interfaces, seen)
	}
	for _, s := range samples {
		if seen := s.Seen.Addr(); from[s.From.Addr()] == seen && most(seen) {
			agree.Add(s.Seen, s.From)
		}
	}
	return agree
}

// moveSamples returns the number of answers that must agree on a move, by the number of nodes asked. If only one node is
// known, and no other live responder has given a sample, its new sample counts as much as its old one.
func (e *Endpoint) moveSamples(asked int) int {
	only := e.nodes.list.Latest()
	if asked != 1 || only == nil || slices.ContainsFunc(e.address.sampler.Samples(), func(s nat.Sample) bool { return s.From != only.Addr() && !e.witnessGone(s.From) }) {
		return minMoveSamples
	}
	return 1
}

// witnessGone reports whether the responder of a sample of our address has left since: it is neither a known node nor another one
// that was heard lately.
func (e *Endpoint) witnessGone(from netip.AddrPort) bool {
	return e.nodes.at(from) == nil && !slices.Contains(e.address.unnamed, from) && !e.address.counted(from, e.nodes.tick)
}

// moved resets the node's state for another public address.
func (e *Endpoint) moved(sampler *nat.Sampler) {
	e.wakeUp() // which also makes the other nodes' samples due again
	e.resample(sampler)
	if e.address.known != nil {
		e.tell(Event{Kind: EventElsewhere})
	}
	if e.standing.forced && !e.Ephemeral() {
		// Others take an id that does not fit the address for none.
		e.becomeEphemeral()
		e.updateState(persistence, func(bool) {})
	}
}
