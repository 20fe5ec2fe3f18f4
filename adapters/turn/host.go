package turn

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// Server is a TURN server.
type Server struct {
	// Name names it in logs and errors, as turns:turn.example:443.
	Name string
	// Dialer opens pipes to it. Nil means UDP to Addr.
	Dialer pipe.Dialer
	// Addr is the server as host:port or host, for UDP.
	Addr string
	// Username and Password are the long-term credentials.
	Username, Password string
}

// Config configures a Host.
type Config struct {
	// Servers are tried in their order, each beside those before it that have not answered; the one that has relayed last first.
	Servers []Server
	// OnUp is called when a server relays, at an address that may have changed, and OnDown when none does, with the reason: after a loss,
	// and each time that all have failed. The host goes on trying. Both may be nil.
	OnUp   func(relayed netip.AddrPort)
	OnDown func(err error)
}

// Stats counts what happened since the start.
type Stats struct {
	Sent, SentBytes         uint64 // datagrams to peers and their payload
	Received, ReceivedBytes uint64 // datagrams from peers
	Requests                uint64
	Permissions, Channels   uint64 // granted, renewals included
	Allocations, Losses     uint64
	Congested               uint64 // datagrams dropped because the server takes no more
	Forbidden               uint64 // datagrams to peers that the server forbids
	Refused                 uint64 // permissions and channels
	Oversized               uint64 // datagrams that are too large to be relayed
	Unread                  uint64 // datagrams for no socket
	Stale                   uint64 // datagrams that arrived while this machine slept, and were not read
	Malformed, Unexpected   uint64 // messages
	Forged                  uint64 // answers without the signature of the credentials
	Busy                    uint64 // requests not sent because too many were pending
}

// Status describes a host at one moment.
type Status struct {
	Server  string         // that relays; empty for none
	Relayed netip.AddrPort // the address that peers see; that of the last server where none relays
	Since   host.Instant   // when it was allocated
	RTT     time.Duration  // of the last request
	Err     error          // why none relays
}

// Host is a machine whose datagrams a TURN server relays. It is a host.Host on another one.
type Host struct {
	host.Host
	cfg     Config
	servers []*server // the best first
	stats   Stats
	faults  states.Faults

	tried    int // servers, in this round
	sessions []*session
	current  *session // that relays
	relayed  netip.AddrPort
	failure  error
	again    host.Timer // the next server, or the next round
	pause    time.Duration
	closing  bool

	sockets []*socket // in the order of opening
	peers   *lru[netip.AddrPort, *peer]
	hosts   *lru[netip.Addr, *socket] // that sent last to an IP address
}

// server is a Server, checked.
type server struct {
	Server
	host string
	port uint16
}

var _ host.Limited = (*Host)(nil)

// New returns a host whose datagrams one of some servers relays, and begins to allocate. It must be called on h's loop. It fails if a
// server is invalid.
func New(h host.Host, cfg Config) (*Host, error) {
	t := &Host{
		Host: h, cfg: cfg, pause: minRetry,
		peers: newLRU[netip.AddrPort, *peer](maxPeers), hosts: newLRU[netip.Addr, *socket](maxPeers),
	}
	if len(cfg.Servers) == 0 || len(cfg.Servers) > maxServers {
		return nil, fmt.Errorf("turn: want 1 to %d servers, got %d", maxServers, len(cfg.Servers))
	}
	for _, s := range cfg.Servers {
		checked := &server{Server: s}
		if s.Dialer == nil {
			if err := checked.parse(); err != nil {
				return nil, err
			}
		}
		t.servers = append(t.servers, checked)
	}
	t.again = h.AfterFunc(0, t.try)
	return t, nil
}

// parse parses the address for UDP.
func (s *server) parse() error {
	name, port := s.Addr, strconv.Itoa(defaultPort)
	if i := strings.LastIndexByte(s.Addr, ':'); i >= 0 {
		name, port = s.Addr[:i], s.Addr[i+1:]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || name == "" {
		return fmt.Errorf("turn: want a server as host:port, got %q", s.Addr)
	}
	s.host, s.port = name, uint16(n)
	return nil
}

// try tries the next server, and after the last all of them again.
func (h *Host) try() {
	if h.closing || h.current != nil || h.tried == len(h.servers) {
		return
	}
	next := h.servers[h.tried]
	h.tried++
	h.sessions = append(h.sessions, h.begin(next, netip.AddrPort{}))
	if h.tried < len(h.servers) {
		h.again.Reset(stagger)
	}
}

// up makes a session the one that relays.
func (h *Host) up(s *session) {
	h.stats.Allocations++
	h.current, h.relayed, h.failure = s, s.relayed, nil
	h.again.Stop()
	for _, other := range h.sessions {
		if other != s {
			other.close(func() {})
		}
	}
	h.sessions = h.sessions[:0]
	i := slices.Index(h.servers, s.server)
	h.servers = slices.Insert(slices.Delete(h.servers, i, i+1), 0, s.server)
	if h.cfg.OnUp != nil {
		h.cfg.OnUp(s.relayed)
	}
}

// failed handles the end of a session.
func (h *Host) failed(s *session, err error) {
	if h.closing {
		return
	}
	h.failure = err
	if s == h.current {
		h.current = nil
		h.stats.Losses++
		if h.Now().Sub(s.since) >= proven {
			h.pause = minRetry
			h.round(0)
		} else {
			h.rest()
		}
		h.down(err)
		return
	}
	h.sessions = slices.DeleteFunc(h.sessions, func(other *session) bool { return other == s })
	switch {
	case h.current != nil:
	case h.tried < len(h.servers):
		h.again.Reset(0)
	case len(h.sessions) == 0:
		h.rest()
		h.down(err)
	}
}

// instead tries the server of a session once more: over another connection, or at the address that it refers to.
func (h *Host) instead(s *session, at netip.AddrPort) {
	s.end()
	next := h.begin(s.server, at)
	next.second = true
	h.sessions[slices.Index(h.sessions, s)] = next
}

// rest begins to try all servers after a pause, and makes the next one longer.
func (h *Host) rest() {
	h.round(h.pause)
	h.pause = min(2*h.pause, maxRetry)
}

// round begins to try all servers after a while.
func (h *Host) round(after time.Duration) {
	h.tried = 0
	h.again.Reset(after)
}

func (h *Host) down(err error) {
	if h.cfg.OnDown != nil {
		h.cfg.OnDown(err)
	}
}

// Close ends the allocation and closes the sockets. done is called within half a second.
func (h *Host) Close(done func()) {
	if h.closing {
		h.Post(done)
		return
	}
	h.closing = true
	h.again.Stop()
	for _, s := range slices.Clone(h.sockets) {
		s.Close()
	}
	join := host.NewJoin(func() { h.Post(done) })
	begun := join.Add()
	for _, s := range h.sessions {
		s.close(join.Add())
	}
	if h.current != nil {
		h.current.close(join.Add())
		h.current = nil
	}
	begun()
}

// Stats returns the counters.
func (h *Host) Stats() Stats { return h.stats }

// Status describes the host now.
func (h *Host) Status() Status {
	st := Status{Relayed: h.relayed, Err: h.failure}
	if s := h.current; s != nil {
		st.Server, st.Since, st.RTT = s.server.Name, s.since, s.rtt
	}
	return st
}

// Limits implements host.Limited.
func (h *Host) Limits() host.Limits {
	return host.Limits{Filtered: true, OneAddress: true, MTU: MTU}
}

// Addrs implements host.Host: the relayed address.
func (h *Host) Addrs() []netip.Addr {
	if !h.relayed.IsValid() {
		return nil
	}
	return []netip.Addr{h.relayed.Addr()}
}

// OpenSocket implements host.Host. The address has no effect: all sockets share the relayed one.
func (h *Host) OpenSocket(netip.AddrPort) (host.Socket, error) {
	if h.closing {
		return nil, ErrClosed
	}
	s := &socket{h: h}
	h.sockets = append(h.sockets, s)
	return s, nil
}

// socket is one of the sockets that share the relayed address.
type socket struct {
	h      *Host
	handle func(from netip.AddrPort, b []byte)
	closed bool
}

// LocalAddr implements host.Socket.
func (s *socket) LocalAddr() netip.AddrPort { return s.h.relayed }

// OnReceive implements host.Socket.
func (s *socket) OnReceive(f func(from netip.AddrPort, b []byte)) { s.handle = f }

// Close implements host.Socket.
func (s *socket) Close() {
	if s.closed {
		return
	}
	s.closed, s.handle = true, nil
	s.h.sockets = slices.DeleteFunc(s.h.sockets, func(other *socket) bool { return other == s })
}

// Send implements host.Socket. A datagram with a small TTL is meant for the way and not for its end: it asks for the permission, and is not
// sent.
func (s *socket) Send(to netip.AddrPort, ttl int, b []byte) {
	h := s.h
	switch {
	case s.closed || h.current == nil || !to.Addr().Is4() || to.Port() == 0:
	case len(b) > maxDatagram:
		h.stats.Oversized++
	case ttl > 0 && ttl < host.DefaultTTL:
		h.peerOf(to, s)
		h.current.relay.permit(to.Addr(), h.Now())
	default:
		h.current.relay.send(h.peerOf(to, s), b)
	}
}

// peer is an address to which datagrams were sent.
type peer struct {
	addr   netip.AddrPort
	sock   *socket // that sent last
	sent   int     // datagrams in a row
	sentAt host.Instant
}

// peerOf returns the peer at an address, to which a socket sends.
func (h *Host) peerOf(to netip.AddrPort, s *socket) *peer {
	p, known := h.peers.use(to)
	if !known {
		p = &peer{addr: to}
		h.peers.set(to, p)
	}
	p.sock = s
	h.hosts.set(to.Addr(), s)
	return p
}

// deliver hands a datagram to the socket that sent to its sender last; else to the one that sent to the sender's IP address last, since
// its NAT may have given it another port; else to the first.
func (h *Host) deliver(from netip.AddrPort, b []byte) {
	h.stats.Received++
	h.stats.ReceivedBytes += uint64(len(b))
	var s *socket
	if p, known := h.peers.get(from); known && !p.sock.closed {
		s = p.sock
	} else if last, known := h.hosts.get(from.Addr()); known && !last.closed {
		s = last
	} else if len(h.sockets) > 0 {
		s = h.sockets[0]
	}
	if s == nil || s.handle == nil {
		h.stats.Unread++
		return
	}
	s.handle(from, b)
}
