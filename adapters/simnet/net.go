package simnet

import (
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
	// Lanes is the number of parts of the net that may run at the same time; 0 means 1. See the package comment.
	Lanes int
	// Parallel calls do with 0 to n-1, at the same time as far as it can, and returns when all calls have; with nil, the lanes
	// run one after the other. It is not used while a Trace, tap, filter or block (Net.Block) sees the events in the order
	// of time. The run is the same in all these cases.
	Parallel func(n int, do func(i int))
	// Coarse leaves payloads and the texts of events out of the hash, for runs where speed matters more.
	Coarse bool
}

// Net is a simulated internet and the clock of all its hosts.
type Net struct {
	cfg     Config
	lanes   []*lane
	main    *lane         // the first
	steps   *lane         // of the scenario: a lane without machines, or the first where it is the only one
	reach   time.Duration // no datagram gets from lane to lane in less
	writing int           // the side of lane.out that is written
	running bool          // a stretch is under way

	internet *Segment
	machines []*machine
	taken    map[string]bool // names of machines and routers
	names    map[string][]netip.Addr
	pairs    pairs
	cut      cut
	outbreak *Outbreak // under way
	filter   func(Datagram) bool
	watchers watchers
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
	blocked map[pair]bool
}

// link returns the link of a pair of machines, or nil if it has none of its own.
func (p *pairs) link(from, to *node) *pairLink {
	if len(p.links) == 0 {
		return nil
	}
	return p.links[pair{from, to}]
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
		pairs: pairs{links: map[pair]*pairLink{}, blocked: map[pair]bool{}},
	}
	n.divide(max(cfg.Lanes, 1))
	cfg.Link.check()
	n.internet = newSegment(n, "internet", cfg.Link, internetHops)
	n.measure()
	return n
}

// Now returns the time since the run began.
func (n *Net) Now() time.Duration { return time.Duration(n.main.now) }

// Seed returns the seed of the run.
func (n *Net) Seed() uint64 { return n.cfg.Seed }

// Hash returns the hash of all events so far. Two runs with the same seed and the same calls have the same hash; the first
// difference changes it permanently.
func (n *Net) Hash() uint64 {
	hash := n.steps.hash
	if len(n.lanes) > 1 {
		for _, l := range n.lanes {
			hash = mix(hash, l.hash)
		}
	}
	return hash
}

// Stats returns the counts so far.
func (n *Net) Stats() (sum Stats) {
	for _, l := range n.lanes {
		sum.add(&l.stats)
	}
	return sum
}

// Internet returns the segment of public hosts.
func (n *Net) Internet() *Segment { return n.internet }

// AddHost boots a machine on the internet. Its addresses are its own: two machines with the same one, or
// with the same name, are a mistake in the scenario and panic.
func (n *Net) AddHost(name string, addrs ...netip.Addr) *Host {
	return n.internet.AddHost(name, addrs...)
}

// AddHostIn is AddHost for one of the net's lanes, counted from 0; machines that are added in other ways are in lane 0.
func (n *Net) AddHostIn(lane int, name string, addrs ...netip.Addr) *Host {
	return n.internet.addHost(n.lanes[lane], name, addrs)
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
	n.measure()
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

// Partition blocks both directions between every host of one writing and every host of the other.
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

// SetObserver calls see with every traced event as it happens, in other lanes than the first when the lanes have stopped; nil
// removes it.
func (n *Net) SetObserver(see func(*Host, host.Event)) { n.watchers.event = see }

// AfterFunc runs a step of the scenario, such as a crash or a partition, once d has passed. It belongs to no host and may
// call anything on any.
func (n *Net) AfterFunc(d time.Duration, f func()) {
	n.steps.arm(&event{lane: n.steps, run: f}, n.main.now.Add(max(d, 0)))
}

// Pending returns the number of pending events, timers included.
func (n *Net) Pending() int {
	pending := 0
	for _, l := range n.lanes {
		pending += l.live + l.sending()
	}
	if n.steps != n.main {
		pending += n.steps.live
	}
	return pending
}

// Step runs the next event, or with several lanes those of the next stretch. It reports false when there is none.
func (n *Net) Step() bool { return n.step(1<<63 - 2) }

// Run runs everything that is due within d and leaves the clock there.
func (n *Net) Run(d time.Duration) {
	limit := n.main.now.Add(d)
	for n.step(limit) {
	}
	n.advance(limit)
}

// RunUntil runs events until cond holds, for d at most, and reports whether it did. The clock stays at the event that
// made it hold. cond is called after every Step and must be cheap.
func (n *Net) RunUntil(cond func() bool, d time.Duration) bool {
	limit := n.main.now.Add(d)
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
	limit := n.main.now.Add(d)
	for n.step(limit) {
	}
	return n.Pending() == 0
}

// step runs what Step does, if it is due at or before limit.
func (n *Net) step(limit host.Instant) bool {
	if len(n.lanes) > 1 {
		return n.stretch(limit)
	}
	if !n.main.step(limit) {
		return false
	}
	if len(n.main.outside) > 0 {
		n.callOutside()
	}
	return true
}

// fire runs a timer or a posted closure, as one turn.
func (h *Host) fire(e *event) {
	l := h.lane
	l.mark(markTimer, h.m.salt)
	if e.timer {
		l.stats.Timers++
		l.note(h.m.name, "timer")
	} else {
		l.stats.Posts++
	}
	h.turn(e.run)
}
