package dhtprom

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/adapters/targets"
	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// ScraperConfig is a scraper within a service.
type ScraperConfig struct {
	// Seed is the scraper's identity, which clients know: it has to stay. Secrets are what clients prove themselves
	// with; any of them will do, so that they can be replaced one after the other.
	Seed    domain.Seed
	Secrets []domain.Secret

	// Path is the file that keeps the aliases across restarts. Empty: they are in memory, and clients register again
	// within their interval.
	Path string
	// TargetsFile is a file for Prometheus's file service discovery; empty: none.
	TargetsFile string

	Expiry         time.Duration // of an alias that nobody renews; 3 h by default
	CheckInterval  time.Duration // how often expired aliases are dropped; 1 h by default
	RequestTimeout time.Duration // bounds a scrape whose caller set no bound; 5 s by default
	MaxAliases     int           // 10,000 by default
	RequireProof   bool          // refuse clients that do not prove that they hold the key they register
	PinAliases     bool          // refuse a live alias to all keys but the one that has it

	Clock   ports.Clock        // wall time, for shown and stored times; the machine's by default
	Logger  *slog.Logger       // gets every event as a line; nil: no logging
	OnEvent func(domain.Event) // runs on the node's loop and must not wait; may be nil
}

// Scraper accepts registrations and scrapes those who registered, until its context ends or it is closed. Its methods
// are for any goroutine, but not for the node's loop.
type Scraper struct {
	node    *Node
	scraper *app.Scraper
	secret  domain.Secret
	log     *slog.Logger

	timeout time.Duration // of a scrape whose caller sets none; 0 for the default
	expiry  time.Duration // of an alias; likewise

	release func() // closes the store, if nothing else has
	cancel  func() // lets go of the context
	once    sync.Once
	done    chan struct{}
	err     error // of Close, once done
}

// wall is the machine's clock.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

// StartScraper starts a scraper and returns when clients can find it, or ctx ends.
func (n *Node) StartScraper(ctx context.Context, cfg ScraperConfig) (*Scraper, error) {
	if cfg.Seed.IsZero() {
		return nil, &app.ConfigError{Field: "Seed", Want: "want the 32-byte seed of the scraper's key pair"}
	}
	if cfg.Clock == nil {
		cfg.Clock = wall{}
	}
	acfg := app.ScraperConfig{
		Host: n.host, Transport: n.transport, KeepTransport: true, Clock: cfg.Clock, Keys: domain.KeyPairFromSeed(cfg.Seed),
		Secrets: cfg.Secrets, Expiry: cfg.Expiry, CheckInterval: cfg.CheckInterval, RequestTimeout: cfg.RequestTimeout,
		MaxAliases: cfg.MaxAliases, RequireProof: cfg.RequireProof, PinAliases: cfg.PinAliases,
		OnEvent: n.events(cfg.Logger, cfg.OnEvent),
	}
	if cfg.TargetsFile != "" {
		acfg.Targets = targets.New(n.host, cfg.TargetsFile)
	}
	s := &Scraper{node: n, log: cfg.Logger, timeout: cfg.RequestTimeout, expiry: cfg.Expiry, release: func() {}, done: make(chan struct{})}
	if n.isClosed() {
		return nil, ErrClosed
	}
	if cfg.Path == "" {
		acfg.Store = &memory{loop: n.host}
	} else {
		store, err := bolt.Open(n.host, cfg.Path)
		if err != nil {
			return nil, err
		}
		acfg.Store, acfg.Pins = store, store
		s.release = func() { store.Close(func(error) {}) }
	}
	err := n.do(func() (err error) {
		s.scraper, err = app.NewScraper(acfg)
		return err
	})
	if err != nil {
		s.release()
		return nil, err
	}
	s.secret = cfg.Secrets[0]
	own, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	if err := n.start(ctx, s, s.scraper.Start); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	context.AfterFunc(own, func() { _ = s.Close() })
	return s, nil
}

// PublicKey is what clients know the scraper by.
func (s *Scraper) PublicKey() domain.PublicKey { return s.scraper.PublicKey() }

// Invite is all that a client needs to register here, with the first of the secrets: hand it over as you would a
// password. The bootstrap nodes are those of a private DHT as clients reach them; none is the public one.
func (s *Scraper) Invite(bootstrap ...string) (string, error) {
	return domain.Invite{Scraper: s.PublicKey(), Secret: s.secret, Bootstrap: bootstrap}.Reveal()
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
	r, err := bridge.Call(ctx, s.node.host, func(done func(result)) func() {
		return s.scraper.Scrape(domain.Alias(alias), within, func(body []byte, err error) { done(result{body, err}) })
	})
	return r.body, outcome(r.err, err)
}

// Aliases lists who is registered, by alias.
func (s *Scraper) Aliases() (all []domain.AliasStatus, err error) {
	err = s.node.do(func() error {
		all = s.scraper.Aliases()
		return nil
	})
	return all, err
}

// HandlerConfig says how a scraper's HTTP side is reached.
type HandlerConfig struct {
	// RoutePrefix is the path below which requests arrive, for a handler that is mounted below the root of a service;
	// links and service discovery name paths below it. Empty: that of ExternalURL, or none.
	RoutePrefix string
	// ExternalURL is where others reach the handler, through a proxy perhaps; nil: wherever a request says it did.
	ExternalURL *url.URL
	// Hosts are the host names to answer under, besides IP addresses, localhost and names of this machine and of ExternalURL;
	// requests under other names get status 421. It keeps web sites from reading metrics through the browsers of their
	// visitors (DNS rebinding). Nil: any name, for services that see to that by themselves.
	Hosts []string
	// Collectors are more metrics for /metrics.
	Collectors []prometheus.Collector
}

// Handler is what dhtprom-scraper serves over HTTP: /scrape/{alias}/metrics, service discovery, the status page, its own
// metrics and health. The collectors are more metrics for /metrics.
func (s *Scraper) Handler(more ...prometheus.Collector) (http.Handler, error) {
	return s.HandlerWith(HandlerConfig{Collectors: more})
}

// HandlerWith is Handler with a configuration. A scrape whose caller sets no bound takes ScraperConfig.RequestTimeout at
// most.
func (s *Scraper) HandlerWith(cfg HandlerConfig) (http.Handler, error) {
	log := s.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := web.Config{
		Loop: s.node.host, Scraper: s.scraper, Log: log, ScrapeTimeout: s.timeout, Expiry: s.expiry, Collectors: cfg.Collectors, ExternalURL: cfg.ExternalURL,
	}
	if cfg.RoutePrefix != "" {
		c.RoutePrefix = &cfg.RoutePrefix
	}
	if cfg.Hosts == nil {
		return web.New(c)
	}
	names := cfg.Hosts
	if cfg.ExternalURL != nil {
		names = append(names[:len(names):len(names)], cfg.ExternalURL.Hostname())
	}
	for _, name := range names {
		if _, err := hosts.Parse(name); err != nil {
			return nil, &app.ConfigError{Field: "Hosts", Want: err.Error()}
		}
	}
	guard := &hosts.Guard{Names: hosts.New(names...), Log: log}
	c.Hosts = guard.Names
	h, err := web.New(c)
	if err != nil {
		return nil, err
	}
	return guard.Wrap(h, true), nil
}

// Done is closed when the scraper is.
func (s *Scraper) Done() <-chan struct{} { return s.done }

// Close stops accepting registrations, ends the connections to clients and closes the store. It waits, for five seconds
// at most. Later calls wait for the first and return the same.
func (s *Scraper) Close() error {
	s.once.Do(func() {
		s.err = s.node.wait("the scraper", s.scraper.Close)
		s.release() // where the loop had no time for it
		s.node.remove(s)
		s.cancel()
		close(s.done)
	})
	return s.err
}

// memory is an alias store that lasts as long as the process.
type memory struct{ loop interface{ Post(func()) } }

func (m *memory) Load(done func([]domain.Entry, []error, error)) {
	m.loop.Post(func() { done(nil, nil, nil) })
}
func (m *memory) OnDamage(func(domain.StoreDamage))         {}
func (m *memory) Put(_ domain.Entry, done func(error))      { m.loop.Post(func() { done(nil) }) }
func (m *memory) Delete(_ []domain.Alias, done func(error)) { m.loop.Post(func() { done(nil) }) }
func (m *memory) Close(done func(error))                    { m.loop.Post(func() { done(nil) }) }
