package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
)

// onTick is the maintenance of every 5 s (dht-rpc index.js, _ontick).
func (e *Endpoint) onTick() {
	e.ticker.Reset(TickInterval)
	now := e.h.Now()
	slept := now.Sub(e.lastTick) > sleepingInterval
	e.lastTick = now
	if slept {
		e.wakeUp()
		e.waking = true
		e.askAddress() // at once, so that who wakes with the network up is heard of within the tick
	} else {
		e.tick++
	}
	if addrs := e.h.Addrs(); !slices.Equal(addrs, e.interfaces) {
		e.interfaces = addrs
		e.NetworkChanged()
	}
	if !e.bootstrapped || e.closed || e.suspended {
		return
	}
	// The original leaves a node that was to be persistent and failed at the start as it is for good.
	if (e.adaptive || e.forcePersistent) && e.ephemeral {
		if e.stableTicks--; e.stableTicks <= 0 {
			if e.checkedHost == e.nat.Host() {
				e.stableTicks = moreStableTicks // the same network as last time
			} else {
				e.updateState(false, func(bool) {})
			}
		}
	}
	if e.tick&7 == 0 {
		e.pingSome()
	}
	e.refreshTicks--
	if e.refreshTicks <= 0 || e.tick&63 == 0 && e.nodes.Len() < kad.K || e.lonely() {
		e.refresh()
	}
	e.rejoinTick()
	e.judgeReach()
	e.downHints = 0
	if e.health.Update(e.stats.Requests.Responses, e.stats.Requests.Timeouts) {
		e.judge()
	}
}

// lonely reports whether it is time to look for more nodes because very few are known, as when a whole private DHT
// starts at once and the first node to answer knew nobody yet. It is so at every tick at first, and then half as often
// each time: some networks are small. The original waits for five minutes, and until then cannot tell its NAT.
func (e *Endpoint) lonely() bool {
	if e.nodes.Len() >= fewNodes {
		e.lonelyWait, e.lonelyTicks = 0, 0
		return false
	}
	if e.lonelyTicks++; e.lonelyTicks <= e.lonelyWait {
		return false
	}
	e.lonelyTicks = 0
	e.lonelyWait = min(max(1, 2*e.lonelyWait), refreshTicks)
	return true
}

// refresh looks up a random known id, so that the table stays alive.
func (e *Endpoint) refresh() {
	target := e.table.Self()
	if n := e.table.Len(); n > 0 {
		target = e.table.At(e.random(n)).ID
	}
	e.background(id.Target(target), nil, nil)
	e.sampleAddress()
}

// background starts a lookup that leaves room for other traffic (dht-rpc index.js, _backgroundQuery). Nodes of an earlier run
// are asked all at once, since some may be gone.
func (e *Endpoint) background(target id.Target, onReply func(*Reply), onDone func(error)) {
	var q *Query
	q = e.FindNode(target, QueryConfig{
		Concurrency: max(backgroundConcurrency, len(e.known)),
		OnReply: func(r *Reply) {
			q.concurrency = backgroundConcurrency
			if e.calls.n < 3 {
				q.concurrency = Concurrency
			}
			if onReply != nil {
				onReply(r)
			}
		},
		OnDone: onDone,
	})
}

// wakeUp makes everything look old after a sleep (dht-rpc index.js, _onwakeup).
func (e *Endpoint) wakeUp() {
	e.tick += 2 * oldNode
	e.tick += 8 - e.tick&7 - 2 // pings follow in two ticks
	e.stableTicks = moreStableTicks
	e.refreshTicks = 1 // in the next tick: the network may need time to wake up too
	e.checkedHost = netip.Addr{}
	e.health.Reset()
	e.setNetwork(true, false)

	if e.adaptive && !e.ephemeral {
		e.becomeEphemeral()
	}
	e.h.Trace(Event{Kind: EventWakeUp})
}

func (e *Endpoint) becomeEphemeral() {
	e.ephemeral = true
	e.h.Trace(Event{Kind: EventEphemeral})
	if e.cfg.OnEphemeral != nil {
		e.cfg.OnEphemeral()
	}
}

// judge draws the conclusion from the health of the network.
func (e *Endpoint) judge() {
	degraded := e.health.Degraded()
	e.setNetwork(degraded || e.health.Online(), degraded)
}

func (e *Endpoint) setNetwork(online, degraded bool) {
	if e.online == online && e.degraded == degraded {
		return
	}
	e.online, e.degraded = online, degraded
	e.h.Trace(Event{Kind: EventNetwork, Online: online, Degraded: degraded})
	e.networkUpdate()
}

func (e *Endpoint) networkUpdate() {
	if e.cfg.OnNetworkUpdate != nil {
		e.cfg.OnNetworkUpdate(e.online, e.degraded)
	}
}

// NetworkChanged says that this machine's addresses have changed. Ticks notice that too; who knows it
// earlier says so.
//
// The original only tells its users. That is not enough to notice a new public address: the sampler's
// sixteen votes are renewed every half hour. So a few nodes are asked at once, and if they agree on
// another host, what we knew of ourselves is forgotten as after a sleep. That a machine's interfaces
// change without that (containers come and go) must not cost a node its persistence.
func (e *Endpoint) NetworkChanged() {
	if e.closed {
		return
	}
	e.h.Trace(Event{Kind: EventInterfaces})
	if e.cfg.OnNetworkChange != nil {
		e.cfg.OnNetworkChange()
	}
	e.networkUpdate()
	e.askAddress()
}

// suspectMove is called with the host that an answer says we have. The public address of a NAT changes
// without any change of ours; when an answer says so, others are asked. They are asked again while the samples
// contradict each other, since those of before a move stay for half an hour.
func (e *Endpoint) suspectMove(seen netip.Addr) {
	if !e.knownHost.IsValid() || e.tick-e.askedAt < moveInterval {
		return
	}
	if seen != e.nat.Host() || !e.nat.Host().IsValid() {
		e.askAddress()
	}
}

// askAddress asks a few nodes where they see us, and the address probe if there are too few, and moves if they
// agree that it is elsewhere. They are taken evenly from all that are known: those heard last are chosen by who pings us, and a
// handful of them that lie would make us leave our id and announce a false address.
func (e *Endpoint) askAddress() {
	if e.suspended || e.closed || e.cfg.PublicAddr.IsValid() {
		return
	}
	e.askedAt = e.tick
	sampler := new(nat.Sampler)
	var heard []netip.AddrPort
	sample := func(seen, from netip.AddrPort) {
		if len(heard) < maxResponders && !slices.Contains(heard, from) {
			heard = append(heard, from)
			sampler.Add(seen, from)
		}
	}
	e.endAsking()
	asking := e.askings
	pending, asked, probing := 1, 0, false
	settle := func() {
		pending--
		if e.closed || e.suspended || asking != e.askings {
			return
		}
		agreed := mostAgree(sampler.Samples(), e.h.Addrs(), pending)
		if pending > 0 && (probing || agreed.Len() == 0 || agreed.Len() < e.moveSamples(asked)) {
			return
		}
		e.endAsking() // the rest cannot change the result
		switch found := agreed.Host(); {
		case agreed.Len() < e.moveSamples(asked) || !found.IsValid() || found == e.nat.Host():
		case found == e.knownHost: // we are where we were
			e.resample(agreed)
		default:
			e.moved(agreed)
		}
	}
	known, at := e.nodes.Len(), 0
	for n := e.nodes.Latest(); n != nil && asked < askedNodes; n = n.Older() {
		if at++; asked*known >= at*askedNodes {
			continue
		}
		asked++
		pending++
		e.Ping(n.Addr(), nil, nil, func(r Reply, err error) {
			if err == nil {
				sample(r.To, r.From)
			}
			settle()
		})
	}
	if s := e.Socket(); e.cfg.AddressProbe != nil && s != nil && asked < probeNodes {
		pending++
		probing = true // several machines may answer
		e.cancelAsking = e.cfg.AddressProbe(s, sample, func() { probing = false; settle() })
	}
	e.h.Defer(settle)
}

// mostAgree keeps the samples of a host that three quarters of the machines have seen, or two of three machines. So a few that give false
// answers do not keep a node at an address that is no longer its own, and one with many ports moves no node. For the address of an
// interface of ours more than half is enough, since the machine itself confirms it. Machines that have yet to answer count as if they
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

// moveSamples is how many answers have to agree that we are elsewhere, of so many nodes that are asked. Where one node alone is
// known, and nobody else who is still there has said anything of our address, what it says now counts as much as what it said before.
func (e *Endpoint) moveSamples(asked int) int {
	only := e.nodes.Latest()
	if asked != 1 || only == nil || slices.ContainsFunc(e.nat.Samples(), func(s nat.Sample) bool { return s.From != only.Addr() && !e.witnessGone(s.From) }) {
		return minMoveSamples
	}
	return 1
}

// witnessGone reports whether who has given a sample of our address has left since: it is neither a known node nor another one that was
// heard lately.
func (e *Endpoint) witnessGone(from netip.AddrPort) bool {
	return e.table.Get(id.NodeIDOf(from)) == nil && !slices.Contains(e.unnamed, from) && !e.counted(from)
}

// endAsking ignores all that is still to come of the last time that our address was asked for.
func (e *Endpoint) endAsking() {
	e.askings++
	if e.cancelAsking != nil {
		e.cancelAsking()
		e.cancelAsking = nil
	}
}

// resample forgets the samples of our address for new ones.
func (e *Endpoint) resample(sampler *nat.Sampler) {
	before := e.nat.Addr()
	e.nat = sampler
	e.unnamed = nil
	e.addressChanged(before)
}

// moved starts anew at another public address.
func (e *Endpoint) moved(sampler *nat.Sampler) {
	e.wakeUp() // which also makes the other nodes' samples due again
	e.resample(sampler)
	if e.forcePersistent && !e.ephemeral {
		// Others take an id that does not fit the address for none.
		e.becomeEphemeral()
		e.updateState(false, func(bool) {})
	}
}
