package scraper

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/members"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// GroupConfig makes a scraper a member of a group: several scrapers with one seed, the same secrets and one table of aliases, which are
// one scraper for clients and Prometheus. One of them leads: it takes registrations. Each holds the connections to a share of the clients,
// and passes scrapes of the others' on to them. Each has to serve its Handler at Member.URL.
type GroupConfig struct {
	// Open opens the group and the table that its members share, in place of Config.Path and Config.OpenStore. The scraper closes the
	// table. Package etcdgroup has one for etcd.
	Open func(loop host.Host) (ports.Group, ports.SharedStore, error)
	// Member describes this scraper to the others: Name, URL and Version. The URL is that of its Handler, with the prefix of its paths.
	Member domain.Member
	// Members passes scrapes on to the others; nil: by HTTP requests to their URLs.
	Members ports.Members
	// TLS is for members with an https URL; nil for the certificates of the system.
	TLS *tls.Config
}

func (c *GroupConfig) check(s *Config) error {
	switch {
	case c.Open == nil:
		return &app.ConfigError{Field: "Group.Open", Want: "want a function that opens the group"}
	case s.Path != "" || s.OpenStore != nil:
		return &app.ConfigError{Field: "Group", Want: "the table of a group is that of Group.Open: leave Path and OpenStore empty"}
	case c.Member.URL == "":
		return &app.ConfigError{Field: "Group.Member.URL", Want: "want the URL at which the other members reach this scraper's Handler"}
	}
	return nil
}

// open opens the group and its table.
func (c *GroupConfig) open(n *dhtprom.Node, seed domain.Seed, cfg *app.ScraperConfig) (release func(), err error) {
	group, table, err := c.Open(n.Host())
	if err != nil {
		return nil, fmt.Errorf("opening the group: %w", err)
	}
	use := &app.GroupConfig{Group: group, Members: c.Members, Member: c.Member}
	cfg.Group, cfg.Store = use, table
	closeTable := func() { n.Host().Post(func() { table.Close(func(error) {}) }) }
	if use.Members != nil {
		return closeTable, nil
	}
	http := members.New(members.Config{Loop: n.Host(), Seed: seed, TLS: c.TLS})
	use.Members = http
	return func() {
		closeTable()
		http.Close()
	}, nil
}

// Group returns the group as this scraper sees it; false without one.
func (s *Scraper) Group(ctx context.Context) (g domain.Group, ok bool, err error) {
	err = s.node.Do(ctx, func() error {
		g, ok = s.scraper.Group()
		return nil
	})
	return g, ok, err
}

// HandOver prepares the stop of a member of a group: it leaves leadership and clients to the others, and returns when those have
// dialled the clients, after 15 s, or when ctx ends. Until Close this scraper answers scrapes. Without a group it returns at once.
func (s *Scraper) HandOver(ctx context.Context) error {
	_, err := bridge.Call(ctx, s.node.Host(), func(done func(struct{})) func() {
		s.scraper.HandOver(func() { done(struct{}{}) })
		return nil
	})
	return part.Outcome(nil, err)
}
