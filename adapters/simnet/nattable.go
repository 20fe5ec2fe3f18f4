package simnet

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"time"

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

// scope reduces a remote end to the part that a behaviour depends on.
func (e endpoint) scope(d Dependence) endpoint {
	switch d {
	case AddressAndPortDependent:
		return e
	case AddressDependent:
		return e &^ 0xffff
	}
	return 0
}

// natTable is the session table of a NAT or a firewall. Its answers are a function of the datagrams it has seen, their
// times and its seed: it has no timers.
type natTable struct {
	cfg      NAT
	random   dice
	nextPort uint16

	sessions map[sessionKey]*session
	mappings map[mappingKey]*mapping // none in a firewall
	byPort   map[portKey]*mapping
	fresh    sessionList // not answered yet, where that matters
	settled  sessionList
	due      host.Instant // nothing expires before

	statics  map[uint16]*static // by external port: mapped on request
	byInside map[endpoint]*static
}

// sessionList holds sessions in the order of their last refresh. As all of a list live equally long, the expired ones are
// at the front.
type sessionList struct{ oldest, newest *session }

// sessionKey identifies a mapping and a remote end, reduced to what its filter depends on.
type sessionKey struct{ inside, scope, remote endpoint }

// mappingKey is an inside socket and its remote end, reduced to what the mapping depends on.
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
	made     host.Instant
}

type session struct {
	key       sessionKey
	m         *mapping // nil in a firewall
	refreshed host.Instant
	older     *session
	newer     *session
	opened    host.Instant
	answered  bool // something came in
	settled   bool // lives for the whole lifetime
}

// newNATTable returns an empty table. random decides about ports.
func newNATTable(cfg NAT, random dice) *natTable {
	t := &natTable{cfg: cfg.withDefaults(), random: random, statics: map[uint16]*static{}, byInside: map[endpoint]*static{}}
	t.nextPort = t.drawPort()
	t.forget()
	return t
}

// forget empties the table; the choice of ports goes on where it was.
func (t *natTable) forget() {
	t.sessions = map[sessionKey]*session{}
	t.mappings = map[mappingKey]*mapping{}
	t.byPort = map[portKey]*mapping{}
	t.fresh, t.settled, t.due = sessionList{}, sessionList{}, 0
}

// outbound returns the public port for a datagram from an inside socket to a remote end; in a firewall it is the inside
// port.
func (t *natTable) outbound(now host.Instant, inside, remote endpoint) (uint16, Drop) {
	if port, ok := t.staticOut(now, inside, remote); ok {
		return port, 0
	}
	t.expire(now)
	key := sessionKey{inside, remote.scope(t.cfg.Mapping), remote.scope(t.cfg.Filtering)}
	s := t.sessions[key]
	m := t.mappings[mappingKey{key.inside, key.scope}]
	if m != nil && t.cfg.Drift > 0 && now.Sub(m.made) >= t.cfg.Drift {
		t.drop(m)
		s = nil
	}
	if s == nil && t.cfg.Shared > 0 { // it has a mapping of its own, or needs one
		own := sessionKey{inside, remote, key.remote}
		if s = t.sessions[own]; s != nil || m != nil && m.sessions >= t.cfg.Shared {
			key = own
		}
	}
	if s == nil {
		var why Drop
		if s, why = t.open(key, now); why != 0 {
			return 0, why
		}
	}
	t.refresh(s, now)
	if s.m == nil {
		return uint16(inside), 0
	}
	return s.m.port, 0
}

// inbound returns the inside socket that receives what a remote end sends to a public port. In a firewall the destination
// is the inside socket.
func (t *natTable) inbound(now host.Instant, remote, to endpoint) (endpoint, Drop) {
	if inside, ok := t.staticIn(now, remote, uint16(to)); ok {
		return inside, 0
	}
	t.expire(now)
	s, why := t.find(remote, to)
	if s == nil {
		return 0, why
	}
	if t.cfg.Refresh == RefreshBoth {
		t.refresh(s, now)
	}
	s.answered = true // after the refresh: an answer is none before it has come
	return s.key.inside, 0
}

// find returns the session of a datagram that a remote end sends to a public port, or the reason why there is none. It
// ignores times.
func (t *natTable) find(remote, to endpoint) (*session, Drop) {
	key := sessionKey{inside: to, remote: remote.scope(t.cfg.Filtering)}
	if t.cfg.Mapping != Never {
		m := t.byPort[t.portKey(uint16(to), remote.scope(t.cfg.Mapping))]
		if m == nil {
			return nil, DropUnmapped
		}
		key.inside, key.scope = m.inside, m.scope
	}
	if s := t.sessions[key]; s != nil {
		return s, 0
	}
	return nil, DropRefused
}

// open adds a session, and its mapping if there is none.
func (t *natTable) open(key sessionKey, now host.Instant) (*session, Drop) {
	if len(t.sessions) >= t.cfg.Size {
		if t.cfg.Full == RefuseNew {
			return nil, DropTableFull
		}
		t.remove(t.idlest())
	}
	s := &session{key: key, opened: now, settled: t.cfg.Unanswered == 0}
	if t.cfg.Mapping != Never {
		mk := mappingKey{key.inside, key.scope}
		m := t.mappings[mk]
		if m == nil {
			port, ok := t.choosePort(uint16(key.inside), key.scope)
			if !ok {
				return nil, DropNoPort
			}
			m = &mapping{mappingKey: mk, port: port, made: now}
			t.mappings[mk] = m
			t.byPort[t.portKey(port, m.scope)] = m
		}
		m.sessions++
		s.m = m
	}
	t.sessions[key] = s
	t.list(s).append(s)
	return s, 0
}

// drop removes a mapping with its sessions.
func (t *natTable) drop(m *mapping) {
	for _, s := range t.sessions {
		if s.m == m {
			t.remove(s)
		}
	}
}

func (t *natTable) portKey(port uint16, scope endpoint) portKey {
	if !t.cfg.Overload {
		scope = 0
	}
	return portKey{port, scope}
}

// choosePort picks a free public port. Random ports are drawn a few times; after that all ports are tried in turn.
func (t *natTable) choosePort(inside uint16, scope endpoint) (uint16, bool) {
	free := func(port uint16) bool { return t.byPort[t.portKey(port, scope)] == nil && t.statics[port] == nil }
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
	return t.cfg.FirstPort + uint16(t.random.below(int64(t.cfg.LastPort)-int64(t.cfg.FirstPort)+1))
}

// expire removes sessions that were not refreshed in time.
func (t *natTable) expire(now host.Instant) {
	if now < t.due {
		return
	}
	t.due = now.Add(min(t.cfg.Lifetime, t.unansweredLifetime())) // what is opened later lives longer
	for _, list := range [...]*sessionList{&t.settled, &t.fresh} {
		for list.oldest != nil && t.over(list.oldest, now) {
			t.remove(list.oldest)
		}
		if s := list.oldest; s != nil {
			t.due = min(t.due, s.refreshed.Add(t.lifetime(s.settled)))
		}
	}
}

// over reports whether a session has not been refreshed in time.
func (t *natTable) over(s *session, now host.Instant) bool {
	return now.Sub(s.refreshed) >= t.lifetime(s.settled)
}

// lifetime returns the time that a session lives without refresh.
func (t *natTable) lifetime(settled bool) time.Duration {
	if settled {
		return t.cfg.Lifetime
	}
	return t.unansweredLifetime()
}

func (t *natTable) unansweredLifetime() time.Duration {
	return cmp.Or(t.cfg.Unanswered, t.cfg.Lifetime)
}

// idlest returns the session that was not refreshed for the longest time; of two such, the unanswered one.
func (t *natTable) idlest() *session {
	a, b := t.fresh.oldest, t.settled.oldest
	if b == nil || a != nil && a.refreshed <= b.refreshed {
		return a
	}
	return b
}

func (t *natTable) refresh(s *session, now host.Instant) {
	s.refreshed = now
	list := t.list(s)
	if !s.settled && s.answered && now.Sub(s.opened) > t.cfg.Young {
		list.unlink(s)
		s.settled = true
		t.settled.append(s)
	} else if s != list.newest {
		list.unlink(s)
		list.append(s)
	}
}

func (t *natTable) remove(s *session) {
	t.list(s).unlink(s)
	delete(t.sessions, s.key)
	if s.m == nil {
		return
	}
	if s.m.sessions--; s.m.sessions == 0 {
		delete(t.mappings, s.m.mappingKey)
		delete(t.byPort, t.portKey(s.m.port, s.m.scope))
	}
}

// list returns the list that a session is on.
func (t *natTable) list(s *session) *sessionList {
	if s.settled {
		return &t.settled
	}
	return &t.fresh
}

func (l *sessionList) append(s *session) {
	s.older, s.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = s
	} else {
		l.oldest = s
	}
	l.newest = s
}

func (l *sessionList) unlink(s *session) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		l.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		l.newest = s.older
	}
}
