package simnet

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// socket is a bound UDP socket. Sockets that share a port, each on its own address, are chained.
type socket struct {
	host    *Host
	local   netip.AddrPort
	receive func(from netip.AddrPort, b []byte)
	closed  bool
	chain   *socket
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
	for s := h.sockets[port]; s != nil; s = s.chain {
		if addr.IsUnspecified() || s.local.Addr().IsUnspecified() || addr == s.local.Addr() {
			return nil, ErrAddrInUse
		}
	}
	s := &socket{host: h, local: netip.AddrPortFrom(addr, port), chain: h.sockets[port]}
	h.sockets[port] = s
	h.open++
	return s, nil
}

// owns reports whether an address is the machine's.
func (h *Host) owns(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	for _, a := range h.m.addrs {
		if a == addr {
			return true
		}
	}
	return false
}

// freePort draws until it hits a free port, and looks at all of them in turn when luck fails it.
func (h *Host) freePort() (uint16, error) {
	const count = ephemeralLast - ephemeralFirst + 1
	start := int(h.ports.below(count))
	for i := range count {
		port := uint16(ephemeralFirst + (start+i)%count)
		if h.sockets[port] == nil {
			return port, nil
		}
	}
	return 0, ErrNoPorts
}

// socketFor returns the socket that gets what is sent to an address of the machine, or nil.
func (h *Host) socketFor(to netip.AddrPort) *socket {
	s := h.sockets[to.Port()]
	for s != nil && !s.local.Addr().IsUnspecified() && s.local.Addr() != to.Addr() {
		s = s.chain
	}
	return s
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
	h.open--
	if h.sockets[s.local.Port()] == s {
		if s.chain == nil {
			delete(h.sockets, s.local.Port())
		} else {
			h.sockets[s.local.Port()] = s.chain
		}
		return
	}
	for other := h.sockets[s.local.Port()]; other != nil; other = other.chain {
		if other.chain == s {
			other.chain = s.chain
		}
	}
}

// Send implements host.Socket.
func (s *socket) Send(to netip.AddrPort, ttl int, b []byte) {
	h := s.host
	if s.closed || h.dead {
		return
	}
	n, m := h.net, h.m
	if ttl == 0 {
		ttl = host.DefaultTTL
	}
	n.stats.Sent++
	n.stats.SentBytes += uint64(len(b))
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	d := n.newDatagram(b)
	d.sender, d.to, d.ttl = m, to, ttl
	d.from = netip.AddrPortFrom(h.source(s, to.Addr()), s.local.Port())
	if n.filter != nil && !n.filter(Datagram{From: d.from, To: to, TTL: ttl, Payload: d.buf}) {
		n.drop(d, DropFiltered)
		return
	}
	if to.Addr().IsLoopback() || h.owns(to.Addr()) {
		h.loop(d)
		return
	}
	if len(m.addrs) == 0 || d.from.Addr().IsLoopback() {
		n.drop(d, DropNoRoute)
		return
	}

	if h.sentAt != n.now {
		h.sentAt, h.sentN = n.now, 0
	}
	h.sentN++
	luck := dice(mix(mix(m.salt, uint64(n.now)), h.sentN))
	if next, ok := m.segment.at(to.Addr()).(*machine); ok {
		luck = dice(mix(uint64(luck), next.salt))
	}
	m.segment.forward(d, &luck)
}

// source returns the address that a datagram of the socket comes from.
func (h *Host) source(s *socket, to netip.Addr) netip.Addr {
	switch {
	case !s.local.Addr().IsUnspecified():
		return s.local.Addr()
	case to.IsLoopback():
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
		h.net.drop(d, DropMTU)
		return
	}
	d.at = h.m
	h.net.arm(&d.event, h.net.now.Add(loopbackDelay))
}
