package dhtprom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// ClientConfig is what a service shows, and to whom.
type ClientConfig struct {
	// Invite is a scraper's invite; Scrapers are more, or all, with their keys and secrets.
	Invite   string
	Scrapers []app.ClientScraper

	// Alias is the service's name at the scrapers. It should be unique there: the last one who registers it has it.
	Alias string
	// Service is the kind of service. Hostname is where it runs, this machine's name by default. Both become labels.
	Service  string
	Hostname string

	// Gatherer has the metrics; prometheus.DefaultGatherer by default. Func gives them as text instead.
	Gatherer prometheus.Gatherer
	Func     func(context.Context) (string, error)

	// Seed is the service's identity. Zero is one that lasts as long as the client, which is fine: the next one takes
	// the alias over, unless the scraper pins aliases to their keys. Clients on one node need different seeds;
	// app.AliasKeys derives them.
	Seed domain.Seed

	RegisterInterval time.Duration // 1 h by default
	CollectTimeout   time.Duration // bounds one collection of metrics; 1 min by default

	Logger  *slog.Logger       // gets every event as a line; nil: no logging
	OnEvent func(domain.Event) // runs on the node's loop and must not wait; may be nil
}

// network is where an invite says that the scraper is.
func (c *ClientConfig) network() (NodeConfig, error) {
	if c.Invite == "" {
		return NodeConfig{}, nil
	}
	v, err := parseInvite(c.Invite)
	return NodeConfig{Bootstrap: v.Bootstrap, Relays: v.Relays}, err
}

// Format prints the configuration without its invite, which holds a secret, whatever the verb.
func (c ClientConfig) Format(w fmt.State, _ rune) {
	fmt.Fprintf(w, "dhtprom.ClientConfig{Alias: %q, Service: %q, Hostname: %q}", c.Alias, c.Service, c.Hostname)
}

func parseInvite(text string) (domain.Invite, error) {
	v, err := domain.ParseInvite(text)
	if err != nil {
		err = &app.ConfigError{Field: "Invite", Want: err.Error()}
	}
	return v, err
}

// Client shows a service's metrics to its scrapers until its context ends or it is closed. Its methods are for any
// goroutine, but not for the node's loop.
type Client struct {
	node   *Node
	client *app.Client

	registered chan struct{} // closed once it was, with one scraper at least
	cancel     func()        // lets go of the context
	once       sync.Once
	done       chan struct{}
	err        error // of Close, once done
}

// Expose shows a service's metrics on a node of its own, in the network that the invite names, until ctx ends. Then it
// takes its leave and returns nil; before that it returns only if it cannot work at all.
func Expose(ctx context.Context, cfg ClientConfig) error {
	network, err := cfg.network()
	if err != nil {
		return err
	}
	n, err := NewNode(network)
	if err != nil {
		return err
	}
	c, err := n.StartClient(ctx, cfg)
	if err == nil {
		<-c.Done()
		err = c.Close()
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return errors.Join(err, n.Close())
}

// StartClient starts to show metrics and returns when the client can be found, or ctx ends. It does not wait for the
// registration, which is tried until it succeeds: Registered does. Of the invite it takes the scraper; the network is the
// node's.
func (n *Node) StartClient(ctx context.Context, cfg ClientConfig) (*Client, error) {
	scrapers := cfg.Scrapers
	if cfg.Invite != "" {
		v, err := parseInvite(cfg.Invite)
		if err != nil {
			return nil, err
		}
		scrapers = append([]app.ClientScraper{{Key: v.Scraper, Secret: v.Secret}}, scrapers...)
	}
	if len(scrapers) == 0 {
		return nil, &app.ConfigError{Field: "Invite", Want: "want the invite of a scraper, or Scrapers"}
	}
	if cfg.Hostname == "" {
		if name, err := os.Hostname(); err == nil {
			cfg.Hostname = name
		}
	}
	c := &Client{node: n, registered: make(chan struct{}), done: make(chan struct{})}
	first := sync.OnceFunc(func() { close(c.registered) })
	watch := func(e domain.Event) {
		if _, ok := e.(domain.RegisterAliasSuccess); ok {
			first()
		}
	}
	acfg := app.ClientConfig{
		Host: n.host, Transport: n.transport, KeepTransport: true, Source: n.source(cfg), Scrapers: scrapers,
		Alias: domain.Alias(cfg.Alias), Service: cfg.Service, Hostname: cfg.Hostname,
		RegisterInterval: cfg.RegisterInterval, CollectTimeout: cfg.CollectTimeout,
		OnEvent: n.events(cfg.Logger, watch, cfg.OnEvent),
	}
	if !cfg.Seed.IsZero() {
		acfg.Keys = domain.KeyPairFromSeed(cfg.Seed)
	}
	err := n.do(func() (err error) {
		c.client, err = app.NewClient(acfg)
		return err
	})
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	if err := n.start(ctx, c, c.client.Start); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	context.AfterFunc(own, func() { _ = c.Close() })
	return c, nil
}

// start starts a client or scraper and waits until it has, or ctx ends.
func (n *Node) start(ctx context.Context, c closer, start func(done func(error))) error {
	if err := n.add(c); err != nil {
		return err
	}
	return outcome(bridge.Call(ctx, n.host, func(done func(error)) func() {
		start(done)
		return nil
	}))
}

// source is where the metrics come from.
func (n *Node) source(cfg ClientConfig) ports.MetricsSource {
	switch {
	case cfg.Func != nil:
		return source.Func(n.host, cfg.Func)
	case cfg.Gatherer != nil:
		return source.Gatherer(n.host, cfg.Gatherer)
	default:
		return source.Gatherer(n.host, prometheus.DefaultGatherer)
	}
}

// PublicKey is where the metrics are served.
func (c *Client) PublicKey() domain.PublicKey { return c.client.PublicKey() }

// Status is a snapshot.
func (c *Client) Status() (s app.ClientStatus, err error) {
	err = c.node.do(func() error {
		s = c.client.Status()
		return nil
	})
	return s, err
}

// Registered waits until the alias has been registered with one scraper at least.
func (c *Client) Registered(ctx context.Context) error {
	select {
	case <-c.registered:
		return nil
	case <-c.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the client is.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close tells the scrapers and closes the client. It waits, for five seconds at most. Later calls wait for the first
// and return the same.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.err = c.node.wait("the client", c.client.Close)
		c.node.remove(c)
		c.cancel()
		close(c.done)
	})
	return c.err
}
