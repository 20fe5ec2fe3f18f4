package scraper

import (
	"context"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// Scraper accepts registrations and scrapes those who registered, until its context ends or it is closed. Its methods
// are for any goroutine, but not for the node's loop.
type Scraper struct {
	node    *dhtprom.Node
	part    *dhtprom.Part
	scraper *app.Scraper
	cfg     Config

	mu     sync.Mutex
	secret domain.Secret // the first of those that are valid now
}

// Start is New and Scraper.Start.
func Start(ctx context.Context, n *dhtprom.Node, cfg Config) (*Scraper, error) {
	s, err := New(n, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// New makes a scraper on a node, which goes on until the scraper is closed, or the node is. Its files are opened; nothing
// else happens before Start.
func New(n *dhtprom.Node, cfg Config) (*Scraper, error) {
	s := &Scraper{node: n, cfg: cfg}
	use, err := s.cfg.app(n)
	if err != nil {
		return nil, err
	}
	var release func()
	s.part, err = n.NewPart("the scraper", func(done func()) {
		if s.scraper == nil {
			done()
			return
		}
		s.scraper.Close(done)
	}, func() {
		if release != nil {
			release() // where the loop had no time for it; twice is harmless
		}
	})
	if err != nil {
		return nil, err
	}
	if release, err = s.cfg.files(n, &use); err == nil {
		err = n.Do(context.Background(), func() (err error) {
			s.scraper, err = app.NewScraper(use)
			return err
		})
	}
	if err != nil {
		_ = s.part.Close() // there is nothing to be told
		return nil, err
	}
	s.secret = s.cfg.Secrets[0]
	return s, nil
}

// Provide is New as a provider for github.com/google/wire; package wiring has the set.
func Provide(n *dhtprom.Node, cfg Config) (s *Scraper, cleanup func(), err error) {
	if s, err = New(n, cfg); err != nil {
		return nil, nil, err
	}
	return s, func() { _ = s.Close() }, nil
}

// Start starts the scraper and returns when clients can find it, or ctx ends; where it fails, the scraper is closed. It
// ends with ctx.
func (s *Scraper) Start(ctx context.Context) error { return s.part.Start(ctx, s.scraper.Start) }

// PublicKey is what clients know the scraper by.
func (s *Scraper) PublicKey() domain.PublicKey { return s.scraper.PublicKey() }

// Invite is all that a client needs to register here, with the first of the secrets: hand it over as you would a password. The bootstrap nodes are those of a private DHT as clients reach them; none is the public one.
func (s *Scraper) Invite(bootstrap ...string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return domain.Invite{Scraper: s.PublicKey(), Secret: s.secret, Bootstrap: bootstrap}.Reveal()
}

// SetSecrets replaces the secrets that clients may register with. Aliases that were registered with others stay until they
// expire.
func (s *Scraper) SetSecrets(ctx context.Context, secrets []domain.Secret) error {
	return s.node.Do(ctx, func() error {
		err := s.scraper.SetSecrets(secrets)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.secret = secrets[0]
		}
		return err
	})
}

// Scrape asks the client behind an alias for its metrics, and waits no longer than ctx allows. The error is, or wraps,
// domain.ErrUnknownAlias, ErrNotConnected, ErrTimeout or ErrClosed, or a *domain.RemoteError.
func (s *Scraper) Scrape(ctx context.Context, alias string) ([]byte, error) {
	within := time.Duration(0) // as configured
	if deadline, ok := ctx.Deadline(); ok {
		within = max(time.Until(deadline), time.Nanosecond)
	}
	type result struct {
		body []byte
		err  error
	}
	r, err := bridge.Call(ctx, s.node.Host(), func(done func(result)) func() {
		return s.scraper.Scrape(domain.Alias(alias), within, func(body []byte, err error) { done(result{body, err}) })
	})
	return r.body, dhtprom.Outcome(r.err, err)
}

// Aliases lists who is registered, by alias.
func (s *Scraper) Aliases(ctx context.Context) (all []domain.AliasStatus, err error) {
	err = s.node.Do(ctx, func() error {
		all = s.scraper.Aliases()
		return nil
	})
	return all, err
}

// Done is closed when the scraper is.
func (s *Scraper) Done() <-chan struct{} { return s.part.Done() }

// Close stops accepting registrations, ends the connections to clients and closes the store. It waits, for
// dhtprom.CloseTimeout at most. Later calls wait for the first and return the same.
func (s *Scraper) Close() error { return s.part.Close() }
