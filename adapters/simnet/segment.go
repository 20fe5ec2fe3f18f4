package simnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Datagram is a datagram as a filter sees it. Its payload is borrowed for the call.
type Datagram struct {
	From, To netip.AddrPort
	TTL      int
	Payload  []byte
}

// datagram is a datagram on its way, and the event of its next arrival.
type datagram struct {
	event
	at       place    // its next arrival
	on       *Segment // the segment it crosses to get there; nil inside a machine
	from, to netip.AddrPort
	sender   *machine
	random   uint64 // decides its fate on the way
	ttl      int
	queued   uint8 // number of the receiver's queues passed
	buf      []byte
}

// place is a possible destination of a datagram: a machine, or a router that forwards it into another segment. The place
// owns the datagram from then on and forwards or releases it.
type place interface {
	arrive(d *datagram)
	self() *node
}

// node is the part that machines and routers have in common: a place on a segment.
type node struct {
	salt   uint64
	lane   *lane
	uplink *Segment // the segment it is attached to; for a router, the one that is not its LAN
	access *access
	faulty *faulty // nil without a fault
	side   uint8   // of a partition, for a node without a router above
	name   string
}

// access is a node's own link to its segment.
type access struct {
	Link
	up, down queue
}

func newAccess(l Link) *access {
	l.check()
	return &access{Link: l}
}

// queueing reports whether a datagram that comes from the uplink of a node has to go through a queue first: that of a bad
// link, and then that of its access link. It arrives again after that.
func (l *lane) queueing(to *node, d *datagram) bool {
	if to.access == nil && to.faulty == nil || d.on != to.uplink {
		return false
	}
	if f := to.faulty; f != nil && d.queued == 0 {
		d.queued = 1
		if f.in.Bandwidth > 0 {
			l.wait(d, &f.in, &f.down)
			return true
		}
	}
	if a := to.access; a != nil && d.queued < 2 {
		d.queued = 2
		if a.Bandwidth > 0 {
			l.wait(d, &a.Link, &a.down)
			return true
		}
	}
	return false
}

// wait puts an arriving datagram into a queue, if there is room.
func (l *lane) wait(d *datagram, link *Link, q *queue) {
	left, ok := q.admit(link, l.now, d.ipSize())
	if !ok {
		l.drop(d, DropQueue)
		return
	}
	l.arm(&d.event, left)
}

// Segment is a network whose members reach each other directly.
type Segment struct {
	net    *Net
	name   string
	link   Link
	hops   int // default cost of a crossing
	salt   uint64
	by4    map[uint32]*[neighbours]place // by all but the last bits: neighbours have neighbouring addresses
	by6    map[netip.Addr]place
	router *Router // receives what has no address on the segment; nil drops it
}

func newSegment(n *Net, name string, l Link, hops int) *Segment {
	return &Segment{
		net: n, name: name, link: l, hops: hops, salt: split(n.cfg.Seed, "segment:"+name),
		by4: map[uint32]*[neighbours]place{}, by6: map[netip.Addr]place{},
	}
}

// AddLAN adds a network of its own, connected to nothing. A zero link means 300 µs and no loss.
func (n *Net) AddLAN(name string, l Link) *Segment {
	if l == (Link{}) {
		l.Delay = lanDelay
	}
	l.check()
	return newSegment(n, name, l, lanHops)
}

// Name returns the name of the segment.
func (s *Segment) Name() string { return s.name }

// SetLink changes the link between the members of the segment.
func (s *Segment) SetLink(l Link) {
	l.check()
	s.link = l
	s.net.measure()
}

// AddHost boots a machine on the segment. Its addresses are its own: a duplicate address or name is a mistake in the
// scenario and panics.
func (s *Segment) AddHost(name string, addrs ...netip.Addr) *Host {
	return s.addHost(s.net.main, name, addrs)
}

func (s *Segment) addHost(in *lane, name string, addrs []netip.Addr) *Host {
	n := s.net
	n.take(name)
	m := &machine{node: node{name: name, salt: split(n.cfg.Seed, "host:"+name), lane: in, uplink: s}}
	m.clock = Clock{lane: in}
	n.machines = append(n.machines, m)
	m.setAddrs(addrs)
	return m.boot()
}

// take reserves a name. It panics if the name is taken.
func (n *Net) take(name string) {
	if n.taken[name] {
		panic("simnet: two machines are named " + name)
	}
	n.taken[name] = true
}

// at returns the place with an address on the segment, or nil.
func (s *Segment) at(addr netip.Addr) place {
	if addr.Is4() {
		if p := s.by4[block(addr)]; p != nil {
			return p[within(addr)]
		}
		return nil
	}
	return s.by6[addr]
}

func (s *Segment) attach(addr netip.Addr, p place) {
	if s.at(addr) != nil {
		panic(fmt.Sprintf("simnet: %v is taken on %s", addr, s.name))
	}
	if s.exposed() {
		s.router.uplink.attach(addr, s.router)
	}
	if addr.Is4() {
		at := s.by4[block(addr)]
		if at == nil {
			at = new([neighbours]place)
			s.by4[block(addr)] = at
		}
		at[within(addr)] = p
	} else {
		s.by6[addr] = p
	}
}

// block and within are the two parts of an IPv4 address in Segment.by4.
func block(addr netip.Addr) uint32 {
	a := addr.As4()
	return binary.BigEndian.Uint32(a[:]) / neighbours
}

func within(addr netip.Addr) int { return int(addr.As4()[3] % neighbours) }

// neighbours is the number of addresses that share an entry of Segment.by4. The entries of ten thousand machines are few
// enough for the processor's cache, and those of a LAN take little memory.
const neighbours = 64

// exposed reports whether the addresses of the segment are addresses of its router's uplink, too.
func (s *Segment) exposed() bool { return s.router != nil && !s.router.addr.IsValid() }

func (s *Segment) detach(addr netip.Addr) {
	if s.exposed() {
		s.router.uplink.detach(addr)
	}
	if addr.Is4() {
		if p := s.by4[block(addr)]; p != nil {
			p[within(addr)] = nil
		}
	} else {
		delete(s.by6, addr)
	}
}

// forward sends a datagram from a node on the segment to next, the place with its address there, or to the router if next
// is nil. It owns d.
func (s *Segment) forward(d *datagram, from *node, next place) {
	l := from.lane
	if l.watchers.crossing != nil {
		l.watchers.crossing(Crossing{Segment: s, From: d.from, To: d.to, TTL: d.ttl, Payload: d.buf})
	}
	if next == nil {
		if s.router == nil || from == &s.router.node {
			l.drop(d, DropNoRoute)
			return
		}
		next = s.router
	}
	d.at, d.on, d.queued = next, s, 0
	link, transmitter := &s.link, (*queue)(nil)
	to := next.self()
	if l.cut != cutNone && s.router == nil && l.cut.between(from.side, to.side) || len(l.pairs.blocked) > 0 && l.blocks(d, next) {
		l.drop(d, DropBlocked)
		return
	}
	if machine, ok := next.(*machine); ok {
		if own := l.pairs.link(&d.sender.node, &machine.node); own != nil {
			link, transmitter = &own.Link, &own.queue
		}
	}
	if transmitter == nil && link.Bandwidth > 0 {
		transmitter = l.queue(from, to)
	}
	hops := link.Hops
	if hops == 0 {
		hops = s.hops
	}

	random := dice(mix(d.random, to.salt))
	way := mix(s.salt, from.salt)
	c := crossing{at: l.now, random: &random, size: d.ipSize(), pair: mix(way, to.salt), distance: s.salt ^ from.salt ^ to.salt}
	if a := from.access; a != nil && from.uplink == s {
		hops += a.Hops
		if !d.over(&a.Link, &a.up, &c, 1) {
			return
		}
	}
	if f := from.faulty; f != nil && from.uplink == s && !d.over(&f.out, &f.up, &c, 4) {
		return
	}
	if !d.over(link, transmitter, &c, 2) {
		return
	}
	if f := to.faulty; f != nil && to.uplink == s && !d.over(&f.in, nil, &c, 5) { // the queues of the receiver are met on arrival
		return
	}
	if a := to.access; a != nil && to.uplink == s {
		hops += a.Hops
		if !d.over(&a.Link, nil, &c, 3) {
			return
		}
	}
	if d.ttl < hops {
		l.drop(d, DropTTL)
		return
	}
	d.ttl -= hops
	if c.twin > 0 {
		l.stats.Duplicated++
		l.again(d, c.at.Add(c.twin))
	}
	if c.replay > 0 {
		l.stats.Replayed++
		l.again(d, c.at.Add(c.replay))
	}
	l.send(d, c.at)
}

// blocks reports whether a datagram that is about to go to next is for a host that its sender is blocked from. Where the
// path leads down to it through routers, that is decided before the first of them sees the datagram.
func (l *lane) blocks(d *datagram, next place) bool {
	to := d.to
	for {
		switch at := next.(type) {
		case *machine:
			return l.pairs.blocked[pair{&d.sender.node, &at.node}]
		case *Router:
			if d.on == at.lan { // on its way up
				return false
			}
			var ok bool
			if next, to, ok = at.behind(d.from, to, l.now); !ok {
				return false
			}
		}
	}
}

// top returns the outermost node on the path from a machine to the outside: the machine itself or the last router.
func (m *machine) top() *node {
	top := &m.node
	for top.uplink.router != nil {
		top = &top.uplink.router.node
	}
	return top
}

// again schedules the arrival of a copy of a datagram, which draws its own fate from there.
func (l *lane) again(d *datagram, at host.Instant) {
	twin := l.newDatagram(d.buf)
	twin.at, twin.on, twin.from, twin.to, twin.sender, twin.ttl = d.at, d.on, d.from, d.to, d.sender, d.ttl
	twin.random = mix(d.random, uint64(at))
	l.send(twin, at)
}

// over sends a datagram over one link. It reports false when it was dropped there.
func (d *datagram) over(l *Link, q *queue, c *crossing, piece uint64) bool {
	if q != nil && l.Bandwidth > 0 {
		// A queue is entered in the order of sending: it must not wait for a datagram that arrives late.
		left, ok := q.admit(l, c.at.Add(-c.lag), c.size)
		if !ok {
			d.lane.drop(d, DropQueue)
			return false
		}
		c.at = left.Add(c.lag)
	}
	if why := l.cross(c, mix(c.pair, piece)); why != 0 {
		d.lane.drop(d, why)
		return false
	}
	if c.random.hit(l.Duplicate) {
		c.twin = l.late(c.random)
	}
	if c.random.hit(l.Replay) {
		c.replay = l.stale(c.random)
	}
	return true
}

func (d *datagram) ipSize() int {
	if d.to.Addr().Is4() {
		return len(d.buf) + headers4
	}
	return len(d.buf) + headers6
}

// newDatagram takes a datagram from the free list and copies a payload into it.
func (l *lane) newDatagram(payload []byte) *datagram {
	var d *datagram
	if last := len(l.free) - 1; last >= 0 {
		d, l.free = l.free[last], l.free[:last]
	} else {
		d = new(datagram)
		d.dg = d
	}
	d.lane = l
	d.buf = append(d.buf[:0], payload...)
	return d
}

// release returns a datagram to the free list.
func (l *lane) release(d *datagram) {
	if l.cfg.Scribble {
		for i := range d.buf {
			d.buf[i] = scribble
		}
	}
	d.at, d.on, d.sender, d.queued = nil, nil, nil, 0
	if len(l.free) < spareDatagrams {
		l.free = append(l.free, d)
	}
}

// drop counts a datagram as lost and releases it.
func (l *lane) drop(d *datagram, why Drop) {
	l.stats.dropped[why]++
	l.mark(markDrop, d.sender.salt^uint64(why))
	l.noteDatagram(d.sender.name, "drop-"+why.String(), d.from, d.to, len(d.buf))
	l.release(d)
}
