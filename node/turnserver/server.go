package turnserver

import (
	"fmt"
	"log/slog"
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

	mu          sync.Mutex
	users       map[string]*user
	allocations map[string]*allocation // by the address of the client
}

// New starts a server. If it fails, the listeners are left open.
func New(cfg Config) (*Server, error) {
	cfg = cfg.normal()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, users: map[string]*user{}, allocations: map[string]*allocation{}}
	s.clients = newClients(&s.stats, maxWaiting)
	addresses := &relayed{cfg: &s.cfg, stats: &s.stats, inner: !isLocal(cfg.Public), ports: map[uint16]bool{}}
	tc := turn.ServerConfig{
		Realm: cfg.Realm, AuthHandler: s.authenticate, QuotaHandler: s.mayAllocate, LoggerFactory: logs{cfg.Logger}, StrictAddressFamily: true,
		EventHandler: turn.EventHandler{
			OnAllocationCreated: s.created, OnAllocationDeleted: s.deleted, OnPermissionCreated: s.permitted, OnPermissionDeleted: s.unpermitted,
			OnChannelCreated: s.bound, OnChannelDeleted: s.unbound,
		},
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
