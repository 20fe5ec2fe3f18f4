package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const (
	// targetTime bounds the wait for a connection to the target of a tunnel.
	targetTime = 10 * time.Second
	// acceptPause is the wait after a failed accept, such as for want of file descriptors.
	acceptPause = 100 * time.Millisecond
)

// serverConfig has the values of the flags of tunnel server.
type serverConfig struct {
	nodeConfig
	target  endpoint
	allow   []domain.PublicKey // empty: all
	private bool
	most    int // connections at a time
}

// clientConfig has the values of the flags of tunnel client.
type clientConfig struct {
	nodeConfig
	key     domain.PublicKey // zero if private
	listen  endpoint
	private bool
	most    int // connections at a time
}

// endpoint is one end of a tunnel on this machine: TCP, or a Unix socket.
type endpoint struct{ network, address string }

// parseEndpoint parses HOST:PORT or unix:PATH.
func parseEndpoint(s string) (endpoint, error) {
	if path, is := unix.Path(s); is && path != "" {
		return endpoint{"unix", path}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" {
		return endpoint{}, fmt.Errorf("want HOST:PORT like 127.0.0.1:8080, or unix:PATH, got %q", s)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return endpoint{}, fmt.Errorf("want a port from 0 to 65535, got %q", port)
	}
	return endpoint{"tcp", s}, nil
}

// parseTarget parses an endpoint to connect to.
func parseTarget(s string) (endpoint, error) {
	e, err := parseEndpoint(s)
	if err == nil && strings.HasSuffix(s, ":0") {
		err = fmt.Errorf("want the port of the target, got %q", s)
	}
	return e, err
}

// socketMode lets the user alone connect to the Unix socket of a tunnel.
const socketMode = 0o600

func (e endpoint) listen() (net.Listener, error) {
	if e.network == "unix" {
		return unix.Listen(e.address, socketMode)
	}
	return net.Listen(e.network, e.address)
}

func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: targetTime}
	return d.DialContext(ctx, e.network, e.address)
}

// tunnelServer connects the callers of a key to a target, until ctx ends.
func (p program) tunnelServer(ctx context.Context, cfg serverConfig) (err error) {
	seed, err := cfg.ownSeed(p)
	if err != nil {
		return err
	}
	n, err := p.stay(ctx, cfg.node, seed)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	keys := keysOf(seed)
	l, err := n.Listen(ctx, hyperdht.ListenOptions{
		Keys: keys, Admit: cfg.admit(keys.Public), RelayThrough: cfg.relays(), ReusableSocket: true,
	})
	if err != nil {
		return stopped(ctx, err)
	}
	if err := p.println(keys.Public); err != nil {
		return err
	}
	p.log.Info("Serving", "target", cfg.target.address, "public_key", keys.Public.String(), "hex", keys.Public.Hex())
	return p.forward(ctx, l, cfg.most, cfg.target.dial)
}

// admit returns the rule for callers: all keys, some, or the server's own, which only those have that know its seed.
func (c serverConfig) admit(own id.PublicKey) func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool {
	if c.private {
		return only(own)
	}
	if len(c.allow) == 0 {
		return nil
	}
	return func(remote id.PublicKey, _ *hyperdht.HandshakePayload, _ netip.AddrPort) bool {
		return slices.Contains(c.allow, domain.PublicKey(remote))
	}
}

// only returns a rule that admits one key.
func only(key id.PublicKey) func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool {
	return func(remote id.PublicKey, _ *hyperdht.HandshakePayload, _ netip.AddrPort) bool { return remote == key }
}

// tunnelClient connects the callers of an address of this machine to the server with a key, until ctx ends.
func (p program) tunnelClient(ctx context.Context, cfg clientConfig) (err error) {
	seed, err := cfg.seed(p)
	if cfg.private {
		seed, err = cfg.ownSeed(p)
	}
	if err != nil {
		return err
	}
	key := id.PublicKey(cfg.key)
	if cfg.private {
		key = keysOf(seed).Public
	}
	l, err := cfg.listen.listen()
	if err != nil {
		return fmt.Errorf("--listen-address: %w", err)
	}
	defer l.Close()
	n, err := p.stay(ctx, cfg.node, seed)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := p.println(l.Addr()); err != nil {
		return err
	}
	p.log.Info("Listening", "address", l.Addr().String(), "server", key.String())
	options := cfg.dialOptions()
	options.ReusableSocket = true
	return p.forward(ctx, l, cfg.most, func(ctx context.Context) (net.Conn, error) { return n.Dial(ctx, key, options) })
}

// forward joins each connection of a listener with one of dial, up to most at a time, until ctx ends.
func (p program) forward(ctx context.Context, l net.Listener, most int, dial func(context.Context) (net.Conn, error)) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, most)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			p.log.Info("Stopping")
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			p.log.Warn("No connection was accepted", "err", err)
			time.Sleep(acceptPause)
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			p.log.Warn("A connection was closed: there are as many as --max-connections allows", "from", c.RemoteAddr().String())
			_ = c.Close()
			continue
		}
		all.Go(func() {
			p.carry(ctx, c, dial)
			<-places
		})
	}
}

// carry joins a connection with one of dial, until both have ended, or ctx has.
func (p program) carry(ctx context.Context, near net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer near.Close()
	from := near.RemoteAddr().String()
	far, err := dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Warn("A connection failed", "from", from, "err", err)
		}
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })()
	p.log.Debug("Connected", "from", from, "to", far.RemoteAddr().String())
	err = join(near, far)
	p.log.Debug("Connection ended", "from", from, "err", err)
}

// join passes bytes between two connections. The end of one direction leaves the other one open; an error ends both.
func join(a, b net.Conn) error {
	results := make(chan error, 2)
	pass := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = to.(interface{ CloseWrite() error }).CloseWrite()
		}
		if err != nil {
			_, _ = a.Close(), b.Close()
		}
		results <- err
	}
	go pass(a, b)
	go pass(b, a)
	first, second := <-results, <-results
	if first == nil {
		first = second
	}
	return first
}
