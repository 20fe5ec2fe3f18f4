package scraper

import (
	"log/slog"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/adapters/targets"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Config is what a scraper is, and whom it takes.
type Config struct {
	// Seed is the scraper's identity, which clients know: it has to stay. Secrets are what clients prove themselves
	// with; any of them will do, so that they can be replaced one after the other.
	Seed    domain.Seed
	Secrets []domain.Secret

	// Path is the file that keeps the aliases across restarts. Empty: they are in memory, and clients register again
	// within their interval.
	Path string
	// OpenStore opens a store of your own in place of Path, which the scraper closes; nil: none. One that is a ports.PinStore,
	// too, keeps pins. portstest.TestAliasStore has the contract as tests.
	OpenStore func(loop host.Host) (ports.AliasStore, error)
	// TargetsFile is a file for Prometheus's file service discovery; empty: none. Where the store is new, and not in memory, the aliases
	// of a TargetsFile that is there, of the JavaScript bridge, are taken over.
	TargetsFile string

	Expiry         time.Duration // of an alias that nobody renews; 3 h by default
	CheckInterval  time.Duration // how often expired aliases are dropped; 1 h by default
	RequestTimeout time.Duration // bounds a scrape whose caller set no bound; 5 s by default
	MaxAliases     int           // 10,000 by default
	RequireProof   bool          // refuse clients that do not prove that they hold the key they register
	PinAliases     bool          // refuse a live alias to all keys but the one that has it

	Clock   ports.Clock        // wall time, for shown and stored times; dhtprom.Clock by default
	Logger  *slog.Logger       // gets every event as a line; nil: no logging
	OnEvent func(domain.Event) // runs on the node's loop and must not wait; may be nil
}

// StoreError says that the store could not be opened, and why.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *StoreError) Unwrap() error { return e.Err }

// app is the configuration of the use case, without a store.
func (c *Config) app(n *dhtprom.Node) (app.ScraperConfig, error) {
	if c.Seed.IsZero() {
		return app.ScraperConfig{}, &app.ConfigError{Field: "Seed", Want: "want the 32-byte seed of the scraper's key pair"}
	}
	if c.Clock == nil {
		c.Clock = dhtprom.Clock{}
	}
	cfg := app.ScraperConfig{
		Host: n.Host(), Transport: n.Transport(), KeepTransport: true, Clock: c.Clock, Keys: domain.KeyPairFromSeed(c.Seed),
		Secrets: c.Secrets, Expiry: c.Expiry, CheckInterval: c.CheckInterval, RequestTimeout: c.RequestTimeout,
		MaxAliases: c.MaxAliases, RequireProof: c.RequireProof, PinAliases: c.PinAliases, OnEvent: c.OnEvent,
	}
	if c.Logger != nil {
		tell := app.LogEvents(n.Host(), c.Logger)
		cfg.OnEvent = func(e domain.Event) {
			tell(e)
			if c.OnEvent != nil {
				c.OnEvent(e)
			}
		}
	}
	return cfg, nil
}

// files adds the files to a configuration: the store and what is written for Prometheus. release closes the store where
// the scraper does not.
func (c *Config) files(n *dhtprom.Node, cfg *app.ScraperConfig) (release func(), err error) {
	var file *targets.File
	if c.TargetsFile != "" {
		file = targets.New(n.Host(), c.TargetsFile)
		cfg.Targets = file
	}
	open := c.OpenStore
	switch {
	case open != nil:
	case c.Path != "":
		open = func(loop host.Host) (ports.AliasStore, error) { return bolt.Open(loop, c.Path) }
	default:
		cfg.Store = memory{n.Host()}
		return func() {}, nil
	}
	if cfg.Store, err = open(n.Host()); err != nil {
		return nil, &StoreError{err}
	}
	cfg.Pins, _ = cfg.Store.(ports.PinStore)
	if file != nil {
		cfg.Import = file
	}
	return func() { cfg.Store.Close(func(error) {}) }, nil
}

// memory is an alias store that lasts as long as the process.
type memory struct{ loop host.Host }

func (m memory) Load(done func([]domain.Entry, []error, error)) {
	m.loop.Post(func() { done(nil, nil, nil) })
}
func (m memory) OnDamage(func(domain.StoreDamage))         {}
func (m memory) Put(_ domain.Entry, done func(error))      { m.loop.Post(func() { done(nil) }) }
func (m memory) Delete(_ []domain.Alias, done func(error)) { m.loop.Post(func() { done(nil) }) }
func (m memory) Close(done func(error))                    { m.loop.Post(func() { done(nil) }) }
