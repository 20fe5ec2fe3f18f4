package simnet

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/ports/host"
)

// binding is a port taken on a host. Hosts have two sockets, or a few hundred while they punch: searching a list costs less
// than a map.
type binding struct {
	port uint16
	s    *socket
}

// socket is a bound UDP socket.
type socket struct {
	receive func(from netip.AddrPort, b []byte)
	local   netip.AddrPort
	host    *Host
	closed  bool
}

// OpenSocket implements host.Host.
func (h *Host) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	if h.dead {
		return nil, ErrCrashed
	}
	addr := local.Addr().Unmap()
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	if !addr.IsUnspecified() && !h.owns(addr) {
		return nil, ErrAddrNotHere
	}
	port := local.Port()
	if port == 0 {
		var err error
		if port, err = h.freePort(); err != nil {
			return nil, err
		}
	}
	for _, b := range h.sockets {
		taken := b.s.local.Addr()
		if b.port == port && (addr.IsUnspecified() || taken.IsUnspecified() || addr == taken) {
			return nil, ErrAddrInUse
		}
	}
	s := h.newSocket()
	s.host, s.local = h, netip.AddrPortFrom(addr, port)
	h.sockets = append(h.sockets, binding{port, s})
	return s, nil
}

// newSocket returns a new socket. A closed one is never reused, as its owner may still hold it.
func (h *Host) newSocket() *socket {
	if h.opened == len(h.first) {
		return new(socket)
	}
	h.opened++
	return &h.first[h.opened-1]
}

// owns reports whether an address is the machine's.
func (h *Host) owns(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	return h.m.owns(addr)
}

// freePort draws random ports until one is free, and tries all of them in turn after too many failures.
func (h *Host) freePort() (uint16, error) {
	const count = ephemeralLast - ephemeralFirst + 1
	start := int(h.ports.below(count))
	for i := range count {
		port := uint16(ephemeralFirst + (start+i)%count)
		if !h.taken(port) {
			return port, nil
		}
	}
	return 0, ErrNoPorts
}

func (h *Host) taken(port uint16) bool {
	for _, b := range h.sockets {
		if b.port == port {
			return true
		}
	}
	return false
}

// socketFor returns the socket that receives datagrams to an address of the machine, or nil.
func (h *Host) socketFor(to netip.AddrPort) *socket {
	port := to.Port()
	for _, b := range h.sockets {
		if b.port == port && (b.s.local.Addr().IsUnspecified() || b.s.local.Addr() == to.Addr()) {
			return b.s
		}
	}
	return nil
}

// LocalAddr implements host.Socket.
func (s *socket) LocalAddr() netip.AddrPort { return s.local }

// OnReceive implements host.Socket.
func (s *socket) OnReceive(f func(from netip.AddrPort, b []byte)) { s.receive = f }

// Close implements host.Socket.
func (s *socket) Close() {
	if s.closed {
		return
	}
	s.closed = true
	h := s.host
	if h.dead {
		return
	}
	h.sockets = slices.DeleteFunc(h.sockets, func(b binding) bool { return b.s == s })
}

// Send implements host.Socket.
func (s *socket) Send(to netip.AddrPort, ttl int, b []byte) {
	h := s.host
	if s.closed || h.dead {
		return
	}
	l, m := h.lane, h.m
	if ttl == 0 {
		ttl = host.DefaultTTL
	}
	l.stats.Sent++
	l.stats.SentBytes += uint64(len(b))
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	d := l.newDatagram(b)
	d.sender, d.to, d.ttl = m, to, ttl
	d.from = netip.AddrPortFrom(h.source(s, to.Addr()), s.local.Port())
	if l.filter != nil && !l.filter(Datagram{From: d.from, To: to, TTL: ttl, Payload: d.buf}) {
		l.drop(d, DropFiltered)
		return
	}
	next := m.uplink.at(to.Addr())
	if next == place(m) || to.Addr().IsLoopback() || len(m.bridges) > 0 && m.owns(to.Addr()) {
		h.loop(d)
		return
	}
	if len(m.addrs) == 0 || d.from.Addr().IsLoopback() {
		l.drop(d, DropNoRoute)
		return
	}

	if h.sentAt != l.now {
		h.sentAt, h.sentN = l.now, 0
	}
	h.sentN++
	d.random = mix(mix(m.salt, uint64(l.now)), h.sentN)
	m.uplink.forward(d, &m.node, next)
}

// source returns the source address of a datagram of the socket.
func (h *Host) source(s *socket, to netip.Addr) netip.Addr {
	switch {
	case !s.local.Addr().IsUnspecified():
		return s.local.Addr()
	case to.IsLoopback(), slices.Contains(h.m.bridges, to):
		return to
	}
	for _, a := range h.m.addrs {
		if a.Is4() == to.Is4() {
			return a
		}
	}
	return s.local.Addr()
}

// loop delivers a datagram to the machine that sent it.
func (h *Host) loop(d *datagram) {
	if d.ipSize() > loopbackMTU {
		h.lane.drop(d, DropMTU)
		return
	}
	d.at = h.m
	h.lane.arm(&d.event, h.lane.now.Add(loopbackDelay))
}
