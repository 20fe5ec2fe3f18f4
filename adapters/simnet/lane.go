package simnet

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// lane is a part of a net: some of its machines with their clock and their pending events.
//
// A datagram needs at least Net.reach from lane to lane. So what happens in a lane within a stretch of that length depends
// on no other lane's events of the same stretch, and the lanes may run it at the same time; what they send each other is
// collected before the next one.
type lane struct {
	*Net
	index  int
	now    host.Instant // since the run began
	seq    uint64
	live   int // armed events
	agenda agenda
	still  int // events since the clock last moved

	current *Host // whose turn it is
	free    []*datagram
	queues  map[pair]*queue // of links with a bandwidth that are not a pair's own, of senders in the lane

	out     [2][][]parcel // what it sends to each other lane: one side is written, the other one collected
	soonest host.Instant  // no parcel on the side that is written is due before
	outside []outside

	hash  uint64
	stats Stats
	text  []byte
}

// parcel is a datagram on its way to another lane.
type parcel struct {
	dg  *datagram
	due host.Instant
}

// outside is a call that waits for the end of a turn, or of a stretch.
type outside struct {
	at  host.Instant
	run func()
}

// never is later than all instants of a run.
const never = host.Instant(math.MaxInt64)

func (n *Net) divide(lanes int) {
	for i := range lanes {
		l := &lane{Net: n, index: i, queues: map[pair]*queue{}, soonest: never, hash: mix(n.cfg.Seed, prime3)}
		for side := range l.out {
			l.out[side] = make([][]parcel, lanes)
		}
		n.lanes = append(n.lanes, l)
	}
	n.main, n.steps = n.lanes[0], n.lanes[0]
	if lanes > 1 {
		n.steps = &lane{Net: n, hash: mix(n.cfg.Seed, prime3)}
	}
}

// measure finds out what a datagram needs from lane to lane at least.
func (n *Net) measure() {
	n.reach = n.internet.link.Delay
	for _, own := range n.pairs.links {
		n.reach = min(n.reach, own.Delay)
	}
}

// queue returns the queue of a pair that shares the segment's link with others but not its bandwidth.
func (l *lane) queue(from, to *node) *queue {
	at := pair{from, to}
	q := l.queues[at]
	if q == nil {
		q = new(queue)
		l.queues[at] = q
	}
	return q
}

func (l *lane) advance(to host.Instant) {
	if to > l.now {
		l.now, l.still = to, 0
	}
}

// step runs the first event, if it is due at or before limit.
func (l *lane) step(limit host.Instant) bool {
	if l.current != nil {
		panic("simnet: the net is run from inside a turn of " + l.current.m.name)
	}
	for {
		e := l.next(limit)
		if e == nil {
			return false
		}
		if e.host != nil && e.host.dead {
			continue
		}
		l.advance(e.due)
		if l.still++; l.still > stillLimit {
			panic(fmt.Sprintf("simnet: %d events without the clock moving from %v", l.still, l.now))
		}
		switch {
		case e.dg != nil:
			e.dg.at.arrive(e.dg)
		case e.host == nil:
			l.mark(markScenario, 0)
			e.run()
		case e.host.cpu != nil:
			e.host.cpu.due(e)
		default:
			e.host.fire(e)
		}
		return true
	}
}

// send schedules the arrival of a datagram at its next place, which may be in another lane.
func (l *lane) send(d *datagram, due host.Instant) {
	to := d.at.self().lane
	if to == l {
		l.arm(&d.event, due)
		return
	}
	parcels := &l.out[l.writing][to.index]
	*parcels = append(*parcels, parcel{d, due})
	l.soonest = min(l.soonest, due)
}

// sending returns the number of datagrams that wait for another lane to collect them.
func (l *lane) sending() (sum int) {
	for _, side := range l.out {
		for _, parcels := range side {
			sum += len(parcels)
		}
	}
	return sum
}

// collect takes over what other lanes sent before this stretch, in an order that depends on nothing else.
func (l *lane) collect() {
	for _, from := range l.lanes {
		parcels := &from.out[1-l.writing][l.index]
		for _, p := range *parcels {
			if p.due < l.now {
				panic(fmt.Sprintf("simnet: a datagram from %v to %v comes from another lane %v too late", p.dg.from, p.dg.to, l.now.Sub(p.due)))
			}
			p.dg.lane = l
			l.arm(&p.dg.event, p.due)
		}
		clear(*parcels)
		*parcels = (*parcels)[:0]
	}
}

// run collects and runs what is due at or before last.
func (l *lane) run(last host.Instant) {
	l.collect()
	for l.step(last) {
	}
}

// stretch runs all lanes until the first of them could receive what another one has sent meanwhile, or runs one step of the
// scenario: all lanes stand still then. It reports false when nothing is due at or before limit.
func (n *Net) stretch(limit host.Instant) bool {
	if n.running {
		panic("simnet: the net is run from inside a turn")
	}
	begin := never
	for _, l := range n.lanes {
		begin = min(begin, l.agenda.first(), l.soonest)
	}
	step := n.steps.agenda.first()
	if min(begin, step) > limit {
		return false
	}
	if step <= begin {
		n.advance(step)
		n.steps.step(step)
	} else {
		last := min(begin.Add(max(n.reach, 1))-1, step-1, limit)
		n.writing = 1 - n.writing
		for _, l := range n.lanes {
			l.soonest = never
		}
		n.running = true
		if n.cfg.Parallel == nil || n.watched() {
			n.inOrder(last)
		} else {
			n.cfg.Parallel(len(n.lanes), func(i int) { n.lanes[i].run(last) })
		}
		n.running = false
		n.advance(last)
	}
	n.callOutside()
	return true
}

// watched reports whether events of all lanes are seen in the order of time: by a trace, a filter, a tap, or by blocks, which
// look into the tables of routers that a datagram has yet to reach.
func (n *Net) watched() bool {
	return n.cfg.Trace != nil || n.filter != nil || n.watchers.crossing != nil || len(n.pairs.blocked) > 0
}

// inOrder runs all lanes in the order of time, for those who watch.
func (n *Net) inOrder(last host.Instant) {
	for _, l := range n.lanes {
		l.collect()
	}
	for {
		next, at := n.main, n.main.agenda.first()
		for _, l := range n.lanes[1:] {
			if first := l.agenda.first(); first < at {
				next, at = l, first
			}
		}
		if at > last {
			return
		}
		next.step(at)
	}
}

// Outside calls f when the turn of the host is over, and with several lanes when none of them runs: f may do what a step of
// the scenario may. Calls are made in the order of time. A crash does not undo them. Outside of turns, f is called at once.
func (h *Host) Outside(f func()) {
	if h.lane.current == nil && !h.lane.running {
		f()
		return
	}
	h.lane.outside = append(h.lane.outside, outside{h.lane.now, f})
}

// callOutside makes the calls that wait.
func (n *Net) callOutside() {
	var all []outside
	for _, l := range n.lanes {
		if len(l.outside) > 0 {
			all = append(all, l.outside...)
			clear(l.outside)
			l.outside = l.outside[:0]
		}
	}
	slices.SortStableFunc(all, func(a, b outside) int { return cmp.Compare(a.at, b.at) })
	for _, o := range all {
		o.run()
	}
}

// advance moves the clocks of all lanes on.
func (n *Net) advance(to host.Instant) {
	for _, l := range n.lanes {
		l.advance(to)
	}
	n.steps.advance(to)
}

// Elapsed returns the time since the run began. Unlike Net.Now, it may be called in turns of all lanes.
func (h *Host) Elapsed() time.Duration { return time.Duration(h.lane.now) }
