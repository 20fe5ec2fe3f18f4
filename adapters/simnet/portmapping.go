package simnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// PortMapping describes a router that maps ports for the machines of its LAN: its answers to PCP (RFC 6887) and NAT-PMP (RFC 6886).
type PortMapping struct {
	PCP, NATPMP bool
	// Refuse answers all requests for a mapping with "not authorized".
	Refuse bool
	// Pretend grants mappings, and forwards nothing.
	Pretend bool
	// InboundOnly leaves the mapped port to answers: what the mapped socket sends to other remote ends has the port that the NAT
	// chooses. Otherwise all that it sends has the mapped port, as with most routers.
	InboundOnly bool
	// Lifetime bounds that of a mapping; 0 means no bound.
	Lifetime time.Duration
	// Limit bounds the mappings; 0 means no bound.
	Limit int
	// External is the external address that the router states; invalid for its own.
	External netip.Addr
}

func (p *PortMapping) check() {
	refuse := func(bad bool, why string) {
		if bad {
			panic(fmt.Sprintf("simnet: %s: %+v", why, *p))
		}
	}
	refuse(!p.PCP && !p.NATPMP, "port mapping without a protocol")
	refuse(p.Refuse && (p.Pretend || p.InboundOnly || p.Lifetime != 0 || p.Limit != 0), "settings of mappings that are refused")
	refuse(p.Pretend && p.InboundOnly, "a direction of mappings that forward nothing")
	refuse(p.Lifetime < 0 || p.Limit < 0, "negative lifetime or limit")
}

// portMapper is the server for port mappings of a router.
type portMapper struct {
	PortMapping
	router *Router
	addr   netip.Addr // on the LAN
	sock   host.Socket
	seen   int // requests
}

// static is a mapping of a port that was asked for. It admits datagrams from everywhere.
type static struct {
	inside  endpoint
	port    uint16
	nonce   [12]byte // of PCP; zero with NAT-PMP
	expires host.Instant
	reverse bool                      // what the socket sends has the port
	remotes map[endpoint]host.Instant // that have sent something, and when: answers to them have the port
}

// MapPorts makes a router that translates answer requests for port mappings, at an address on its LAN. Hosts there know the address, as
// that of their router. It may be called once.
func (r *Router) MapPorts(addr netip.Addr, how PortMapping) {
	how.check()
	if !r.translates() || r.mapper != nil {
		panic(fmt.Sprintf("simnet: router %s cannot map ports, or does already", r.name))
	}
	h := r.lan.AddHost(r.name+"/mapper", addr)
	s, err := h.OpenSocket(netip.AddrPortFrom(addr, mapperPort))
	if err != nil {
		panic(fmt.Sprintf("simnet: router %s: %v", r.name, err))
	}
	m := &portMapper{PortMapping: how, router: r, addr: addr, sock: s}
	s.OnReceive(m.receive)
	r.mapper = m
}

// SetPortMapping changes the answers of a router that maps ports. Mappings stay.
func (r *Router) SetPortMapping(how PortMapping) {
	how.check()
	r.mapper.PortMapping = how
}

// MapRequests returns the number of requests for port mappings that the router has received.
func (r *Router) MapRequests() int { return r.mapper.seen }

// StaticMappings returns the external ports that are mapped on request, in order.
func (r *Router) StaticMappings() []uint16 {
	var list []uint16
	for port, s := range r.table.statics {
		if r.lane.now < s.expires {
			list = append(list, port)
		}
	}
	slices.Sort(list)
	return list
}

// Gateway implements host.Gateway. The router is known where it maps ports.
func (h *Host) Gateway() (router, local netip.Addr, ok bool) {
	r := h.m.uplink.router
	if r == nil || r.mapper == nil {
		return netip.Addr{}, netip.Addr{}, false
	}
	for _, a := range h.m.addrs {
		if a.Is4() {
			return r.mapper.addr, a, true
		}
	}
	return netip.Addr{}, netip.Addr{}, false
}

var _ host.Gateway = (*Host)(nil)

// Of the protocols.
const (
	mapperPort    = 5351
	mapperUDP     = 17
	notAuthorized = 2
	pcpNoRoom     = 8
	pmpNoRoom     = 4
	badVersion    = 1
)

// receive answers a request.
func (m *portMapper) receive(from netip.AddrPort, b []byte) {
	if m.router.off || len(b) < 2 {
		return
	}
	m.seen++
	switch {
	case b[0] == 2 && m.PCP && len(b) == 60:
		m.answerPCP(from, b)
	case b[0] == 0 && m.NATPMP:
		m.answerPMP(from, b)
	case m.NATPMP: // another version; a NAT-PMP server has version 0
		m.sock.Send(from, 0, m.epoch([]byte{0, b[1] | 128, 0, badVersion}))
	case b[0] == 0:
		m.sock.Send(from, 0, binary.BigEndian.AppendUint64([]byte{2, b[1] | 128, 0, badVersion}, 0))
	}
}

func (m *portMapper) epoch(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(m.router.lane.now.Sub(m.router.booted)/time.Second))
}

func (m *portMapper) answerPCP(from netip.AddrPort, b []byte) {
	want := &static{nonce: [12]byte(b[24:36])}
	port, life, why := m.change(want, from, binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint16(b[42:]), binary.BigEndian.Uint32(b[4:]))
	if why == pmpNoRoom {
		why = pcpNoRoom
	}
	out := binary.BigEndian.AppendUint32([]byte{2, b[1] | 128, 0, byte(why)}, life)
	out = append(m.epoch(out), make([]byte, 12)...)
	out = append(out, b[24:42]...)
	out = binary.BigEndian.AppendUint16(out, port)
	ip := m.external().As16()
	m.sock.Send(from, 0, append(out, ip[:]...))
}

func (m *portMapper) external() netip.Addr {
	if m.External.IsValid() {
		return m.External
	}
	return m.router.addr
}

func (m *portMapper) answerPMP(from netip.AddrPort, b []byte) {
	switch {
	case b[1] == 0:
		ip := m.external().As4()
		m.sock.Send(from, 0, append(m.epoch([]byte{0, 128, 0, 0}), ip[:]...))
	case b[1] == 1 && len(b) == 12:
		internal := binary.BigEndian.Uint16(b[4:])
		port, life, why := m.change(&static{}, from, internal, binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint32(b[8:]))
		out := m.epoch([]byte{0, 129, 0, byte(why)})
		out = binary.BigEndian.AppendUint16(out, internal)
		out = binary.BigEndian.AppendUint16(out, port)
		m.sock.Send(from, 0, binary.BigEndian.AppendUint32(out, life))
	}
}

// change creates, renews or ends the mapping of a port of a machine.
func (m *portMapper) change(want *static, from netip.AddrPort, internal, wanted uint16, life uint32) (uint16, uint32, int) {
	r := m.router
	t, now := r.table, r.lane.now
	if m.Refuse {
		return 0, uint32(time.Hour / time.Second), notAuthorized
	}
	want.inside = endpointOf(netip.AddrPortFrom(from.Addr(), internal))
	old := t.staticOf(want.inside, now)
	switch {
	case old != nil && old.nonce != want.nonce:
		return 0, 60, notAuthorized
	case life == 0:
		if old != nil {
			delete(t.statics, old.port)
			delete(t.byInside, old.inside)
			r.lane.note(r.name, fmt.Sprintf("unmaps %d", old.port))
		}
		return 0, 0, 0
	}
	if m.Lifetime > 0 {
		life = min(life, uint32(m.Lifetime/time.Second))
	}
	expires := now.Add(time.Duration(life) * time.Second)
	if old != nil {
		old.expires = expires
		return old.port, life, 0
	}
	if m.Limit > 0 && len(r.StaticMappings()) >= m.Limit {
		return 0, 60, pmpNoRoom
	}
	if m.Pretend {
		return wanted, life, 0
	}
	want.port, want.expires, want.reverse = t.freeStatic(wanted, now), expires, !m.InboundOnly
	want.remotes = map[endpoint]host.Instant{}
	t.statics[want.port], t.byInside[want.inside] = want, want
	r.lane.note(r.name, fmt.Sprintf("maps %d to %v", want.port, want.inside.addrPort()))
	return want.port, life, 0
}

// staticOf returns the mapping on request of an inside socket; nil if there is none.
func (t *natTable) staticOf(inside endpoint, now host.Instant) *static {
	if s := t.byInside[inside]; s != nil && now < s.expires {
		return s
	}
	return nil
}

// staticAt returns the mapping on request of an external port; nil if there is none.
func (t *natTable) staticAt(port uint16, now host.Instant) *static {
	if s := t.statics[port]; s != nil && now < s.expires {
		return s
	}
	return nil
}

// freeStatic returns the port that is wanted, or the next one that nothing uses.
func (t *natTable) freeStatic(wanted uint16, now host.Instant) uint16 {
	taken := func(port uint16) bool {
		return port == 0 || t.staticAt(port, now) != nil || t.uses(port)
	}
	for taken(wanted) {
		wanted++
	}
	return wanted
}

// uses reports whether a session has the public port.
func (t *natTable) uses(port uint16) bool {
	if !t.cfg.Overload {
		return t.byPort[portKey{port: port}] != nil
	}
	for k := range t.byPort {
		if k.port == port {
			return true
		}
	}
	return false
}

// staticOut returns the mapped port for a datagram from an inside socket.
func (t *natTable) staticOut(now host.Instant, inside, remote endpoint) (uint16, bool) {
	if len(t.byInside) == 0 {
		return 0, false
	}
	s := t.staticOf(inside, now)
	if s == nil {
		return 0, false
	}
	if last, ok := s.remotes[remote]; !s.reverse && (!ok || now.Sub(last) >= t.cfg.Lifetime) {
		return 0, false
	}
	return s.port, true
}

// staticIn returns the inside socket that a mapped port belongs to.
func (t *natTable) staticIn(now host.Instant, remote endpoint, port uint16) (endpoint, bool) {
	if len(t.statics) == 0 {
		return 0, false
	}
	s := t.staticAt(port, now)
	if s == nil {
		return 0, false
	}
	if !s.reverse {
		s.remotes[remote] = now
	}
	return s.inside, true
}
