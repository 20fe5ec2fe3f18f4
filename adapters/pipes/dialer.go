package pipes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// Config configures a Dialer.
type Config struct {
	// Server is the server, as host:port.
	Server string
	// TLS is the configuration of TLS; nil means none. An empty ServerName is the host of Server.
	TLS *tls.Config
	// Proxy is an HTTP proxy to connect through, as http://[user:password@]host[:port], or https for TLS to the proxy; nil means none.
	Proxy *url.URL
}

// Dialer opens pipes to one server. It implements [pipe.Dialer].
type Dialer struct {
	loop  host.Loop
	cfg   Config
	proxy *proxy // nil for none
	net   net.Dialer
}

var _ pipe.Dialer = (*Dialer)(nil)

// New returns a dialer whose pipes belong to a loop: they end with it. It fails if the configuration is invalid.
func New(loop host.Loop, cfg Config) (*Dialer, error) {
	name, _, err := net.SplitHostPort(cfg.Server)
	if err != nil || name == "" {
		return nil, fmt.Errorf("pipes: want a server as host:port, got %q", cfg.Server)
	}
	d := &Dialer{loop: loop, cfg: cfg}
	if cfg.TLS != nil {
		d.cfg.TLS = withName(cfg.TLS, name)
	}
	if cfg.Proxy != nil {
		if d.proxy, err = newProxy(cfg.Proxy, cfg.TLS); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// withName returns a configuration for a server, which remembers its sessions: they save a round trip, and most of the processor time.
func withName(cfg *tls.Config, name string) *tls.Config {
	c := cfg.Clone()
	if c.ServerName == "" {
		c.ServerName = name
	}
	if c.ClientSessionCache == nil {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return c
}

// Dial implements [pipe.Dialer].
func (d *Dialer) Dial(done func(pipe.Pipe, error)) (cancel func()) {
	ctx, stop := context.WithTimeout(context.Background(), dialTimeout)
	canceled := false
	go func() {
		defer stop()
		conn, err := d.dial(ctx)
		d.handOver(conn, func() {
			switch {
			case canceled && conn != nil:
				_ = conn.Close()
			case canceled:
			case err != nil:
				done(nil, err)
			default:
				done(newPipe(d.loop, conn), nil)
			}
		})
	}()
	return func() {
		canceled = true
		stop()
	}
}

// handOver runs f on the loop, or closes the connection if the loop is closed.
func (d *Dialer) handOver(conn net.Conn, f func()) {
	err := bridge.Wait(context.Background(), d.loop, func(done func()) {
		f()
		done()
	})
	if err != nil && conn != nil {
		_ = conn.Close()
	}
}

// dial opens a connection, step by step. Its error is a *pipe.Error.
func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	to := d.cfg.Server
	if d.proxy != nil {
		to = d.proxy.addr
	}
	conn, err := d.net.DialContext(ctx, "tcp", to)
	if err != nil {
		step := pipe.Connect
		if _, ok := errors.AsType[*net.DNSError](err); ok {
			step = pipe.Lookup
		}
		return nil, &pipe.Error{Step: step, Err: err}
	}
	// The steps below know no contexts: a connection that closes ends them.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	opened, err := d.open(ctx, conn)
	if !stop() && err == nil { // closed in this moment
		err = &pipe.Error{Step: pipe.Connect, Err: context.Cause(ctx)}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return opened, nil
}

// open carries out the steps on a connection.
func (d *Dialer) open(ctx context.Context, conn net.Conn) (net.Conn, error) {
	var err error
	if d.proxy != nil {
		if conn, err = d.proxy.connect(ctx, conn, d.cfg.Server); err != nil {
			return nil, &pipe.Error{Step: pipe.Proxy, Err: err}
		}
	}
	if d.cfg.TLS != nil {
		secure := tls.Client(conn, d.cfg.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, &pipe.Error{Step: pipe.TLS, Err: err}
		}
		conn = secure
	}
	return conn, nil
}
