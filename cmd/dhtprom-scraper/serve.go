package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

// This file is the HTTP server: exporter-toolkit's, with three additions.
//
// The toolkit wraps the handler of a server in place when it starts to serve, so each listener has a server of its own. And it
// requires the password on every path, so health is answered before it here: probes have no password, and the answer has no
// secrets. So are scrapes that other members of the group pass on, which have an authentication of their own.

// servers are the HTTP servers of a program, one for each listener.
type servers struct {
	web        *toolkit.FlagConfig
	handler    *web.Handler
	guard      *hosts.Guard
	openHealth bool
	log        *slog.Logger

	mu     sync.Mutex
	all    []*http.Server
	closed bool
}

// systemdListeners returns the listeners that systemd passed to the process.
func systemdListeners() ([]net.Listener, error) {
	listeners, err := activation.Listeners()
	if err == nil && len(listeners) == 0 {
		err = errors.New("systemd passed no socket")
	}
	return listeners, err
}

// serve serves until shut, or until one of the listeners fails.
func (s *servers) serve(listeners []net.Listener) error {
	if len(listeners) == 0 { // vsock
		server := s.add(hosts.OtherMachines)
		if server == nil {
			return nil
		}
		return served(toolkit.ListenAndServe(server, s.web, s.log))
	}
	all := errgroup.Group{}
	for _, l := range listeners {
		server := s.add(hosts.ReachOf(l.Addr()))
		if server == nil {
			return nil
		}
		if at := l.Addr().String(); l.Addr().Network() == "unix" {
			server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return web.WithAddress(ctx, at) }
		}
		guarded := server.Handler
		l = &firstAccept{Listener: l, then: func() { server.Handler = s.openFirst(guarded, server.Handler) }}
		all.Go(func() error { return served(toolkit.Serve(l, server, s.web, s.log)) })
	}
	return all.Wait()
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// add creates a server; nil after shut.
func (s *servers) add(from hosts.Reach) *http.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	server := &http.Server{
		Handler: s.guard.Wrap(s.handler, from), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ReadTimeout: web.RequestTimeout, WriteTimeout: web.RequestTimeout, Protocols: cli.Protocols(),
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.all = append(s.all, server)
	return server
}

// shut returns the servers, to be closed, and prevents new ones.
func (s *servers) shut() []*http.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.all
}

func (s *servers) openFirst(open, protected http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.openHealth && s.handler.IsHealth(r) || s.handler.IsMember(r) {
			open.ServeHTTP(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	})
}

// firstAccept calls then once, before the first connection: the handler has been wrapped by then, and is not changed any more.
type firstAccept struct {
	net.Listener
	once sync.Once
	then func()
}

func (f *firstAccept) Accept() (net.Conn, error) {
	f.once.Do(f.then)
	return f.Listener.Accept()
}

// isVsock reports whether the toolkit binds an address.
func isVsock(address string) bool { return strings.HasPrefix(address, "vsock://") }
