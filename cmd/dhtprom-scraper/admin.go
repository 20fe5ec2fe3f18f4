package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/unix"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

// adminSocket is the socket in the storage path over which commands on the same machine reach a running scraper. The folder has the
// secrets, so its owner may change aliases without a password.
const adminSocket = "admin.sock"

// adminMode lets the user of the scraper connect, and root.
const adminMode = 0o600

// admin marks the connections of the admin socket in the context of their requests.
type admin struct{}

// isAdmin reports whether a request arrived over the admin socket.
func isAdmin(r *http.Request) bool { return r.Context().Value(admin{}) != nil }

// serveAdmin serves the admin socket. A scraper without it works: the commands need --url then.
func (p *program) serveAdmin() {
	path := filepath.Join(p.cfg.storage, adminSocket)
	l, err := unix.Listen(path, adminMode)
	switch {
	case errors.Is(err, unix.ErrUnsupported):
		return
	case err != nil:
		p.log.Warn("Commands on this machine need --url: no socket for them", "path", path, "err", err)
		return
	}
	server := p.servers.addAdmin()
	if server == nil {
		_ = l.Close()
		return
	}
	p.admin = l
	go func() {
		if err := served(server.Serve(l)); err != nil {
			p.log.Warn("The socket for commands has failed", "path", path, "err", err)
		}
	}()
}

// addAdmin creates the server of the admin socket; nil after shut.
func (s *servers) addAdmin() *http.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ReadTimeout: web.RequestTimeout, WriteTimeout: web.RequestTimeout, Protocols: cli.Protocols(),
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, admin{}, true) },
	}
	s.all = append(s.all, server)
	return server
}
