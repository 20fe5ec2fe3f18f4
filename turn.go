package dhtprom

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dhtprom/dhtprom/adapters/pipes"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/adapters/uplinks"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/tempfile"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// TURNMode is the use of TURN servers.
type TURNMode uint8

// The modes.
const (
	// TURNAuto uses a TURN server while no DHT node answers over UDP.
	TURNAuto TURNMode = iota
	// TURNAlways uses a TURN server alone: the node opens no socket of UDP, but where a server is reached over it.
	TURNAlways
	// TURNNever uses none.
	TURNNever
)

// TURNConfig configures the use of TURN servers, for networks from which no UDP gets out.
type TURNConfig struct {
	Servers []domain.TURNServer
	Mode    TURNMode
	// Proxy returns the HTTP proxy for a server at host:port; nil means none. Check asks it, too.
	Proxy func(addr string) (*url.URL, error)
	// Roots are the certificates to trust for TLS; nil means those of the system.
	Roots *x509.CertPool
	// Memory is the file that keeps what worked last, for a faster next start; "" keeps nothing.
	Memory string
	// Dial makes the dialer of a server, for simulations; nil means a real one.
	Dial func(h host.Host, server turn.URI) pipe.Dialer
}

// on reports whether TURN servers may be used.
func (c *TURNConfig) on() bool { return len(c.Servers) > 0 && c.Mode != TURNNever }

// maxMemory bounds the file of what worked, in bytes.
const maxMemory = 64

// last returns what worked last.
func (c *TURNConfig) last() uplinks.Kind {
	if c.Memory == "" {
		return uplinks.UDP
	}
	if b, err := tempfile.Read(c.Memory, maxMemory); err == nil && strings.TrimSpace(string(b)) == uplinks.TURN.String() {
		return uplinks.TURN
	}
	return uplinks.UDP
}

// memory stores what works.
type memory struct {
	path string
	log  *slog.Logger
	last atomic.Uint32 // the kind to store
	mu   sync.Mutex    // guards the file
}

// remember stores a kind. It does not wait.
func (m *memory) remember(k uplinks.Kind) {
	if m.path == "" {
		return
	}
	m.last.Store(uint32(k))
	go func() { // the last one writes what was stored last, in whatever order they run
		m.mu.Lock()
		defer m.mu.Unlock()
		if err := tempfile.Replace(m.path, 0o600, []byte(uplinks.Kind(m.last.Load()).String()+"\n")); err != nil {
			m.log.Warn("The way to the internet that works could not be saved", "err", err)
		}
	}()
}

// Check returns an error if a server is invalid, or if Proxy fails for it.
func (c *TURNConfig) Check() error {
	for i := range c.Servers {
		uri, err := c.uri(i)
		if err != nil {
			return err
		}
		if uri.UDP || c.Proxy == nil {
			continue
		}
		if _, err := c.Proxy(uri.Addr()); err != nil {
			return c.bad(i, uri.String()+": "+err.Error())
		}
	}
	return nil
}

// uri returns the URI of a server.
func (c *TURNConfig) uri(i int) (turn.URI, error) {
	uri, err := turn.ParseURI(c.Servers[i].URI)
	if err != nil {
		err = c.bad(i, fmt.Sprintf("%v, got %q", err, c.Servers[i].URI))
	}
	return uri, err
}

// bad is an error in the configuration of a server.
func (c *TURNConfig) bad(i int, want string) error {
	return &app.ConfigError{Field: fmt.Sprintf("TURN.Servers[%d]", i), Want: want}
}

// servers returns the servers with their dialers.
func (c *TURNConfig) servers(h host.Host) (list []turn.Server, err error) {
	for i, s := range c.Servers {
		uri, err := c.uri(i)
		if err != nil {
			return nil, err
		}
		if s.Username == "" || s.Password == "" {
			return nil, c.bad(i, "want user and password for "+uri.String())
		}
		server := turn.Server{Name: uri.String(), Username: s.Username, Password: s.Password}
		if uri.UDP {
			server.Addr = uri.Addr()
		} else if server.Dialer, err = c.dialer(h, uri); err != nil {
			return nil, c.bad(i, err.Error())
		}
		list = append(list, server)
	}
	return list, nil
}

// dialer returns the dialer of a server.
func (c *TURNConfig) dialer(h host.Host, uri turn.URI) (pipe.Dialer, error) {
	if c.Dial != nil {
		return c.Dial(h, uri), nil
	}
	cfg := pipes.Config{Server: uri.Addr()}
	if uri.Secure {
		cfg.TLS = &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}
	}
	if c.Proxy != nil {
		var err error
		if cfg.Proxy, err = c.Proxy(uri.Addr()); err != nil {
			return nil, err
		}
	}
	return pipes.New(h, cfg)
}

// NewTransport creates a node on a host, which may be a simulated one, with all of its uplinks: what NewNode runs on this machine. It must
// be called on the host's loop, and Transport.Close closes it all. stack is the node over UDP; nil where there is none (TURNAlways).
func NewTransport(h host.Host, cfg NodeConfig) (transport ports.Transport, stack *Stack, err error) {
	if !cfg.TURN.on() {
		if stack, err = NewStack(h, cfg); err != nil {
			return nil, nil, err
		}
		return stack.Transport, stack, nil
	}
	servers, err := cfg.TURN.servers(h)
	if err != nil {
		return nil, nil, err
	}
	ready := cfg.OnReady
	cfg.OnReady = func() {
		if f := ready; f != nil {
			ready = nil
			f()
		}
	}
	log := cfg.log()
	uc := uplinks.Config{
		Host: h, Last: cfg.TURN.last(), Remember: (&memory{path: cfg.TURN.Memory, log: log}).remember,
		OnUse: func(k uplinks.Kind) { log.Info("The way to the internet", "uplink", k.String()) },
		TURN: func(up func(ports.Transport), failed func(error)) (func(func()), error) {
			return overTURN(h, servers, cfg, func(s *Stack) { up(s.Transport) }, failed)
		},
	}
	if cfg.TURN.Mode != TURNAlways {
		uc.UDP = func() (ports.Transport, error) {
			if stack, err = NewStack(h, cfg); err != nil {
				return nil, err
			}
			return stack.Transport, nil
		}
	}
	transport, err = uplinks.New(uc)
	if err != nil {
		return nil, nil, err
	}
	return transport, stack, nil
}

// NewTURNStack creates a node whose datagrams one of cfg.TURN.Servers carries, as soon as one does: up is called with its stack, once, and
// failed each time that no server relays. It must be called on the host's loop. The stack's transport is closed first, and then what is below it
// by closeBelow. It fails if the configuration is invalid.
func NewTURNStack(h host.Host, cfg NodeConfig, up func(*Stack), failed func(error)) (closeBelow func(done func()), err error) {
	servers, err := cfg.TURN.servers(h)
	if err != nil {
		return nil, err
	}
	return overTURN(h, servers, cfg, up, failed)
}

// overTURN is NewTURNStack with checked servers.
func overTURN(h host.Host, servers []turn.Server, cfg NodeConfig, up func(*Stack), failed func(error)) (closeBelow func(func()), err error) {
	var stack *Stack
	var relayed *turn.Host
	relayed, err = turn.New(h, turn.Config{
		Servers: servers,
		OnUp: func(at netip.AddrPort) {
			cfg.log().Info("A TURN server relays", "server", relayed.Status().Server, "address", at.String())
			if stack != nil {
				stack.DHT.NetworkChanged() // the address may be another one
				return
			}
			var err error
			if stack, err = newTURNStack(relayed, cfg); err != nil {
				failed(err)
				return
			}
			up(stack)
		},
		OnDown: func(err error) {
			cfg.log().Warn("No TURN server relays", "err", err)
			failed(err)
		},
	})
	if err != nil {
		return nil, err
	}
	return relayed.Close, nil
}

// newTURNStack is NewStack on a host whose datagrams a TURN server carries. What is configured about the address of this machine does not
// hold there.
func newTURNStack(h *turn.Host, cfg NodeConfig) (*Stack, error) {
	cfg.Listen, cfg.PublicAddress, cfg.STUN, cfg.NodesFile, cfg.turn = netip.AddrPort{}, domain.Address{}, []string{"none"}, "", h
	return NewStack(h, cfg)
}

// TURNResult is the result of trying a TURN server.
type TURNResult struct {
	Server  string         // its URI
	Proxy   string         // that it is reached through, without credentials; "" for none
	Relayed netip.AddrPort // the address at which it relays; invalid where it does not
	Took    time.Duration
	Err     error // the step that failed, and why; nil where it relays
}

// turnTrial bounds the trial of a TURN server.
const turnTrial = 12 * time.Second

// TryTURN allocates at each server of a configuration, all at the same time, and calls done in a later turn, within bounded time. It must be
// called on the host's loop. It fails if the configuration is invalid.
func TryTURN(h host.Host, cfg TURNConfig, done func([]TURNResult)) error {
	if len(cfg.Servers) == 0 || cfg.Mode == TURNNever {
		h.Post(func() { done(nil) })
		return nil
	}
	servers, err := cfg.servers(h)
	if err != nil {
		return err
	}
	results := make([]TURNResult, len(servers))
	join := host.NewJoin(func() { done(results) })
	begun := join.Add()
	for i, s := range servers {
		r, ended, began := &results[i], join.Add(), h.Now()
		r.Server, r.Proxy, r.Err = s.Name, cfg.proxyOf(s), context.DeadlineExceeded
		var tried *turn.Host
		var late host.Timer
		end := func() {
			r.Took = h.Now().Sub(began)
			late.Stop()
			tried.Close(ended)
		}
		tried, err = turn.New(h, turn.Config{Servers: []turn.Server{s}, OnUp: func(at netip.AddrPort) {
			r.Relayed, r.Err = at, nil
			end()
		}, OnDown: func(err error) {
			if !r.Relayed.IsValid() {
				r.Err = err
				end()
			}
		}})
		if err != nil {
			return err
		}
		late = h.AfterFunc(turnTrial, end)
	}
	h.Defer(begun)
	return nil
}

// proxyOf returns the proxy of a server as text.
func (c *TURNConfig) proxyOf(s turn.Server) string {
	uri, err := turn.ParseURI(s.Name)
	if err != nil || uri.UDP || c.Proxy == nil || c.Dial != nil {
		return ""
	}
	if u, err := c.Proxy(uri.Addr()); err == nil && u != nil {
		return u.Host
	}
	return ""
}
