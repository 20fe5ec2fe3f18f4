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
	at       place    // where it arrives next
	on       *Segment // which it crosses to get there; nil inside a machine
	from, to netip.AddrPort
	sender   *machine
	luck     uint64 // decides what happens to it on the way
	ttl      int
	queued   uint8 // how many of the receiver's queues it has been through
	buf      []byte
}

// place is where a datagram can arrive: a machine, or a router that sends it on into another segment. The
// place owns the datagram from then on and sends it on or releases it.
type place interface {
	arrive(d *datagram)
	self() *node
}

// node is what machines and routers have in common: a place on a segment.
type node struct {
	salt   uint64
	uplink *Segment // the segment it is attached to; for a router, the one that is not its LAN
	access *access
	faulty *faulty // nil while all is well
	side   uint8   // of a partition, for who has no router above
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

// queueing reports whether a datagram that comes from the uplink of a node has to go through a queue first: that of a
// bad link, and then that of its access link. It arrives again then.
func (n *Net) queueing(to *node, d *datagram) bool {
	if to.access == nil && to.faulty == nil || d.on != to.uplink {
		return false
	}
	if f := to.faulty; f != nil && d.queued == 0 {
		d.queued = 1
		if f.in.Bandwidth > 0 {
			n.wait(d, &f.in, &f.down)
			return true
		}
	}
	if a := to.access; a != nil && d.queued < 2 {
		d.queued = 2
		if a.Bandwidth > 0 {
			n.wait(d, &a.Link, &a.down)
			return true
		}
	}
	return false
}

// wait puts a datagram into a queue where it arrives, if there is room.
func (n *Net) wait(d *datagram, l *Link, q *queue) {
	left, ok := q.admit(l, n.now, d.ipSize())
	if !ok {
		n.drop(d, DropQueue)
		return
	}
	n.arm(&d.event, left)
}

// Segment is a network whose members reach each other directly.
type Segment struct {
	net    *Net
	name   string
	link   Link
	hops   int // what a crossing costs where the link does not say
	salt   uint64
	by4    map[uint32]*[16]place // by all but the last four bits: neighbours have neighbouring addresses
	by6    map[netip.Addr]place
	router *Router // gets what nobody on the segment has the address of; nil drops it
}

func newSegment(n *Net, name string, l Link, hops int) *Segment {
	return &Segment{
		net: n, name: name, link: l, hops: hops, salt: split(n.cfg.Seed, "segment:"+name),
		by4: map[uint32]*[16]place{}, by6: map[netip.Addr]place{},
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
}

// AddHost boots a machine on the segment. Its addresses are its own: two machines with the same one, or
// with the same name, are a mistake in the scenario and panic.
func (s *Segment) AddHost(name string, addrs ...netip.Addr) *Host {
	n := s.net
	n.take(name)
	m := &machine{net: n, node: node{name: name, salt: split(n.cfg.Seed, "host:"+name), uplink: s}}
	m.clock = Clock{net: n}
	n.machines = append(n.machines, m)
	m.setAddrs(addrs)
	return m.boot()
}

// take makes sure that a name is given once.
func (n *Net) take(name string) {
	if n.taken[name] {
		panic("simnet: two machines are named " + name)
	}
	n.taken[name] = true
}

// at returns who has an address on the segment, or nil.
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
			at = new([16]place)
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
	return binary.BigEndian.Uint32(a[:]) >> 4
}

func within(addr netip.Addr) int { return int(addr.As4()[3] & 15) }

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

// forward sends a datagram from a node on the segment to next, who has its address there, or to the router
// where nobody does. It owns d.
func (s *Segment) forward(d *datagram, from *node, next place) {
	n := s.net
	if n.tap != nil {
		n.tap(Crossing{Segment: s, From: d.from, To: d.to, TTL: d.ttl, Payload: d.buf})
	}
	if next == nil {
		if s.router == nil || from == &s.router.node {
			n.drop(d, DropNoRoute)
			return
		}
		next = s.router
	}
	d.at, d.on, d.queued = next, s, 0
	link, transmitter := &s.link, (*queue)(nil)
	to := next.self()
	if n.cut != cutNone && s.router == nil && n.cut.between(from.side, to.side) || len(n.blocked) > 0 && n.blocks(d, next) {
		n.drop(d, DropBlocked)
		return
	}
	if len(n.links) > 0 {
		if machine, ok := next.(*machine); ok {
			if own := n.links[pair{&d.sender.node, &machine.node}]; own != nil {
				link, transmitter = &own.Link, &own.queue
			}
		}
	}
	if transmitter == nil && link.Bandwidth > 0 {
		transmitter = n.transmitter(pair{from, to})
	}
	hops := link.Hops
	if hops == 0 {
		hops = s.hops
	}

	luck := dice(mix(d.luck, to.salt))
	way := mix(s.salt, from.salt)
	c := crossing{at: n.now, luck: &luck, size: d.ipSize(), pair: mix(way, to.salt), distance: s.salt ^ from.salt ^ to.salt}
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
		n.drop(d, DropTTL)
		return
	}
	d.ttl -= hops
	if c.twin > 0 {
		n.stats.Duplicated++
		n.again(d, c.at.Add(c.twin))
	}
	if c.replay > 0 {
		n.stats.Replayed++
		n.again(d, c.at.Add(c.replay))
	}
	n.arm(&d.event, c.at)
}

// blocks reports whether a datagram that is about to go to next is for a host that its sender's are kept from. Where
// they go down to it through routers, that is known before the first of them sees the datagram.
func (n *Net) blocks(d *datagram, next place) bool {
	to := d.to
	for {
		switch at := next.(type) {
		case *machine:
			return n.blocked[pair{&d.sender.node, &at.node}]
		case *Router:
			if d.on == at.lan { // on its way up
				return false
			}
			var ok bool
			if next, to, ok = at.behind(d.from, to); !ok {
				return false
			}
		}
	}
}

// top returns the outermost node on the way from a machine to the outside: the machine itself or the last router.
func (m *machine) top() *node {
	top := &m.node
	for top.uplink.router != nil {
		top = &top.uplink.router.node
	}
	return top
}

// again lets a copy of a datagram arrive, with a fate of its own from there.
func (n *Net) again(d *datagram, at host.Instant) {
	twin := n.newDatagram(d.buf)
	twin.at, twin.on, twin.from, twin.to, twin.sender, twin.ttl = d.at, d.on, d.from, d.to, d.sender, d.ttl
	twin.luck = mix(d.luck, uint64(at))
	n.arm(&twin.event, at)
}

// over takes a datagram over one link. It reports false when it was dropped there.
func (d *datagram) over(l *Link, q *queue, c *crossing, piece uint64) bool {
	if q != nil && l.Bandwidth > 0 {
		// A queue is met in the order of sending: it must not wait for who comes late.
		left, ok := q.admit(l, c.at.Add(-c.lag), c.size)
		if !ok {
			d.net.drop(d, DropQueue)
			return false
		}
		c.at = left.Add(c.lag)
	}
	if why := l.cross(c, mix(c.pair, piece)); why != 0 {
		d.net.drop(d, why)
		return false
	}
	if c.luck.hit(l.Duplicate) {
		c.twin = l.late(c.luck)
	}
	if c.luck.hit(l.Replay) {
		c.replay = l.stale(c.luck)
	}
	return true
}

// transmitter returns the queue of a pair that shares the segment's link with others but not its bandwidth.
func (n *Net) transmitter(p pair) *queue {
	q := n.queues[p]
	if q == nil {
		q = new(queue)
		n.queues[p] = q
	}
	return q
}

func (d *datagram) ipSize() int {
	if d.to.Addr().Is4() {
		return len(d.buf) + headers4
	}
	return len(d.buf) + headers6
}

// newDatagram takes a datagram from the free list and copies a payload into it.
func (n *Net) newDatagram(payload []byte) *datagram {
	var d *datagram
	if last := len(n.free) - 1; last >= 0 {
		d, n.free = n.free[last], n.free[:last]
	} else {
		d = new(datagram)
		d.net, d.dg = n, d
	}
	d.buf = append(d.buf[:0], payload...)
	return d
}

// release gives a datagram back to the free list.
func (n *Net) release(d *datagram) {
	if n.cfg.Scribble {
		for i := range d.buf {
			d.buf[i] = scribble
		}
	}
	d.at, d.on, d.sender, d.queued = nil, nil, nil, 0
	n.free = append(n.free, d)
}

// drop counts a datagram as lost and releases it.
func (n *Net) drop(d *datagram, why Drop) {
	n.stats.dropped[why]++
	n.mark(markDrop, d.sender.salt^uint64(why))
	n.noteDatagram(d.sender.name, "drop-"+why.String(), d.from, d.to, len(d.buf))
	n.release(d)
}
