package scraper

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// Scraper accepts registrations and scrapes the registered clients, until its context ends or it is closed. Its methods may be
// called from any goroutine, but not on the node's loop.
type Scraper struct {
	node    *dhtprom.Node
	part    *part.Part
	scraper *app.Scraper
	cfg     Config
	loaded  chan struct{} // closed when the alias table is complete

	mu      sync.Mutex
	secrets map[string]domain.Secret // the first of the valid ones of each identity
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

// New creates a scraper on a node, to be closed by its own Close or by the node's. It opens its files; nothing else happens
// before Start.
func New(n *dhtprom.Node, cfg Config) (*Scraper, error) {
	s := &Scraper{node: n, cfg: cfg, loaded: make(chan struct{})}
	use, err := s.cfg.app(n)
	if err != nil {
		return nil, err
	}
	use.OnLoaded = func() { close(s.loaded) }
	var release func()
	s.part, err = part.New(n.Host(), "the scraper", func(done func()) {
		if s.scraper == nil {
			done()
			return
		}
		s.scraper.Close(done)
	}, func() {
		if release != nil {
			release() // in case the loop had no time for it; twice is harmless
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
		_ = s.part.Close() // err is the cause
		return nil, err
	}
	s.keep(s.cfg.Secrets, s.cfg.Identities)
	return s, nil
}

// Provide is New as a provider for github.com/google/wire; package wiring has the set.
func Provide(n *dhtprom.Node, cfg Config) (s *Scraper, cleanup func(), err error) {
	if s, err = New(n, cfg); err != nil {
		return nil, nil, err
	}
	return s, func() { _ = s.Close() }, nil
}

// Start starts the scraper and returns when clients can find it, or ctx ends; if it fails, the scraper is closed. The scraper
// closes with ctx.
func (s *Scraper) Start(ctx context.Context) error { return s.part.Start(ctx, s.scraper.Start) }

// Loaded waits until the alias table has been read from the store, after Start was called: aliases of earlier runs can be scraped
// from then on.
func (s *Scraper) Loaded(ctx context.Context) error {
	select {
	case <-s.loaded:
		return nil
	case <-s.Done():
		return dhtprom.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PublicKey is the key that clients know.
func (s *Scraper) PublicKey() domain.PublicKey { return s.scraper.PublicKey() }

// Invite returns an invite, which has all that a client needs to register here, with the first of the secrets: treat it as a
// password. The bootstrap nodes are those of a private DHT as clients reach them; none means the public one.
func (s *Scraper) Invite(bootstrap ...string) (string, error) {
	return s.InviteAs(domain.SharedIdentity, bootstrap...)
}

// InviteAs is Invite with the first secret of an identity.
func (s *Scraper) InviteAs(identity string, bootstrap ...string) (string, error) {
	s.mu.Lock()
	secret, ok := s.secrets[identity]
	s.mu.Unlock()
	if !ok {
		return "", fmt.Errorf("%w: there is none called %q", domain.ErrIdentity, domain.IdentityTitle(identity))
	}
	return domain.Invite{Scraper: s.PublicKey(), Secret: secret, Bootstrap: bootstrap}.Reveal()
}

// SetSecrets replaces the secrets of clients without an identity. Aliases registered with old ones stay until they expire.
func (s *Scraper) SetSecrets(ctx context.Context, secrets []domain.Secret) error {
	return s.setSecrets(ctx, func() error { return s.scraper.SetSecrets(secrets) })
}

// SetIdentities replaces the secrets of clients without an identity, as SetSecrets does, and the identities. The aliases of those that
// are gone are removed.
func (s *Scraper) SetIdentities(ctx context.Context, shared []domain.Secret, named []domain.Identity) error {
	return s.setSecrets(ctx, func() error { return s.scraper.SetIdentities(shared, named) })
}

// setSecrets changes secrets on the loop.
func (s *Scraper) setSecrets(ctx context.Context, f func() error) error {
	return s.node.Do(ctx, func() error {
		err := f()
		if err == nil {
			s.keep(s.scraper.Secrets(), s.scraper.Identities())
		}
		return err
	})
}

// keep keeps the secrets for invites.
func (s *Scraper) keep(shared []domain.Secret, named []domain.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = map[string]domain.Secret{}
	for _, i := range append(slices.Clone(named), domain.Identity{Name: domain.SharedIdentity, Secrets: shared}) {
		if len(i.Secrets) > 0 {
			s.secrets[i.Name] = i.Secrets[0]
		}
	}
}

// Scrape requests the metrics of the client behind an alias, and waits no longer than ctx allows. The error is, or wraps,
// domain.ErrUnknownAlias, ErrNotConnected, ErrTimeout or ErrClosed, or a *domain.RemoteError.
func (s *Scraper) Scrape(ctx context.Context, alias string) ([]byte, error) {
	return call(ctx, s.node, func(done func([]byte, error)) func() { return s.scraper.Scrape(domain.Alias(alias), within(ctx), done) })
}

// within returns the time until the deadline of a context, 0 if it has none: as configured.
func within(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Nanosecond)
	}
	return 0
}

// call starts something on the loop of a node and waits for its result.
func call[T any](ctx context.Context, n *dhtprom.Node, start func(done func(T, error)) (cancel func())) (T, error) {
	type result struct {
		value T
		err   error
	}
	r, err := bridge.Call(ctx, n.Host(), func(done func(result)) func() {
		return start(func(value T, err error) { done(result{value, err}) })
	})
	return r.value, part.Outcome(r.err, err)
}

// Aliases lists the registered aliases.
func (s *Scraper) Aliases(ctx context.Context) ([]domain.AliasStatus, error) {
	return read(ctx, s, s.scraper.Aliases)
}

// Done returns a channel that is closed with the scraper.
func (s *Scraper) Done() <-chan struct{} { return s.part.Done() }

// Close stops accepting registrations, closes the connections to clients and closes the store. It waits, for dhtprom.CloseTimeout
// at most. Later calls wait for the first and return the same error.
func (s *Scraper) Close() error { return s.part.Close() }
