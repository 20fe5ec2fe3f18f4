package client

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures a client: its metrics and its scrapers. It has one target, described by Alias and Gatherer or Func, or those
// of Targets.
type Config struct {
	// Invite is a scraper's invite; Scrapers are additional scrapers, or all, with their keys and secrets.
	Invite   string
	Scrapers []app.ClientScraper

	// Alias is the service's name at the scrapers. It must be unique per scraper; the most recent registration wins.
	Alias string
	// Service is the kind of service. Hostname is its host, this machine's name by default. Both become labels, and are the
	// defaults of Targets.
	Service  string
	Hostname string

	// Gatherer has the metrics; prometheus.DefaultGatherer by default. Func returns them as text instead.
	Gatherer prometheus.Gatherer
	Func     func(context.Context) (string, error)

	// Targets replace the target above; each has its own alias and key.
	Targets []Target

	// Seed is the service's identity. If zero, the client draws one, which is fine: the next run takes the alias over, unless the
	// scraper pins aliases to their keys. Clients on one node need different seeds.
	Seed domain.Seed

	RegisterInterval time.Duration // 1 h by default
	// CollectTimeout bounds one collection of metrics. By default the time of its request does, and 1 min where the request has none.
	CollectTimeout time.Duration

	Logger  *slog.Logger       // logs every event; nil: no logging
	OnEvent func(domain.Event) // runs on the node's loop and must not wait; may be nil
}

// Target is one of several targets of a process: an exporter, or metrics of its own.
type Target struct {
	Alias    string
	Service  string // the Config's if empty
	Hostname string // likewise

	// HTTP is an exporter. Without one, Gatherer and Func are as in Config.
	HTTP     *source.HTTPConfig
	Gatherer prometheus.Gatherer
	Func     func(context.Context) (string, error)

	// OwnSeed derives the target's key from Config.Seed directly, as without Targets; at most one target may set it. The keys of
	// the others depend on the seed and the alias alone (app.AliasKeys), whatever other targets there are.
	OwnSeed bool
}

// targets returns Targets, or the single target, with the defaults of the Config.
func (c *Config) targets() []Target {
	all := slices.Clone(c.Targets)
	if len(all) == 0 {
		all = []Target{{Alias: c.Alias, Gatherer: c.Gatherer, Func: c.Func, OwnSeed: true}}
	}
	hostname := c.Hostname
	if hostname == "" {
		var err error
		if hostname, err = os.Hostname(); err != nil {
			hostname = "unknown"
		}
	}
	for i := range all {
		t := &all[i]
		if t.Service == "" {
			t.Service = c.Service
		}
		if t.Hostname == "" {
			t.Hostname = hostname
		}
	}
	return all
}

// scrapers returns the scraper of the invite and the others.
func (c *Config) scrapers() ([]app.ClientScraper, error) {
	all := c.Scrapers
	if c.Invite != "" {
		v, err := parseInvite(c.Invite)
		if err != nil {
			return nil, err
		}
		all = append([]app.ClientScraper{{Key: v.Scraper, Secret: v.Secret}}, all...)
	}
	if len(all) == 0 {
		return nil, &app.ConfigError{Field: "Invite", Want: "want the invite of a scraper, or Scrapers"}
	}
	return all, nil
}

// Network is the configuration of the invite's node: in the DHT of the scraper, with its relays. Expose uses it.
func (c Config) Network() (dhtprom.NodeConfig, error) {
	cfg := dhtprom.NodeConfig{Logger: c.Logger}
	if c.Invite == "" {
		return cfg, nil
	}
	v, err := parseInvite(c.Invite)
	cfg.Bootstrap, cfg.Relays = v.Bootstrap, v.Relays
	return cfg, err
}

// Format prints the configuration without its invite, which holds a secret, whatever the verb.
func (c Config) Format(w fmt.State, _ rune) {
	fmt.Fprintf(w, "client.Config{Alias: %q, Service: %q, Hostname: %q, Targets: %d}", c.Alias, c.Service, c.Hostname, len(c.Targets))
}

// TargetError reports an invalid target, by its index in Config.Targets and its alias.
type TargetError struct {
	Index int
	Alias string
	Err   error
}

func (e *TargetError) Error() string { return fmt.Sprintf("target %q: %v", e.Alias, e.Err) }

// Unwrap returns the cause.
func (e *TargetError) Unwrap() error { return e.Err }

// Check reports the errors of New. It starts nothing and sends nothing.
func (c Config) Check() error {
	group, _, err := c.group(noLoop{}, func(domain.Alias, domain.Event) {})
	if err != nil {
		return err
	}
	return group.Check()
}

// noLoop is the loop of a configuration that is only checked: it ignores posted functions.
type noLoop struct{}

func (noLoop) Post(func())             {}
func (noLoop) Closed() <-chan struct{} { return nil }

func parseInvite(text string) (domain.Invite, error) {
	v, err := domain.ParseInvite(text)
	if err != nil {
		err = &app.ConfigError{Field: "Invite", Want: err.Error()}
	}
	return v, err
}

// group returns the configuration for package app: a client for each target, without host and transport. It also returns
// the targets' sources, in their order.
func (c *Config) group(loop host.Loop, tell func(domain.Alias, domain.Event)) (app.GroupConfig, []upstream, error) {
	scrapers, err := c.scrapers()
	if err != nil {
		return app.GroupConfig{}, nil, err
	}
	var group app.GroupConfig
	var upstreams []upstream
	for i, t := range c.targets() {
		from, err := t.source(loop)
		if err != nil {
			return app.GroupConfig{}, nil, &TargetError{i, t.Alias, err}
		}
		alias := domain.Alias(t.Alias)
		group.Clients = append(group.Clients, app.ClientConfig{
			Source: from.source, Scrapers: scrapers, Keys: c.keys(t), Alias: alias, Service: t.Service, Hostname: t.Hostname,
			RegisterInterval: c.RegisterInterval, CollectTimeout: c.CollectTimeout, OnEvent: func(e domain.Event) { tell(alias, e) },
		})
		upstreams = append(upstreams, from)
	}
	return group, upstreams, nil
}

// keys returns a target's identity; zero if app should draw it.
func (c *Config) keys(t Target) (keys domain.KeyPair) {
	switch {
	case c.Seed.IsZero():
		return keys
	case t.OwnSeed:
		return domain.KeyPairFromSeed(c.Seed)
	default:
		return app.AliasKeys(c.Seed, domain.Alias(t.Alias))
	}
}

// upstream is the source of a target's metrics.
type upstream struct {
	name   string // for people
	source *source.Source
}

func (t *Target) source(loop host.Loop) (upstream, error) {
	const own = "The metrics of this process"
	switch {
	case t.HTTP != nil:
		s, err := source.HTTP(loop, *t.HTTP)
		return upstream{"Exporter " + t.HTTP.String(), s}, err
	case t.Func != nil:
		return upstream{own, source.Func(loop, t.Func)}, nil
	case t.Gatherer != nil:
		return upstream{own, source.Gatherer(loop, t.Gatherer)}, nil
	default:
		return upstream{own, source.Gatherer(loop, prometheus.DefaultGatherer)}, nil
	}
}
