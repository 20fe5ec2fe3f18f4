package stream

import (
	"bytes"
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// network is a few hosts on one virtual clock, enough to run streams on.
type network struct {
	t       testing.TB
	now     host.Instant
	delay   time.Duration
	queue   events
	n       int
	sockets map[netip.AddrPort]*socket
	timers  int
	// filter sees each datagram; false drops it.
	filter func(from, to netip.AddrPort, b []byte) bool
	log    []string
}

type event struct {
	at host.Instant
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newNetwork(t testing.TB) *network {
	return &network{t: t, delay: time.Millisecond, sockets: map[netip.AddrPort]*socket{}}
}

func (n *network) at(t host.Instant, do func()) {
	n.n++
	heap.Push(&n.queue, event{t, n.n, do})
}

// run runs everything that happens within d.
func (n *network) run(d time.Duration) {
	limit := n.now.Add(d)
	for len(n.queue) > 0 && n.queue[0].at <= limit {
		e := heap.Pop(&n.queue).(event)
		n.now = e.at
		e.do()
	}
	n.now = limit
}

// node is a host with one table.
type node struct {
	*machine
	table *Table
	// others are datagrams that no stream took.
	others [][]byte
}

// machine is the host.Host of a node.
type machine struct {
	net      *network
	addr     netip.Addr
	port     uint16
	rand     io.Reader
	deferred []func()
	inTurn   bool
	trace    []string
}

func (n *network) node(name byte, cfg Config) *node {
	seed := [32]byte{name}
	m := &machine{net: n, addr: netip.AddrFrom4([4]byte{10, 0, 0, name}), port: 1000, rand: rand.NewChaCha8(seed)}
	nd := &node{machine: m}
	nd.table = NewTable(m, cfg)
	return nd
}

// socket binds a socket whose datagrams go to the table first.
func (n *node) socket() *socket {
	s, _ := n.OpenSocket(netip.AddrPort{})
	s.OnReceive(func(from netip.AddrPort, b []byte) {
		if !n.table.Receive(s, from, b) {
			n.others = append(n.others, bytes.Clone(b))
		}
	})
	return s.(*socket)
}

// turn runs f as a turn of the host.
func (m *machine) turn(f func()) {
	if m.inTurn {
		panic("turn within a turn")
	}
	m.inTurn = true
	f()
	for len(m.deferred) > 0 {
		d := m.deferred[0]
		m.deferred = m.deferred[1:]
		d()
	}
	m.inTurn = false
}

func (m *machine) Now() host.Instant { return m.net.now }

func (m *machine) Defer(f func()) {
	if !m.inTurn {
		panic("Defer outside of a turn")
	}
	m.deferred = append(m.deferred, f)
}

func (m *machine) Post(f func())           { m.net.at(m.net.now, func() { m.turn(f) }) }
func (m *machine) Closed() <-chan struct{} { return nil }
func (m *machine) Rand() io.Reader         { return m.rand }
func (m *machine) Addrs() []netip.Addr     { return []netip.Addr{m.addr} }
func (m *machine) LookupHost(string, func([]netip.Addr, error)) {
	panic("not needed")
}
func (m *machine) Compute(_, _ func()) { panic("not needed") }

func (m *machine) Trace(e host.Event) {
	b, _ := e.AppendText(nil)
	m.trace = append(m.trace, string(b))
}

func (m *machine) AfterFunc(d time.Duration, f func()) host.Timer {
	t := &timer{m: m, f: f}
	t.Reset(d)
	return t
}

type timer struct {
	m     *machine
	f     func()
	epoch int
	armed bool
}

func (t *timer) Stop() bool {
	was := t.armed
	if was {
		t.m.net.timers--
	}
	t.armed = false
	t.epoch++
	return was
}

func (t *timer) Reset(d time.Duration) {
	t.Stop()
	t.armed = true
	t.m.net.timers++
	epoch := t.epoch
	t.m.net.at(t.m.net.now.Add(d), func() {
		if t.armed && t.epoch == epoch {
			t.armed = false
			t.m.net.timers--
			t.m.turn(t.f)
		}
	})
}

func (m *machine) OpenSocket(netip.AddrPort) (host.Socket, error) {
	s := &socket{m: m, local: netip.AddrPortFrom(m.addr, m.port)}
	m.port++
	m.net.sockets[s.local] = s
	return s, nil
}

type socket struct {
	m     *machine
	local netip.AddrPort
	recv  func(netip.AddrPort, []byte)
}

func (s *socket) LocalAddr() netip.AddrPort                       { return s.local }
func (s *socket) OnReceive(f func(from netip.AddrPort, b []byte)) { s.recv = f }
func (s *socket) Close()                                          { delete(s.m.net.sockets, s.local) }

func (s *socket) Send(to netip.AddrPort, _ int, b []byte) {
	n := s.m.net
	line := fmt.Sprintf("%v>%v", s.local.Addr(), to.Addr())
	if p, err := udx.ParsePacket(b); err == nil {
		line += fmt.Sprintf(" flags=%d id=%x seq=%d ack=%d len=%d", p.Flags, p.StreamID, p.Seq, p.Ack, len(p.Payload))
	}
	if n.filter != nil && !n.filter(s.local, to, b) {
		n.log = append(n.log, line+" lost")
		return
	}
	n.log = append(n.log, line)
	b = bytes.Clone(b)
	n.at(n.now.Add(n.delay), func() {
		if dst := n.sockets[to]; dst != nil && dst.recv != nil {
			dst.m.turn(func() {
				dst.recv(s.local, b)
			})
			clear(b) // borrowed bytes are gone with the turn
		}
	})
}

// peer is a stream whose handlers record.
type peer struct {
	*Stream
	got    bytes.Buffer
	msgs   []string
	ends   int
	drains int
	closes int
	err    error
}

func record(s *Stream) *peer {
	p := &peer{Stream: s}
	s.OnData(func(b []byte) { p.got.Write(b) })
	s.OnEnd(func() { p.ends++ })
	s.OnMessage(func(b []byte) { p.msgs = append(p.msgs, string(b)) })
	s.OnDrain(func() { p.drains++ })
	s.OnClose(func(err error) { p.closes++; p.err = err })
	return p
}

// duo is two connected streams on two nodes.
type duo struct {
	*network
	a, b   *node
	sa, sb *socket
	pa, pb *peer
}

func newDuo(t testing.TB) *duo {
	n := newNetwork(t)
	d := &duo{network: n, a: n.node(1, Config{}), b: n.node(2, Config{})}
	d.sa, d.sb = d.a.socket(), d.b.socket()
	d.a.turn(func() { d.pa = record(d.a.table.New(nil)) })
	d.b.turn(func() { d.pb = record(d.b.table.New(nil)) })
	d.a.turn(func() {
		if err := d.pa.Connect(d.sa, d.pb.ID(), d.sb.local); err != nil {
			t.Fatal(err)
		}
	})
	d.b.turn(func() {
		if err := d.pb.Connect(d.sb, d.pa.ID(), d.sa.local); err != nil {
			t.Fatal(err)
		}
	})
	return d
}

// quiet fails unless no stream, timer or unhandled event is left.
func (n *network) quiet(nodes ...*node) {
	n.t.Helper()
	for _, nd := range nodes {
		if nd.table.Len() != 0 {
			n.t.Errorf("%v still has %d streams", nd.addr, nd.table.Len())
		}
		if len(nd.deferred) != 0 {
			n.t.Errorf("%v still has deferred work", nd.addr)
		}
	}
	if n.timers != 0 {
		n.t.Errorf("%d timers are still armed", n.timers)
	}
}

func flagsOf(b []byte) udx.Flags { return udx.PeekFlags(b) }
