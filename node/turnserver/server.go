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
	clients clients
	server  *turn.Server

	mu    sync.Mutex
	users map[string]int // allocations by user
}

// New starts a server. If it fails, the listeners are left open.
func New(cfg Config) (*Server, error) {
	cfg = cfg.normal()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, users: map[string]int{}}
	s.clients = clients{stats: &s.stats, limit: cfg.MaxAllocations + maxWaiting, open: map[string]*client{}}
	addresses := &relayed{cfg: &s.cfg, stats: &s.stats, inner: !isLocal(cfg.Public), ports: map[uint16]bool{}}
	tc := turn.ServerConfig{
		Realm: cfg.Realm, AuthHandler: s.authenticate, QuotaHandler: s.mayAllocate, LoggerFactory: logs{cfg.Logger}, StrictAddressFamily: true,
		EventHandler: turn.EventHandler{OnAllocationCreated: s.created, OnAllocationDeleted: s.deleted},
	}
	for _, l := range cfg.Listeners {
		tc.ListenerConfigs = append(tc.ListenerConfigs, turn.ListenerConfig{
			Listener: &listener{l, &s.clients}, RelayAddressGenerator: addresses, PermissionHandler: s.permits,
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
func (s *Server) mayAllocate(user, _ string, _ net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[user] < s.cfg.MaxUserAllocations {
		return true
	}
	s.stats.Refused.Add(1)
	return false
}

func (s *Server) created(client, server net.Addr, _, user, _ string, at net.Addr, _ int) {
	s.mu.Lock()
	s.users[user]++
	s.mu.Unlock()
	s.stats.Allocated.Add(1)
	s.clients.allocated(client, server)
	s.cfg.Logger.Debug("Relaying by TURN", "client", client.String(), "user", user, "relayed", at.String())
}

func (s *Server) deleted(client, server net.Addr, _, user, _ string) {
	s.mu.Lock()
	if s.users[user]--; s.users[user] <= 0 {
		delete(s.users, user)
	}
	s.mu.Unlock()
	s.clients.released(client, server)
	s.cfg.Logger.Debug("The client has left", "client", client.String(), "user", user)
}

// permits decides whether a client may exchange datagrams with a peer.
func (s *Server) permits(_ net.Addr, peer net.IP) bool {
	addr, ok := netip.AddrFromSlice(peer)
	if ok && s.cfg.admits(addr.Unmap()) {
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
