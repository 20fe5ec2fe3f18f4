package simnet

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures a run. The zero Config is a perfect network with no delay.
type Config struct {
	// Seed decides all random draws.
	Seed uint64
	// Start is the wall time at which the run begins; the zero Time means 2026-01-01 00:00 UTC.
	Start time.Time
	// Link is the internet between two public hosts, where no link of their own was set.
	Link Link
	// Trace receives a line for every delivery, drop, timer and event; nil for none. The hash does not depend on it.
	Trace io.Writer
	// Scribble overwrites receive buffers when the turn ends, to find code that keeps what it borrowed.
	Scribble bool
	// Coarse leaves payloads and the texts of events out of the hash, for runs where speed matters more.
	Coarse bool
}

// Net is a simulated internet and the clock of all its hosts.
type Net struct {
	cfg    Config
	now    host.Instant // since the run began
	seq    uint64
	live   int // armed events
	agenda agenda
	still  int // events since the clock last moved

	current *Host // whose turn it is
	free    []*datagram

	internet *Segment
	machines []*machine
	taken    map[string]bool // names of machines and routers
	names    map[string][]netip.Addr
	pairs    pairs
	cut      cut
	outbreak *Outbreak // under way
	filter   func(Datagram) bool
	watchers watchers

	hash  uint64
	stats Stats
	text  []byte
}

// pair is a directed pair of machines or routers.
type pair struct{ from, to *node }

type pairLink struct {
	Link
	queue
}

// watchers are shown what happens; each may be nil.
type watchers struct {
	event    func(*Host, host.Event)
	crossing func(Crossing)
}

// pairs holds what concerns one direction between two machines or routers.
type pairs struct {
	links   map[pair]*pairLink
	queues  map[pair]*queue // of links with a bandwidth that are not a pair's own
	blocked map[pair]bool
}

// link returns the link of a pair of machines, or nil if it has none of its own.
func (p *pairs) link(from, to *node) *pairLink {
	if len(p.links) == 0 {
		return nil
	}
	return p.links[pair{from, to}]
}

// queue returns the queue of a pair that shares the segment's link with others but not its bandwidth.
func (p *pairs) queue(from, to *node) *queue {
	at := pair{from, to}
	q := p.queues[at]
	if q == nil {
		q = new(queue)
		p.queues[at] = q
	}
	return q
}

// New returns an empty internet.
func New(cfg Config) *Net {
	if cfg.Start.IsZero() {
		cfg.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	n := &Net{
		cfg:   cfg,
		taken: map[string]bool{},
		names: map[string][]netip.Addr{},
		pairs: pairs{links: map[pair]*pairLink{}, queues: map[pair]*queue{}, blocked: map[pair]bool{}},
		hash:  mix(cfg.Seed, prime3),
	}
	cfg.Link.check()
	n.internet = newSegment(n, "internet", cfg.Link, internetHops)
	return n
}

// Now returns the time since the run began.
func (n *Net) Now() time.Duration { return time.Duration(n.now) }

// Seed returns the seed of the run.
func (n *Net) Seed() uint64 { return n.cfg.Seed }

// Hash returns the hash of all events so far. Two runs with the same seed and the same calls have the same hash; the first
// difference changes it permanently.
func (n *Net) Hash() uint64 { return n.hash }

// Stats returns the counts so far.
func (n *Net) Stats() Stats { return n.stats }

// Internet returns the segment of public hosts.
func (n *Net) Internet() *Segment { return n.internet }

// AddHost boots a machine on the internet. Its addresses are its own: two machines with the same one, or
// with the same name, are a mistake in the scenario and panic.
func (n *Net) AddHost(name string, addrs ...netip.Addr) *Host {
	return n.internet.AddHost(name, addrs...)
}

// HostAt returns the running host with a public address, or nil.
func (n *Net) HostAt(addr netip.Addr) *Host {
	if m, ok := n.internet.at(addr).(*machine); ok {
		return m.host
	}
	return nil
}

// SetName lets all hosts resolve a name; without addresses it removes the name.
func (n *Net) SetName(name string, addrs ...netip.Addr) {
	if len(addrs) == 0 {
		delete(n.names, name)
		return
	}
	n.names[name] = append([]netip.Addr(nil), addrs...)
}

// SetLink gives the path from one host to another a link of its own, in this direction only, in place of that of their
// segment. An invalid link panics, here and wherever one is set. Between different segments it takes the place of the last
// one's, which is the receiver's LAN. It outlives restarts.
func (n *Net) SetLink(from, to *Host, l Link) {
	l.check()
	n.pairs.links[pair{&from.m.node, &to.m.node}] = &pairLink{Link: l}
}

// SetLinks is SetLink in both directions.
func (n *Net) SetLinks(a, b *Host, l Link) {
	n.SetLink(a, b, l)
	n.SetLink(b, a, l)
}

// Block drops everything that one host sends to another, in this direction only, until Unblock. Datagrams are dropped where
// their paths meet, on the internet or on a LAN that both are behind: the sender's routers see them and create sessions,
// the receiver's do not.
func (n *Net) Block(from, to *Host) { n.pairs.blocked[pair{&from.m.node, &to.m.node}] = true }

// Unblock undoes Block.
func (n *Net) Unblock(from, to *Host) { delete(n.pairs.blocked, pair{&from.m.node, &to.m.node}) }

// Partition blocks both directions between every host of one side and every host of the other.
func (n *Net) Partition(left, right []*Host) {
	for _, a := range left {
		for _, b := range right {
			n.Block(a, b)
			n.Block(b, a)
		}
	}
}

// Heal undoes all blocks.
func (n *Net) Heal() { clear(n.pairs.blocked) }

// SetFilter calls keep with every datagram before it is sent; those for which it returns false are dropped. nil keeps all.
func (n *Net) SetFilter(keep func(Datagram) bool) { n.filter = keep }

// SetObserver calls see with every traced event as it happens; nil removes it.
func (n *Net) SetObserver(see func(*Host, host.Event)) { n.watchers.event = see }

// AfterFunc runs a step of the scenario, such as a crash or a partition, once d has passed. It belongs to no host and may
// call anything on any.
func (n *Net) AfterFunc(d time.Duration, f func()) {
	n.arm(&event{net: n, run: f}, n.now.Add(max(d, 0)))
}

// Pending returns the number of pending events, timers included.
func (n *Net) Pending() int { return n.live }

// Step runs the next event. It reports false when there is none.
func (n *Net) Step() bool { return n.step(1<<63 - 1) }

// Run runs everything that is due within d and leaves the clock there.
func (n *Net) Run(d time.Duration) {
	limit := n.now.Add(d)
	for n.step(limit) {
	}
	n.advance(limit)
}

// RunUntil runs events until cond holds, for d at most, and reports whether it did. The clock stays at the event that
// made it hold. cond is called after every event and must be cheap.
func (n *Net) RunUntil(cond func() bool, d time.Duration) bool {
	limit := n.now.Add(d)
	for !cond() {
		if !n.step(limit) {
			n.advance(limit)
			return cond()
		}
	}
	return true
}

// RunIdle runs events until none is left, for d at most, and reports whether none is left.
func (n *Net) RunIdle(d time.Duration) bool {
	limit := n.now.Add(d)
	for n.step(limit) {
	}
	return n.live == 0
}

func (n *Net) advance(to host.Instant) {
	if to > n.now {
		n.now, n.still = to, 0
	}
}

func (n *Net) step(limit host.Instant) bool {
	if n.current != nil {
		panic("simnet: the net is run from inside a turn of " + n.current.m.name)
	}
	for {
		e := n.next(limit)
		if e == nil {
			return false
		}
		if e.host != nil && e.host.dead {
			continue
		}
		n.advance(e.due)
		if n.still++; n.still > stillLimit {
			panic(fmt.Sprintf("simnet: %d events without the clock moving from %v", n.still, n.now))
		}
		switch {
		case e.dg != nil:
			e.dg.at.arrive(e.dg)
		case e.host == nil:
			n.mark(markScenario, 0)
			e.run()
		case e.host.cpu != nil:
			e.host.cpu.due(e)
		default:
			e.host.fire(e)
		}
		return true
	}
}

// fire runs a timer or a posted closure, as one turn.
func (h *Host) fire(e *event) {
	n := h.net
	n.mark(markTimer, h.m.salt)
	if e.timer {
		n.stats.Timers++
		n.note(h.m.name, "timer")
	} else {
		n.stats.Posts++
	}
	h.turn(e.run)
}
