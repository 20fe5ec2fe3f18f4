package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/ports"
)

// Client serves a service's metrics to its scrapers until its context ends or it is closed. Its methods may be called from any
// goroutine, but not on the node's loop.
type Client struct {
	node      *dhtprom.Node
	part      *part.Part
	group     *app.Group
	upstreams []upstream // of the targets
	counts    *counts

	registered chan struct{}                // closed once an alias is registered with at least one scraper
	last       map[domain.Alias]LastRequest // on the loop
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
	c := &Client{node: n, counts: newCounts(), registered: make(chan struct{}), last: map[domain.Alias]LastRequest{}}
	group, upstreams, err := cfg.group(n.Host(), c.listener(cfg))
	if err != nil {
		return nil, err
	}
	group.Host, group.Transport, group.KeepTransport = n.Host(), n.Transport(), true
	c.upstreams = upstreams
	err = n.Do(context.Background(), func() (err error) {
		c.group, err = app.NewGroup(group)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.part, err = part.New(n.Host(), "the client", c.group.Close, nil); err != nil {
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

// listener returns an event listener for the log, the counters, this client, and the service.
func (c *Client) listener(cfg Config) func(domain.Alias, domain.Event) {
	log := map[domain.Alias]func(domain.Event){}
	if cfg.Logger != nil {
		events := app.NewEventLog(c.node.Host(), cfg.Logger) // shared by all targets, since their scrapers are the same
		targets := cfg.targets()
		for _, t := range targets {
			var attrs []any
			if len(targets) > 1 {
				attrs = []any{"client", t.Alias}
			}
			log[domain.Alias(t.Alias)] = events.Listener(attrs...)
		}
	}
	first := sync.OnceFunc(func() { close(c.registered) })
	return func(alias domain.Alias, e domain.Event) {
		if tell := log[alias]; tell != nil {
			tell(e)
		}
		c.counts.event(alias, e)
		switch e := e.(type) {
		case domain.RegisterAliasSuccess:
			first()
		case domain.MetricsSuccess:
			c.last[alias] = LastRequest{At: time.Now(), Bytes: e.Bytes, Took: e.Took}
		case domain.MetricsError:
			c.last[alias] = LastRequest{At: time.Now(), Err: e.Err}
		}
		if cfg.OnEvent != nil {
			cfg.OnEvent(e)
		}
	}
}

// Start starts to serve metrics and returns when the client can be found, or ctx ends; if it fails, the client is closed. It does
// not wait for the registration, which is repeated until it succeeds; Registered does. The client closes with ctx.
func (c *Client) Start(ctx context.Context) error { return c.part.Start(ctx, c.group.Start) }

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

// Aliases returns the aliases of the metrics, with the key of each, in the order of the targets.
func (c *Client) Aliases() []Alias {
	var all []Alias
	for _, m := range c.group.Clients() {
		all = append(all, Alias{m.Alias(), m.PublicKey()})
	}
	return all
}

// Alias is an alias and the key of its metrics server.
type Alias struct {
	Name      domain.Alias
	PublicKey domain.PublicKey
}

// PublicKey is the key of the metrics server; of several targets, that of the first.
func (c *Client) PublicKey() domain.PublicKey { return c.Aliases()[0].PublicKey }

// SetSecrets replaces the secrets of scrapers, matched by key, and registers again where one changed. It returns how many
// changed. Unknown scrapers are ignored.
func (c *Client) SetSecrets(ctx context.Context, scrapers []app.ClientScraper) (changed int, err error) {
	err = c.node.Do(ctx, func() error {
		changed = c.group.SetSecrets(scrapers)
		return nil
	})
	return changed, err
}

// Status is a snapshot of a client.
type Status struct {
	Node    ports.NodeStatus
	Targets []TargetStatus
}

// TargetStatus is a snapshot of one target.
type TargetStatus struct {
	Alias
	Upstream string // description of the source of its metrics
	Last     LastRequest
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
			missing = append(missing, t.Name)
		}
	}
	return len(missing) == 0, missing
}

// Status returns a snapshot.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.node.Do(ctx, func() error {
		s.Node = c.node.Transport().Status()
		for i, m := range c.group.Clients() {
			s.Targets = append(s.Targets, TargetStatus{Alias{m.Alias(), m.PublicKey()}, c.upstreams[i].name, c.last[m.Alias()], m.Status()})
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
