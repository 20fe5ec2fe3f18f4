package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Config configures a client: its metrics and its scrapers. It has one target, described by Alias and Gatherer, Func or HTTP, or those
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

	// Gatherer has the metrics; prometheus.DefaultGatherer by default. Func returns them as text instead, and HTTP is an exporter that
	// has them.
	HTTP     Exporter
	Gatherer prometheus.Gatherer
	Func     func(context.Context) (string, error)

	// Targets, unless nil, replace the target above; each has its own alias. They share one key and one connection.
	Targets []Target
	// Labels are added to each target, beside its own.
	Labels map[string]string

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

	// Instance is its label instance, and the alias by default. Labels are more labels of the target in Prometheus.
	Instance string
	Labels   map[string]string
	// AllowHeaders are the header fields of a scrape that the target gets, beside Accept, Accept-Encoding, User-Agent, Traceparent and
	// Tracestate. AllowAuthorization is the field Authorization, which must be allowed by itself.
	AllowHeaders       []string
	AllowAuthorization bool

	// HTTP is an exporter. Without one, Gatherer and Func are as in Config.
	HTTP     Exporter
	Gatherer prometheus.Gatherer
	Func     func(context.Context) (string, error)

	// OwnSeed is for scrapers of older versions and of the JavaScript packages, with which each target is registered under a key of its
	// own: that of this target, at most one, is derived from Config.Seed directly, as without Targets. The keys of the others depend on the
	// seed and the alias alone (app.AliasKeys), whatever other targets there are.
	OwnSeed bool
}

// Exporter is the configuration of an exporter, such as an *exporter.Config of package adapters/source/exporter. It is an interface so that
// services without one do not link its HTTP client. Client.SetTargets compares it by reflect.DeepEqual.
type Exporter interface {
	Source(host.Loop) (*source.Source, error)
	String() string // for people, without passwords
}

// single reports whether the client has one target that needs no more than an alias. It is registered by that, which all scrapers know.
func (c *Config) single() bool { return c.Targets == nil && len(c.Labels) == 0 }

// targets returns Targets, or the single target, with the defaults of the Config.
func (c *Config) targets() []Target {
	all := slices.Clone(c.Targets)
	if c.Targets == nil {
		all = []Target{{Alias: c.Alias, HTTP: c.HTTP, Gatherer: c.Gatherer, Func: c.Func, OwnSeed: true}}
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
		all = append([]app.ClientScraper{{Key: v.Scraper, Secret: v.Secret, Addrs: v.Addrs}}, all...)
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
	use, _, err := c.app(noLoop{})
	if err != nil {
		return err
	}
	return use.Check()
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

// app returns the configuration for package app, without host, transport and listener, and the targets.
func (c *Config) app(loop host.Loop) (app.ClientConfig, []target, error) {
	scrapers, err := c.scrapers()
	if err != nil {
		return app.ClientConfig{}, nil, err
	}
	targets, err := c.build(loop, nil)
	if err != nil {
		return app.ClientConfig{}, nil, err
	}
	use := app.ClientConfig{Scrapers: scrapers, RegisterInterval: c.RegisterInterval, CollectTimeout: c.CollectTimeout}
	if c.single() {
		t := targets[0].app
		use.Source, use.Alias, use.Service, use.Hostname, use.Keys = t.Source, t.Alias, t.Service, t.Hostname, t.Keys
		return use, targets, nil
	}
	use.Targets = appTargets(targets)
	if !c.Seed.IsZero() {
		use.Keys = app.AliasKeys(c.Seed, "")
	}
	return use, targets, nil
}

// target is a target with its source.
type target struct {
	config   Target // with the defaults
	alias    domain.Alias
	upstream string // the source, for people
	source   *source.Source
	app      app.ClientTarget
}

// appTargets returns targets for package app.
func appTargets(targets []target) []app.ClientTarget {
	all := make([]app.ClientTarget, len(targets))
	for i, t := range targets {
		all[i] = t.app
	}
	return all
}

// build makes the targets. Those that were there before and have not changed keep their sources.
func (c *Config) build(loop host.Loop, before []target) ([]target, error) {
	old := map[domain.Alias]target{}
	for _, t := range before {
		old[t.alias] = t
	}
	var all []target
	for i, config := range c.targets() {
		t := target{config: config, alias: domain.Alias(config.Alias)}
		var err error
		if same, ok := old[t.alias]; ok && reflect.DeepEqual(same.config, config) {
			t = same
		} else if err = t.build(c, loop); err != nil {
			return nil, &TargetError{i, config.Alias, err}
		}
		all = append(all, t)
	}
	return all, nil
}

// build fills in what the configuration says.
func (t *target) build(c *Config, loop host.Loop) (err error) {
	if t.upstream, t.source, err = t.config.source(loop); err != nil {
		return err
	}
	is := domain.Target{Alias: t.alias, Hostname: t.config.Hostname, Service: t.config.Service, Label: t.config.Instance}
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, t.config.Labels)
	if is.Labels, err = domain.ParseLabels(labels); err != nil {
		return err
	}
	if is.Fields, err = t.config.fields(); err != nil {
		return err
	}
	t.app = app.ClientTarget{Target: is, Source: t.source, Keys: c.keys(t.config)}
	return nil
}

// fields returns the header fields of a scrape that the target asks for.
func (t *Target) fields() (domain.Fields, error) {
	names := slices.Clone(t.AllowHeaders)
	for _, name := range names {
		if strings.EqualFold(name, authorization) {
			return domain.Fields{}, errors.New("header field Authorization: want AllowAuthorization for it")
		}
	}
	if t.AllowAuthorization {
		names = append(names, authorization)
	}
	return domain.ParseFields(names)
}

const authorization = "Authorization"

// keys returns a target's identity where it is registered by itself; zero if app should draw it.
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

func (t *Target) source(loop host.Loop) (upstream string, s *source.Source, err error) {
	const own = "The metrics of this process"
	switch {
	case t.HTTP != nil:
		if s, err = t.HTTP.Source(loop); err != nil {
			return "", nil, err
		}
		return "Exporter " + t.HTTP.String(), s, nil
	case t.Func != nil:
		return own, source.Func(loop, t.Func), nil
	default:
		return own, source.Gatherer(loop, t.gatherer()), nil
	}
}

// gatherer returns the gatherer of a target; nil if that has another source.
func (t *Target) gatherer() prometheus.Gatherer {
	switch {
	case t.HTTP != nil || t.Func != nil:
		return nil
	case t.Gatherer != nil:
		return t.Gatherer
	default:
		return prometheus.DefaultGatherer
	}
}
