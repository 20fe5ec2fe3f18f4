// Package etcdgroup keeps a group of scrapers in etcd: Config.Open is the Open of a scraper.GroupConfig.
//
// It is apart from package scraper because etcd's client takes 10 MB of memory in every program that links it.
package etcdgroup

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/etcd/client"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// DefaultPrefix begins the keys of a group.
const DefaultPrefix = "/dhtprom/"

// The bounds of Config.Lease. etcd rounds shorter leases up.
const (
	DefaultLease = 5 * time.Second
	MinLease     = 2 * time.Second
	MaxLease     = time.Minute
)

// Config configures a group in etcd.
type Config struct {
	client.Config // Prefix is DefaultPrefix if it is empty. Groups have different ones.
	// Lease is the time after which a member that vanished is missed; DefaultLease if it is 0. All members should have the same.
	Lease time.Duration
	Clock ports.Clock // wall time; dhtprom.Clock by default
}

func (c Config) normal() Config {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	if !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	if c.Clock == nil {
		c.Clock = dhtprom.Clock{}
	}
	return c
}

// Check returns an error if the configuration is invalid, files included.
func (c Config) Check() error {
	c = c.normal()
	if c.Lease < MinLease || c.Lease > MaxLease {
		return fmt.Errorf("want a lease from %s to %s, got %s", MinLease, MaxLease, c.Lease)
	}
	return c.Config.Check()
}

// Open opens the group and the table that its members share. It does not wait for etcd.
func (c Config) Open(loop host.Host) (ports.Group, ports.SharedStore, error) {
	c = c.normal()
	if err := c.Check(); err != nil {
		return nil, nil, err
	}
	store, err := client.Open(loop, c.Config)
	if err != nil {
		return nil, nil, err
	}
	m := etcd.New(loop, store, etcd.Config{Prefix: c.Prefix, TTL: c.Lease, Clock: c.Clock})
	return m, table{m, store}, nil
}

// table closes the connection to etcd with the table.
type table struct {
	*etcd.Member
	store *client.Store
}

// Close implements ports.AliasStore.
func (t table) Close(done func(error)) {
	t.Member.Close(func(err error) {
		t.store.Close(func() { done(err) })
	})
}

var _ ports.SharedStore = table{}
