package udx

import (
	"bytes"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// end is one machine of a pair with a recording owner.
type end struct {
	Machine
	name   string
	world  *world
	got    []byte
	msgs   []string
	eof    bool
	drains int
	moved  int
	closed bool
	err    error
	onData func()
	onEnd  func()
	onMsg  func()
	// route sends datagrams elsewhere than to the other end.
	route func(to netip.AddrPort, b []byte)
}

func (e *end) Transmit(to netip.AddrPort, b []byte) {
	if e.route != nil {
		e.route(to, b)
		return
	}
	e.world.transmit(e, to, b)
}

func (e *end) Data(b []byte) {
	e.must(!e.eof && !e.closed, "data after the end")
	e.got = append(e.got, b...)
	if e.onData != nil {
		e.onData()
	}
}

func (e *end) Ended() {
	e.must(!e.eof && !e.closed, "a second end")
	e.eof = true
	if e.onEnd != nil {
		e.onEnd()
	}
}

func (e *end) Message(b []byte) {
	e.msgs = append(e.msgs, string(b))
	if e.onMsg != nil {
		e.onMsg()
	}
}
func (e *end) Drain()         { e.drains++ }
func (e *end) RemoteChanged() { e.moved++ }
func (e *end) Closed(err error) {
	e.must(!e.closed, "a second close")
	e.closed, e.err = true, err
}

func (e *end) must(ok bool, what string) {
	if !ok {
		e.world.t.Helper()
		e.world.t.Errorf("%v %s: %s", e.world.now, e.name, what)
	}
}

// link is the path of datagrams between two ends.
type link struct {
	delay     time.Duration
	jitter    time.Duration
	loss      float64
	duplicate float64
	rate      int  // bytes per second, 0 = unlimited
	queue     int  // bytes that wait for the rate
	mtu       int  // largest datagram plus 28; 0 = unlimited
	lowest    bool // selective acks name the lowest blocks only, as the reference's do
	// reorder is the share of packets that are late longer under way than the others.
	reorder float64
	late    time.Duration
	turn    time.Duration // packets arrive at multiples of it only, and a turn takes them together; 0: each has a turn
	// filter sees each packet first; false drops it.
	filter func(from *end, p Packet) bool
}

type arrival struct {
	at   host.Instant
	n    int
	from *end
	to   *end
	b    []byte
}

type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

// world is two ends, the link between them and virtual time.
type world struct {
	t     testing.TB
	now   host.Instant
	a, b  *end
	link  link
	rand  *rand.Rand
	queue arrivals
	n     int
	busy  map[string]host.Instant // by the name of the sender
	log   []string
	trace bool
	deaf  bool // ends do not learn where packets come from
	sent  int
}

var (
	addrA = netip.MustParseAddrPort("10.0.0.1:1000")
	addrB = netip.MustParseAddrPort("10.0.0.2:2000")
)

const (
	idA = 0x0a0b0c0d
	idB = 0x01020304
)

func newWorld(t testing.TB, l link, seed uint64, cfgs ...Config) *world {
	w := &world{t: t, link: l, rand: rand.New(rand.NewPCG(seed, 1)), busy: map[string]host.Instant{}}
	w.a, w.b = &end{name: "A", world: w}, &end{name: "B", world: w}
	cfg := Config{Pool: NewPool()}
	if len(cfgs) > 0 {
		cfg = cfgs[0]
	}
	w.a.Init(w.a, cfg)
	if len(cfgs) > 1 {
		cfg = cfgs[1]
	}
	w.b.Init(w.b, cfg)
	t.Cleanup(func() {
		checkStates(t, &w.a.Machine)
		checkStates(t, &w.b.Machine)
	})
	return w
}

// pair is a world with both ends connected.
func pair(t testing.TB, l link, seed uint64, cfgs ...Config) *world {
	w := newWorld(t, l, seed, cfgs...)
	w.connect()
	return w
}

func (w *world) connect() {
	if err := w.a.Connect(w.now, Remote{idB, addrB}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.b.Connect(w.now, Remote{idA, addrA}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) transmit(from *end, _ netip.AddrPort, b []byte) {
	to := w.b
	if from == w.b {
		to = w.a
	}
	w.sent++
	p, err := ParsePacket(b)
	if err != nil {
		w.t.Fatalf("%s sent a bad packet: %v", from.name, err)
	}
	if w.link.lowest && p.Flags&FlagSACK != 0 {
		b, p.SACK = b[:HeaderSize], nil
		for _, run := range from.in.queue.runs[:min(len(from.in.queue.runs), MaxSACKBlocks)] {
			b = AppendBlock(b, run.Block)
		}
	}
	line := ""
	if w.trace {
		line = fmt.Sprintf("%7.2f %s>%s %s", float64(w.now)/1e6, from.name, to.name, describe(p))
	}
	if w.link.filter != nil && !w.link.filter(from, p) || w.rand.Float64() < w.link.loss ||
		w.link.mtu > 0 && len(b)+28 > w.link.mtu {
		w.say(line + " lost")
		return
	}
	at := w.now.Add(w.link.delay)
	if w.link.rate > 0 {
		free := max(w.busy[from.name], w.now)
		if int(free.Sub(w.now).Seconds()*float64(w.link.rate)) > w.link.queue {
			w.say(line + " overflow")
			return
		}
		w.busy[from.name] = free.Add(time.Duration(len(b)+28) * time.Second / time.Duration(w.link.rate))
		at = w.busy[from.name].Add(w.link.delay)
	}
	w.say(line)
	copies := 1
	if w.rand.Float64() < w.link.duplicate {
		copies = 2
	}
	for range copies {
		t := at
		if w.link.jitter > 0 {
			t = t.Add(time.Duration(w.rand.Int64N(int64(w.link.jitter))))
		}
		if w.link.reorder > 0 && w.rand.Float64() < w.link.reorder {
			t = t.Add(w.link.late)
		}
		if turn := host.Instant(w.link.turn); turn > 0 {
			t = (t + turn - 1) / turn * turn
		}
		w.n++
		heap.Push(&w.queue, arrival{t, w.n, from, to, bytes.Clone(b)})
	}
}

func (w *world) say(line string) {
	if w.trace {
		w.log = append(w.log, line)
	}
}

// transcript returns and clears what was logged.
func (w *world) transcript() string {
	s := strings.Join(w.log, "\n") + "\n"
	w.log = nil
	return s
}

func describe(p Packet) string {
	var kind string
	for i, name := range []string{"DATA", "END", "SACK", "MESSAGE", "DESTROY", "HEARTBEAT"} {
		if p.Flags&(1<<i) != 0 {
			kind += "|" + name
		}
	}
	kind = strings.TrimPrefix(kind, "|")
	if kind == "" {
		kind = "ack"
	}
	s := fmt.Sprintf("%s seq=%d ack=%d", kind, p.Seq, p.Ack)
	for i := range p.SACK.Len() {
		b := p.SACK.At(i)
		s += fmt.Sprintf(" [%d,%d)", b.Start, b.End)
	}
	if len(p.Payload) > 0 {
		s += fmt.Sprintf(" len=%d", len(p.Payload))
	}
	if p.Flags&FlagSACK == 0 && p.DataOffset > 0 {
		s += fmt.Sprintf(" pad=%d", p.DataOffset)
	}
	return s
}

// addrOf is the address that an end sends from.
func (w *world) addrOf(e *end) netip.AddrPort {
	if e == w.a {
		return addrA
	}
	return addrB
}

// flush ends a turn of both ends.
func (w *world) flush() {
	w.a.Flush(w.now)
	w.b.Flush(w.now)
}

// next is the time of the next event; never if there is none.
func (w *world) next() host.Instant {
	at := never
	if len(w.queue) > 0 {
		at = w.queue[0].at
	}
	for _, e := range []*end{w.a, w.b} {
		if t, ok := e.NextDeadline(); ok {
			at = min(at, max(t, w.now))
		}
	}
	return at
}

// step runs the next event, unless it is after limit.
func (w *world) step(limit host.Instant) bool {
	at := w.next()
	if at == never || at > limit {
		return false
	}
	w.now = at
	for len(w.queue) > 0 && w.queue[0].at <= w.now {
		x := heap.Pop(&w.queue).(arrival)
		if w.deaf {
			x.to.Receive(w.now, x.b)
		} else {
			x.to.ReceiveFrom(w.now, w.addrOf(x.from), x.b)
		}
		if w.link.turn == 0 {
			x.to.Flush(w.now)
		}
	}
	if w.link.turn > 0 {
		w.flush()
	}
	for _, e := range []*end{w.a, w.b} {
		if t, ok := e.NextDeadline(); ok && t <= w.now {
			e.Advance(w.now)
			e.Flush(w.now)
			if t2, ok := e.NextDeadline(); ok && t2 <= w.now {
				w.t.Fatalf("%v %s: deadline %v stays due", w.now, e.name, t2)
			}
		}
	}
	return true
}

// run runs until nothing happens any more or the time is over.
func (w *world) run(d time.Duration) {
	limit := w.now.Add(d)
	for w.step(limit) {
	}
	w.now = limit
}

// runUntil runs until cond holds and reports whether it did within d.
func (w *world) runUntil(d time.Duration, cond func() bool) bool {
	limit := w.now.Add(d)
	for !cond() {
		if !w.step(limit) {
			return false
		}
	}
	return true
}

func randomBytes(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	r := rand.NewChaCha8(key)
	r.Read(b)
	return b
}
