package client

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/ports"
)

// Client serves a service's metrics to its scrapers until its context ends or it is closed. Its methods may be called from any
// goroutine, but not on the node's loop.
type Client struct {
	node   *dhtprom.Node
	part   *part.Part
	client *app.Client
	config Config
	counts *counts

	setting    sync.Mutex    // SetTargets
	registered chan struct{} // closed once an alias is registered with at least one scraper

	// On the loop:
	targets []target
	last    map[domain.Alias]LastRequest // of each target
}

// Expose serves a service's metrics on its own node, in the network of the invite, until ctx ends. Then it says goodbye and
// returns nil; before that it returns only on permanent errors.
func Expose(ctx context.Context, cfg Config) error {
	network, err := cfg.Network()
	if err != nil {
		return err
	}
	n, err := dhtprom.NewNode(network)
	if err != nil {
		return err
	}
	c, err := Start(ctx, n, cfg)
	if err == nil {
		<-c.Done()
		err = c.Close()
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return errors.Join(err, n.Close())
}

// Start is New and Client.Start.
func Start(ctx context.Context, n *dhtprom.Node, cfg Config) (*Client, error) {
	c, err := New(n, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// New creates a client on a node, to be closed by its own Close or by the node's. It uses the scraper of the invite; the network
// is the node's. Nothing is served before Start.
func New(n *dhtprom.Node, cfg Config) (*Client, error) {
	c := &Client{node: n, config: cfg, counts: newCounts(), registered: make(chan struct{})}
	use, targets, err := cfg.app(n.Host())
	if err != nil {
		return nil, err
	}
	use.Host, use.Transport, use.KeepTransport, use.OnEvent = n.Host(), n.Transport(), true, c.listener(cfg, use.Alias)
	c.targets, c.last = targets, lastOf(aliases(targets), nil)
	err = n.Do(context.Background(), func() (err error) {
		c.client, err = app.NewClient(use)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.part, err = part.New(n.Host(), "the client", c.client.Close, nil); err != nil {
		return nil, err
	}
	return c, nil
}

// Provide is New as a provider for github.com/google/wire; package wiring has the set.
func Provide(n *dhtprom.Node, cfg Config) (c *Client, cleanup func(), err error) {
	if c, err = New(n, cfg); err != nil {
		return nil, nil, err
	}
	return c, func() { _ = c.Close() }, nil
}

// listener returns an event listener for the log, the counters, this client, and the service. single is the alias of a client with one.
func (c *Client) listener(cfg Config, single domain.Alias) func(domain.Event) {
	log := func(domain.Event) {}
	if cfg.Logger != nil {
		log = app.LogEvents(c.node.Host(), cfg.Logger)
	}
	first := sync.OnceFunc(func() { close(c.registered) })
	return func(e domain.Event) {
		log(e)
		c.counts.event(single, e)
		switch e := e.(type) {
		case domain.RegisterAliasSuccess:
			first()
		case domain.MetricsSuccess:
			c.note(cmp.Or(single, e.Target), LastRequest{At: time.Now(), Bytes: e.Bytes, Took: e.Took})
		case domain.MetricsError:
			c.note(cmp.Or(single, e.Target), LastRequest{At: time.Now(), Err: e.Err})
		}
		if cfg.OnEvent != nil {
			cfg.OnEvent(e)
		}
	}
}

// note records the result of a request for a target.
func (c *Client) note(alias domain.Alias, l LastRequest) {
	if _, there := c.last[alias]; there {
		c.last[alias] = l
	}
}

// lastOf returns the last requests of targets: those that they had before.
func lastOf(targets iter.Seq[domain.Alias], before map[domain.Alias]LastRequest) map[domain.Alias]LastRequest {
	last := map[domain.Alias]LastRequest{}
	for a := range targets {
		last[a] = before[a]
	}
	return last
}

// aliases returns the aliases of targets.
func aliases(targets []target) iter.Seq[domain.Alias] {
	return func(yield func(domain.Alias) bool) {
		for _, t := range targets {
			if !yield(t.alias) {
				return
			}
		}
	}
}

// Start starts to serve metrics and returns when the client can be found, or ctx ends; if it fails, the client is closed. It does
// not wait for the registration, which is repeated until it succeeds; Registered does. The client closes with ctx.
func (c *Client) Start(ctx context.Context) error { return c.part.Start(ctx, c.client.Start) }

// Registered waits until an alias has been registered with at least one scraper.
func (c *Client) Registered(ctx context.Context) error {
	select {
	case <-c.registered:
		return nil
	case <-c.Done():
		return dhtprom.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetTargets replaces the targets of a client that was configured with Config.Targets. Those that have not changed go on, and what has
// changed is registered. On an error, a *TargetError or *app.ConfigError, nothing changes.
func (c *Client) SetTargets(ctx context.Context, targets []Target) error {
	c.setting.Lock()
	defer c.setting.Unlock()
	var before []target
	err := c.node.Do(ctx, func() error {
		before = c.targets
		return nil
	})
	if err != nil {
		return err
	}
	cfg := c.config
	if cfg.Targets = targets; targets == nil {
		cfg.Targets = []Target{}
	}
	next, err := cfg.build(c.node.Host(), before) // not on the loop, since it may read files
	if err != nil {
		return err
	}
	return c.node.Do(ctx, func() error {
		if err := c.client.SetTargets(appTargets(next)); err != nil {
			return err
		}
		c.targets, c.last = next, lastOf(aliases(next), c.last)
		return nil
	})
}

// Gatherer is the gatherer whose metrics the client serves, such as Config.Gatherer; nil if it has an exporter or a function, or
// Config.Targets.
func (c *Client) Gatherer() prometheus.Gatherer {
	if c.config.Targets != nil {
		return nil
	}
	return (&Target{HTTP: c.config.HTTP, Gatherer: c.config.Gatherer, Func: c.config.Func}).gatherer()
}

// PublicKey is the key of the metrics server.
func (c *Client) PublicKey() domain.PublicKey { return c.client.PublicKey() }

// SetSecrets replaces the secrets of scrapers, matched by key, and registers again where one changed. It returns how many
// changed. Unknown scrapers are ignored.
func (c *Client) SetSecrets(ctx context.Context, scrapers []app.ClientScraper) (changed int, err error) {
	err = c.node.Do(ctx, func() error {
		changed = c.client.SetSecrets(scrapers)
		return nil
	})
	return changed, err
}

// Status is a snapshot of a client.
type Status struct {
	app.ClientStatus // of all targets together
	Node             ports.NodeStatus
	Targets          []TargetStatus // in the order configured
}

// TargetStatus is a snapshot of one target.
type TargetStatus struct {
	Alias    domain.Alias
	Upstream string // description of the source of its metrics
	Last     LastRequest
	Dropped  *source.Dropped // by the rules of the target
	app.ClientStatus
}

// LastRequest is the result of the last request for metrics. The zero value means none.
type LastRequest struct {
	At    time.Time
	Bytes int
	Took  time.Duration
	Err   error
}

// Ready reports whether every alias is registered with at least one scraper, and which are not.
func (s Status) Ready() (ok bool, missing []domain.Alias) {
	for _, t := range s.Targets {
		if !t.Registered {
			missing = append(missing, t.Alias)
		}
	}
	return len(missing) == 0, missing
}

// Status returns a snapshot.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.node.Do(ctx, func() error {
		s.Node = c.node.Transport().Status()
		s.ClientStatus = c.client.Status()
		for _, t := range c.targets {
			s.Targets = append(s.Targets, TargetStatus{t.alias, t.upstream, c.last[t.alias], t.source.Dropped(), c.client.TargetStatus(t.alias)})
		}
		return nil
	})
	return s, err
}

// Done returns a channel that is closed with the client.
func (c *Client) Done() <-chan struct{} { return c.part.Done() }

// Close says goodbye to the scrapers and closes the client. It waits, for dhtprom.CloseTimeout at most. Later calls wait for the
// first and return the same error.
func (c *Client) Close() error { return c.part.Close() }
