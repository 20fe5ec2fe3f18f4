package turnserver

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

// Server is a running TURN server.
type Server struct {
	cfg     Config
	stats   Stats
	clients *clients
	server  *turn.Server

	mu    sync.Mutex
	users map[string]*user
	names map[string]string // of the users of allocations, by the address of the client
}

// user is the use of the server by one user.
type user struct{ allocations, permissions int }

// New starts a server. If it fails, the listeners are left open.
func New(cfg Config) (*Server, error) {
	cfg = cfg.normal()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, users: map[string]*user{}, names: map[string]string{}}
	s.clients = newClients(&s.stats, maxWaiting)
	addresses := &relayed{cfg: &s.cfg, stats: &s.stats, inner: !isLocal(cfg.Public), ports: map[uint16]bool{}}
	tc := turn.ServerConfig{
		Realm: cfg.Realm, AuthHandler: s.authenticate, QuotaHandler: s.mayAllocate, LoggerFactory: logs{cfg.Logger}, StrictAddressFamily: true,
		EventHandler: turn.EventHandler{OnAllocationCreated: s.created, OnAllocationDeleted: s.deleted, OnPermissionCreated: s.permitted, OnPermissionDeleted: s.unpermitted},
	}
	for _, l := range cfg.Listeners {
		tc.ListenerConfigs = append(tc.ListenerConfigs, turn.ListenerConfig{
			Listener: &listener{l, s.clients}, RelayAddressGenerator: addresses, PermissionHandler: s.permits,
		})
	}
	for _, p := range cfg.Packets {
		tc.PacketConnConfigs = append(tc.PacketConnConfigs, turn.PacketConnConfig{
			PacketConn: p, RelayAddressGenerator: addresses, PermissionHandler: s.permits,
		})
	}
	var err error
	if s.server, err = turn.NewServer(tc); err != nil {
		return nil, fmt.Errorf("TURN server: %w", err)
	}
	return s, nil
}

// Stats returns the counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Close closes the listeners, the connections of clients and their allocations.
func (s *Server) Close() error {
	err := s.server.Close()
	s.clients.close()
	if err != nil {
		return fmt.Errorf("close the TURN server: %w", err)
	}
	return nil
}

// mayAllocate decides whether a user may have one more allocation.
func (s *Server) mayAllocate(name, _ string, _ net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u == nil || u.allocations < s.cfg.MaxUserAllocations {
		return true
	}
	s.stats.Refused.Add(1)
	return false
}

func (s *Server) created(client, server net.Addr, _, name, _ string, at net.Addr, _ int) {
	s.count(name, 1, 0)
	s.mu.Lock()
	s.names[client.String()] = name
	s.mu.Unlock()
	s.stats.Allocated.Add(1)
	s.clients.allocated(client, server)
	s.cfg.Logger.Debug("Relaying by TURN", "client", client.String(), "user", name, "relayed", at.String())
}

func (s *Server) deleted(client, server net.Addr, _, name, _ string) {
	s.count(name, -1, 0)
	s.mu.Lock()
	delete(s.names, client.String())
	s.mu.Unlock()
	s.clients.released(client, server)
	s.cfg.Logger.Debug("The client has left", "client", client.String(), "user", name)
}

func (s *Server) permitted(_, _ net.Addr, _, name, _ string, _ net.Addr, _ net.IP) {
	s.count(name, 0, 1)
}

func (s *Server) unpermitted(_, _ net.Addr, _, name, _ string, _ net.Addr, _ net.IP) {
	s.count(name, 0, -1)
}

// count changes the use of the server by a user.
func (s *Server) count(name string, allocations, permissions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	if u == nil {
		u = &user{}
		s.users[name] = u
	}
	u.allocations += allocations
	u.permissions += permissions
	if u.allocations <= 0 && u.permissions <= 0 {
		delete(s.users, name)
	}
}

// crowded reports whether the user of a client has as many permissions as one may have.
func (s *Server) crowded(client net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[s.names[client.String()]]
	return u != nil && u.permissions >= max(leastPermissions, permissionsFor*s.cfg.MaxUserAllocations)
}

// permits decides whether a client may exchange datagrams with a peer.
func (s *Server) permits(client net.Addr, peer net.IP) bool {
	addr, ok := netip.AddrFromSlice(peer)
	if ok && s.cfg.admits(addr.Unmap()) && !s.crowded(client) {
		return true
	}
	s.stats.Forbidden.Add(1)
	return false
}

// logs passes pion's logs on, all as debug messages: most are about what strangers send.
type logs struct{ to *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l logs) NewLogger(string) logging.LeveledLogger { return l }

func (logs) Trace(string)                        {}
func (logs) Tracef(string, ...any)               {}
func (logs) Debug(string)                        {}
func (logs) Debugf(string, ...any)               {}
func (l logs) Info(text string)                  { l.to.Debug(text) }
func (l logs) Infof(format string, args ...any)  { l.to.Debug(fmt.Sprintf(format, args...)) }
func (l logs) Warn(text string)                  { l.to.Debug(text) }
func (l logs) Warnf(format string, args ...any)  { l.to.Debug(fmt.Sprintf(format, args...)) }
func (l logs) Error(text string)                 { l.to.Debug(text) }
func (l logs) Errorf(format string, args ...any) { l.to.Debug(fmt.Sprintf(format, args...)) }

var _ logging.LeveledLogger = logs{}
