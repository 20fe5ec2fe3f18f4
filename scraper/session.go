package scraper

import (
	"context"
	"log/slog"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/part"
)

// SessionConfig configures a Session.
type SessionConfig struct {
	// Seed is the identity that the client admits: that of its scraper.
	Seed domain.Seed
	// Client is the key of the client's metrics server.
	Client domain.PublicKey
	// RequestTimeout bounds a request whose context has no deadline; 5 s by default.
	RequestTimeout time.Duration
	Logger         *slog.Logger       // logs every event; nil: no logging
	OnEvent        func(domain.Event) // runs on the node's loop and must not wait; may be nil
}

// Session is a held connection to one client whose key is known, for services that scrape without an alias table. It reconnects whenever
// the connection is lost, until its context ends or it is closed. Its methods may be called from any goroutine, but not on the node's loop.
type Session struct {
	node    *dhtprom.Node
	part    *part.Part
	session *app.Session
}

// StartSession begins to connect to a client, and does not wait for that: RequestMetrics does. The session closes with ctx, by its own
// Close, or by the node's. The error is an *app.ConfigError, or dhtprom.ErrClosed on a closed node.
func StartSession(ctx context.Context, n *dhtprom.Node, cfg SessionConfig) (*Session, error) {
	if cfg.Seed.IsZero() {
		return nil, errNoSeed
	}
	s := &Session{node: n}
	err := n.Do(ctx, func() (err error) {
		s.session, err = app.NewSession(app.SessionConfig{
			Host: n.Host(), Transport: n.Transport(), Keys: domain.KeyPairFromSeed(cfg.Seed), Client: cfg.Client,
			RequestTimeout: cfg.RequestTimeout, OnEvent: events(n, cfg.Logger, cfg.OnEvent),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	s.part, err = part.New(n.Host(), "the session", func(done func()) {
		s.session.Close()
		n.Host().Post(done)
	}, nil)
	if err != nil {
		return nil, err
	}
	return s, s.part.Start(ctx, func(done func(error)) {
		s.session.Start()
		done(nil)
	})
}

// RequestMetrics requests the client's metrics in the text format, and waits no longer than ctx allows, for a connection that is being made
// too. It fails at once while the session waits to dial again. The error is, or wraps, domain.ErrNotConnected, ErrTimeout or ErrClosed, a
// *domain.RemoteError if the client failed, or a *domain.StatusError of its exporter.
func (s *Session) RequestMetrics(ctx context.Context) ([]byte, error) {
	return call(ctx, s.node, func(done func([]byte, error)) func() { return s.session.RequestMetrics(within(ctx), done) })
}

// State returns the state of the connection, and the reason for which there is none; nil while there is one, or before the first dial has
// failed.
func (s *Session) State(ctx context.Context) (state domain.SessionState, why error, err error) {
	err = s.node.Do(ctx, func() error {
		state, why = s.session.State(), s.session.LastError()
		return nil
	})
	return state, why, err
}

// Peer returns the client with its address and path; false without a connection.
func (s *Session) Peer(ctx context.Context) (peer domain.Peer, connected bool, err error) {
	err = s.node.Do(ctx, func() error {
		peer, connected = s.session.Peer()
		return nil
	})
	return peer, connected, err
}

// Done returns a channel that is closed with the session.
func (s *Session) Done() <-chan struct{} { return s.part.Done() }

// Close disconnects; requests under way fail with dhtprom.ErrClosed. It waits, for dhtprom.CloseTimeout at most. Later calls wait for the
// first and return the same error.
func (s *Session) Close() error { return s.part.Close() }
