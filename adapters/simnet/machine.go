package simnet

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// machine is the part of a host that survives a crash. The fields used for every datagram come first, and the first boot
// lies right behind: with thousands of machines, most of an event's time is waiting for memory.
type machine struct {
	node
	host  *Host // nil while crashed
	addrs []netip.Addr
	first [1]netip.Addr // room for addrs

	boot1 Host
	boots uint64
	clock Clock

	drift    float64       // of steady time
	turnCost time.Duration // 0 for a machine that is never busy
	slowed   bool          // slower than it was, for a while

	bridges []netip.Addr // of networks inside the machine
}

func (m *machine) boot() *Host {
	m.boots++
	m.lane.mark(markBoot, m.salt)
	h := &m.boot1
	if m.boots > 1 {
		h = new(Host)
	}
	h.lane, h.m, h.boot = m.lane, m, m.boots
	h.steady = steady{base: host.Instant(bootTime), since: m.lane.now, drift: m.drift}
	if m.turnCost > 0 {
		h.processor()
	}
	h.sockets = h.room[:0]
	h.ports = dice(mix(m.salt, m.boots))
	h.computing = dice(mix(mix(m.salt, prime3), m.boots))
	m.host = h
	m.lane.note(h.m.name, "boot")
	return h
}

func (m *machine) setAddrs(addrs []netip.Addr) { m.move(m.uplink, addrs) }

func (m *machine) move(to *Segment, addrs []netip.Addr) {
	if m.lane != m.lane.main && to != m.lane.internet {
		panic(fmt.Sprintf("simnet: %s is in another lane than the routers, and cannot leave the internet", m.name))
	}
	for _, a := range m.addrs {
		m.uplink.detach(a)
	}
	m.uplink = to
	m.addrs = m.first[:0]
	for _, a := range addrs {
		a = a.Unmap()
		m.uplink.attach(a, m)
		m.addrs = append(m.addrs, a)
	}
}

// owns reports whether an address is one of the machine's.
func (m *machine) owns(addr netip.Addr) bool {
	return slices.Contains(m.addrs, addr) || slices.Contains(m.bridges, addr)
}

// self implements place.
func (m *machine) self() *node { return &m.node }

// arrive implements place.
func (m *machine) arrive(d *datagram) {
	l := m.lane
	if d.on != nil && (d.on != m.uplink || !m.owns(d.to.Addr())) { // the machine moved while the datagram was on its way
		l.drop(d, DropNoRoute)
		return
	}
	if l.queueing(&m.node, d) {
		return
	}
	h := m.host
	switch {
	case h == nil:
		l.drop(d, DropDown)
	case h.cpu != nil:
		h.cpu.arrive(d)
	default:
		h.receive(d)
	}
}

// receive delivers a datagram to its socket, as one turn.
func (h *Host) receive(d *datagram) {
	l := h.lane
	s := h.socketFor(d.to)
	switch {
	case s == nil:
		l.drop(d, DropPort)
		return
	case s.receive == nil:
		l.drop(d, DropUnread)
		return
	}
	l.stats.Delivered++
	l.stats.DeliveredBytes += uint64(len(d.buf))
	who := h.m.salt ^ uint64(d.to.Port())<<48
	if d.from.Addr().Is4() {
		who ^= uint64(endpointOf(d.from))
	}
	l.mark(markDeliver, who)
	if !l.cfg.Coarse {
		l.hash = mixBytes(l.hash, d.buf)
	}
	l.noteDatagram(h.m.name, "receive", d.from, d.to, len(d.buf))
	h.begin()
	s.receive(d.from, d.buf)
	h.end()
	l.release(d)
}
