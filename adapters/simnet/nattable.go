package simnet

import (
	"encoding/binary"
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// endpoint is an IPv4 address and port in one word; 0 is none.
type endpoint uint64

func endpointOf(a netip.AddrPort) endpoint {
	ip := a.Addr().As4()
	return endpoint(binary.BigEndian.Uint32(ip[:]))<<16 | endpoint(a.Port())
}

func (e endpoint) addrPort() netip.AddrPort {
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(e>>16))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(e))
}

// scope reduces a remote end to what something depends on.
func (e endpoint) scope(d Dependence) endpoint {
	switch d {
	case AddressAndPortDependent:
		return e
	case AddressDependent:
		return e &^ 0xffff
	}
	return 0
}

// natTable is the memory of a NAT or a firewall. What it answers is a function of the datagrams it has seen,
// their times and its seed: it has no timers. Sessions are listed by when they were last refreshed, and as
// all live equally long, those that have expired are at the front.
type natTable struct {
	cfg      NAT
	luck     dice
	nextPort uint16

	sessions map[sessionKey]*session
	mappings map[mappingKey]*mapping // none in a firewall
	byPort   map[portKey]*mapping
	oldest   *session
	newest   *session
}

// sessionKey names a mapping and a remote end in what its filter depends on.
type sessionKey struct{ inside, scope, remote endpoint }

// mappingKey is an inside socket and its remote end in what the mapping depends on.
type mappingKey struct{ inside, scope endpoint }

// portKey is a public port, with the remote end where ports are overloaded.
type portKey struct {
	port  uint16
	scope endpoint
}

type mapping struct {
	mappingKey
	port     uint16
	sessions int
}

type session struct {
	key       sessionKey
	m         *mapping // nil in a firewall
	refreshed host.Instant
	older     *session
	newer     *session
}

// newNATTable returns an empty table. luck decides about ports.
func newNATTable(cfg NAT, luck dice) *natTable {
	t := &natTable{cfg: cfg.withDefaults(), luck: luck}
	t.nextPort = t.drawPort()
	t.forget()
	return t
}

// forget empties the table; the choice of ports goes on where it was.
func (t *natTable) forget() {
	t.sessions = map[sessionKey]*session{}
	t.mappings = map[mappingKey]*mapping{}
	t.byPort = map[portKey]*mapping{}
	t.oldest, t.newest = nil, nil
}

// outbound returns the public port of what an inside socket sends to a remote end; a firewall's is the
// inside port.
func (t *natTable) outbound(now host.Instant, inside, remote endpoint) (uint16, Drop) {
	t.expire(now)
	key := sessionKey{inside, remote.scope(t.cfg.Mapping), remote.scope(t.cfg.Filtering)}
	s := t.sessions[key]
	if s == nil {
		var why Drop
		if s, why = t.open(key); why != 0 {
			return 0, why
		}
	}
	t.refresh(s, now)
	if s.m == nil {
		return uint16(inside), 0
	}
	return s.m.port, 0
}

// inbound returns the inside socket that gets what a remote end sends to a public port. To a
// firewall the destination is the inside socket.
func (t *natTable) inbound(now host.Instant, remote, to endpoint) (endpoint, Drop) {
	t.expire(now)
	key := sessionKey{inside: to, remote: remote.scope(t.cfg.Filtering)}
	if t.cfg.Mapping != Never {
		m := t.byPort[t.portKey(uint16(to), remote.scope(t.cfg.Mapping))]
		if m == nil {
			return 0, DropUnmapped
		}
		key.inside, key.scope = m.inside, m.scope
	}
	s := t.sessions[key]
	if s == nil {
		return 0, DropRefused
	}
	if t.cfg.Refresh == RefreshBoth {
		t.refresh(s, now)
	}
	return key.inside, 0
}

// open adds a session, and a mapping where there is none for it.
func (t *natTable) open(key sessionKey) (*session, Drop) {
	if len(t.sessions) >= t.cfg.Size {
		if t.cfg.Full == RefuseNew {
			return nil, DropTableFull
		}
		t.remove(t.oldest)
	}
	s := &session{key: key}
	if t.cfg.Mapping != Never {
		mk := mappingKey{key.inside, key.scope}
		m := t.mappings[mk]
		if m == nil {
			port, ok := t.choosePort(uint16(key.inside), key.scope)
			if !ok {
				return nil, DropNoPort
			}
			m = &mapping{mappingKey: mk, port: port}
			t.mappings[mk] = m
			t.byPort[t.portKey(port, m.scope)] = m
		}
		m.sessions++
		s.m = m
	}
	t.sessions[key] = s
	t.append(s)
	return s, 0
}

func (t *natTable) portKey(port uint16, scope endpoint) portKey {
	if !t.cfg.Overload {
		scope = 0
	}
	return portKey{port, scope}
}

// choosePort picks a free public port. It draws a few times where ports are random, and looks at all in
// turn when luck fails it.
func (t *natTable) choosePort(inside uint16, scope endpoint) (uint16, bool) {
	free := func(port uint16) bool { return t.byPort[t.portKey(port, scope)] == nil }
	first, count := int(t.cfg.FirstPort), int(t.cfg.LastPort)-int(t.cfg.FirstPort)+1
	if !t.cfg.Overload && len(t.byPort) >= count {
		return 0, false
	}
	start := int(t.nextPort)
	switch t.cfg.Ports {
	case PreservePort:
		start = min(max(int(inside), first), int(t.cfg.LastPort))
	case RandomPort:
		for range natDraws {
			port := t.drawPort()
			if free(port) {
				return port, true
			}
			start = int(port)
		}
	}
	for i := range count {
		port := uint16(first + (start-first+i)%count)
		if free(port) {
			if t.cfg.Ports == NextPort {
				t.nextPort = uint16(first + (int(port)-first+1)%count)
			}
			return port, true
		}
	}
	return 0, false
}

func (t *natTable) drawPort() uint16 {
	return t.cfg.FirstPort + uint16(t.luck.below(int64(t.cfg.LastPort)-int64(t.cfg.FirstPort)+1))
}

// expire removes what was not refreshed in time.
func (t *natTable) expire(now host.Instant) {
	for t.oldest != nil && now.Sub(t.oldest.refreshed) >= t.cfg.Lifetime {
		t.remove(t.oldest)
	}
}

func (t *natTable) refresh(s *session, now host.Instant) {
	s.refreshed = now
	if s != t.newest {
		t.unlink(s)
		t.append(s)
	}
}

func (t *natTable) remove(s *session) {
	t.unlink(s)
	delete(t.sessions, s.key)
	if s.m == nil {
		return
	}
	if s.m.sessions--; s.m.sessions == 0 {
		delete(t.mappings, s.m.mappingKey)
		delete(t.byPort, t.portKey(s.m.port, s.m.scope))
	}
}

func (t *natTable) append(s *session) {
	s.older, s.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = s
	} else {
		t.oldest = s
	}
	t.newest = s
}

func (t *natTable) unlink(s *session) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		t.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		t.newest = s.older
	}
}
