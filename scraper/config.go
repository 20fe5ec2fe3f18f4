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

// Config configures a scraper.
type Config struct {
	// Seed is the scraper's identity, which clients know: it must stay the same. Secrets authorize clients; each of them is
	// valid, so that they can be rotated.
	Seed    domain.Seed
	Secrets []domain.Secret
	// Identities have secrets of their own, which register only what the identity allows. Where there are some, Secrets may be empty. If it
	// is nil and aliases of identities are stored, Start returns domain.ErrNoIdentities: an empty list removes these aliases.
	Identities []domain.Identity

	// Path is the file that keeps the aliases across restarts. If empty, they are in memory, and clients register again within
	// their interval.
	Path string
	// OpenStore opens another store in place of Path, which the scraper closes; nil means none. A store that is also a
	// ports.PinStore keeps pins. portstest.TestAliasStore tests the contract.
	OpenStore func(loop host.Host) (ports.AliasStore, error)
	// Group makes the scraper a member of a group, whose table is in place of Path and OpenStore; nil: it is in none.
	Group *GroupConfig
	// TargetsFile is a file for Prometheus's file service discovery; empty means none. If the store is new, and not in memory,
	// the aliases of an existing TargetsFile of the JavaScript bridge are imported.
	TargetsFile string

	Expiry         time.Duration // of an alias that is not renewed; 3 h by default
	CheckInterval  time.Duration // between removals of expired aliases; 1 h by default
	RequestTimeout time.Duration // bounds a scrape whose caller set no bound; 5 s by default
	MaxAliases     int           // 50,000 by default
	RequireProof   bool          // reject registrations without a proof that the client holds the key
	PinAliases     bool          // reject registrations of a live alias from other keys

	Clock   ports.Clock        // wall time, for displayed and stored times; dhtprom.Clock by default
	Logger  *slog.Logger       // logs every event; nil: no logging
	OnEvent func(domain.Event) // runs on the node's loop and must not wait; may be nil
}

// StoreError reports that the store could not be opened.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// app returns the configuration of the use case, without a store.
func (c *Config) app(n *dhtprom.Node) (app.ScraperConfig, error) {
	if c.Seed.IsZero() {
		return app.ScraperConfig{}, errNoSeed
	}
	if c.Group != nil {
		if err := c.Group.check(c); err != nil {
			return app.ScraperConfig{}, err
		}
	}
	if c.Clock == nil {
		c.Clock = dhtprom.Clock{}
	}
	cfg := app.ScraperConfig{
		Host: n.Host(), Transport: n.Transport(), KeepTransport: true, Clock: c.Clock, Keys: domain.KeyPairFromSeed(c.Seed),
		Secrets: c.Secrets, Identities: c.Identities, Expiry: c.Expiry, CheckInterval: c.CheckInterval, RequestTimeout: c.RequestTimeout,
		MaxAliases: c.MaxAliases, RequireProof: c.RequireProof, PinAliases: c.PinAliases,
	}
	cfg.OnEvent = events(n, c.Logger, c.OnEvent)
	return cfg, nil
}

var errNoSeed error = &app.ConfigError{Field: "Seed", Want: "want the 32-byte seed of the scraper's key pair"}

// events returns the handler of events that logs them and passes them on; either may be nil.
func events(n *dhtprom.Node, logger *slog.Logger, on func(domain.Event)) func(domain.Event) {
	if logger == nil {
		return on
	}
	log := app.LogEvents(n.Host(), logger)
	return func(e domain.Event) {
		log(e)
		if on != nil {
			on(e)
		}
	}
}

// files adds the files to a configuration: the store and the targets file. release closes the store if the scraper does not.
func (c *Config) files(n *dhtprom.Node, cfg *app.ScraperConfig) (release func(), err error) {
	var file *targets.File
	if c.TargetsFile != "" {
		file = targets.New(n.Host(), c.TargetsFile)
		cfg.Targets = file
	}
	if c.Group != nil {
		if file != nil {
			cfg.Import = file
		}
		return c.Group.open(n, c.Seed, cfg)
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
	if file != nil {
		cfg.Import = file
	}
	return func() { cfg.Store.Close(func(error) {}) }, nil
}

// memory is the store of a scraper that keeps aliases and pins in memory alone.
type memory struct{ loop host.Host }

func (m memory) Load(done func([]domain.Entry, []error, error)) {
	m.loop.Post(func() { done(nil, nil, nil) })
}
func (m memory) OnDamage(func(domain.StoreDamage))           {}
func (m memory) Put(_ domain.Entry, done func(error))        { m.loop.Post(func() { done(nil) }) }
func (m memory) PutSet(_ domain.SetChange, done func(error)) { m.loop.Post(func() { done(nil) }) }
func (m memory) Delete(_ []domain.Alias, done func(error))   { m.loop.Post(func() { done(nil) }) }
func (m memory) LoadPins(done func([]domain.Pin, []error, error)) {
	m.loop.Post(func() { done(nil, nil, nil) })
}
func (m memory) PutPin(_ domain.Pin, done func(error))      { m.loop.Post(func() { done(nil) }) }
func (m memory) DeletePin(_ domain.Alias, done func(error)) { m.loop.Post(func() { done(nil) }) }
func (m memory) Close(done func(error))                     { m.loop.Post(func() { done(nil) }) }
