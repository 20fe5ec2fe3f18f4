package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
	"github.com/dhtprom/dhtprom/bench/internal/systems"
	"github.com/dhtprom/dhtprom/bench/page"
	"github.com/dhtprom/dhtprom/node"
)

// Warm-up: a system runs in windows until one differs from the last by less than level, at most maxWindows of them.
const (
	level      = .1
	maxWindows = 6
)

// system is a column: a way to get pages.
type system struct {
	name     string
	programs []*load.Child // all of its processes, without the load generator
	scrape   func(ctx context.Context, worker, target, size int) (load.Scraped, error)
	missing  bool
}

func overHTTP(name string, way *load.Way, others ...*load.Child) *system {
	return &system{
		name: name, programs: slices.Concat(way.Programs, others),
		scrape: func(ctx context.Context, _, target, size int) (load.Scraped, error) {
			return way.Scrape(ctx, target, size)
		},
	}
}

// world is everything that runs for the table of scrapes.
type world struct {
	*systems.Running
	systems   []*system
	exporters *load.Child
	clients   []*load.Child // which read the file of the page
}

// pageFile returns the file of the page that clients read.
func pageFile(r *systems.Running) string { return filepath.Join(r.Dir, "page") }

// serve sets the size of all pages, and their coding where an exporter has them.
func (w *world) serve(size int, coding string) error {
	if err := os.WriteFile(pageFile(w.Running), []byte(page.New(size)), 0o600); err != nil {
		return err
	}
	for _, c := range w.clients {
		if err := c.Ask(&done{}, "page"); err != nil {
			return err
		}
	}
	return w.exporters.Ask(&done{}, "%d %s", size, coding)
}

func newWorld(ctx context.Context, o options) (*world, error) {
	r, err := systems.New()
	if err != nil {
		return nil, err
	}
	w := &world{Running: r}
	if err := w.start(ctx, o); err != nil {
		r.Close()
		return nil, err
	}
	return w, nil
}

// start starts all systems, and waits until they serve all targets.
func (w *world) start(ctx context.Context, o options) (err error) {
	var exporting struct{ Port int }
	if w.exporters, err = w.Role("exporters", o.self, "role", "exporters", strconv.Itoa(o.targets)); err != nil {
		return err
	}
	if err := w.exporters.Read(&exporting); err != nil {
		return err
	}
	if err := w.serve(1000, "none"); err != nil {
		return err
	}
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		return err
	}
	w.OnClose(func() { dht.Close() })
	d, err := w.Dhtprom(ctx, dht.Bootstrap()[0])
	if err != nil {
		return err
	}
	clients, err := w.startClients(o, "go-", o.self, "role", "client", d.Invite)
	if err != nil {
		return err
	}
	exporters, err := d.Exporting(o.targets, exporting.Port)
	if err != nil {
		return err
	}
	ways := []*load.Way{d.Way("dhtprom", "go-", clients), exporters, {Name: "plain HTTP", HTTP: load.NewClient(nil), URL: systems.ExporterURL(exporting.Port)}}
	w.systems = []*system{
		overHTTP("dhtprom", ways[0]), {name: "JavaScript", missing: true},
		overHTTP("dhtprom, exporter", exporters, w.exporters), {name: "PushProx", missing: true},
		overHTTP("plain HTTP", ways[2], w.exporters), nil,
	}
	if o.installed {
		way, err := w.startBridge(o, dht.Bootstrap()[0])
		if err != nil {
			return err
		}
		ways, w.systems[1] = append(ways, way), overHTTP("JavaScript", way)
	}
	if o.pushProx != "" {
		way, err := w.PushProx(o.pushProx, o.targets, exporting.Port)
		if err != nil {
			return err
		}
		ways, w.systems[3] = append(ways, way), overHTTP("PushProx", way, w.exporters)
	}
	if w.systems[5], err = w.startUDP(o); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, systems.Patience)
	defer stop()
	for _, way := range ways {
		if err := way.Await(ctx, o.targets, 1000); err != nil {
			return err
		}
	}
	return nil
}

// startClients starts a role with a page for each alias, whose arguments its alias and the page follow.
func (w *world) startClients(o options, prefix, program string, args ...string) (all []*load.Child, err error) {
	for i := range o.targets {
		alias := prefix + systems.Alias(i)
		c, err := w.Role(alias, program, slices.Concat(args, []string{alias, pageFile(w.Running)})...)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.Read(&done{}); err != nil {
			return nil, err
		}
	}
	w.clients = append(w.clients, all...)
	return all, nil
}

// startBridge starts the bridge and its clients.
func (w *world) startBridge(o options, bootstrap string) (*load.Way, error) {
	b, err := startBridge(w.Running, o, bootstrap)
	if err != nil {
		return nil, err
	}
	clients, err := w.startClients(o, "js-", "node", o.script, "client", bootstrap, b.key, b.secret)
	if err != nil {
		return nil, err
	}
	return b.way("js-", clients), nil
}

// bridge is a running bridge of JavaScript.
type bridge struct {
	child                *load.Child
	address, key, secret string
}

func startBridge(r *systems.Running, o options, bootstrap string) (*bridge, error) {
	random := make([]byte, 64)
	rand.Read(random)
	seed, secret := hex.EncodeToString(random[:32]), hex.EncodeToString(random[32:])
	c, err := r.Role("bridge", "node", o.script, "bridge", bootstrap, seed, secret)
	if err != nil {
		return nil, err
	}
	var about struct{ Address, Key string }
	err = c.Read(&about)
	return &bridge{child: c, address: about.Address, key: about.Key, secret: secret}, err
}

// way returns the way to scrape through the bridge, whose aliases have a prefix.
func (b *bridge) way(prefix string, clients []*load.Child) *load.Way {
	return &load.Way{
		Name: "JavaScript", HTTP: load.NewClient(nil), Programs: append([]*load.Child{b.child}, clients...),
		URL: func(target int) string {
			return fmt.Sprintf("http://%s/scrape/%s%s/metrics", b.address, prefix, systems.Alias(target))
		},
	}
}

func (w *world) startUDP(o options) (*system, error) {
	c, err := w.Role("udp", o.self, "role", "udp")
	if err != nil {
		return nil, err
	}
	var about struct{ Address string }
	if err := c.Read(&about); err != nil {
		return nil, err
	}
	callers := make([]*caller, slices.Max(o.parallel))
	for i := range callers {
		if callers[i], err = newCaller(about.Address); err != nil {
			return nil, err
		}
		w.OnClose(func() { callers[i].conn.Close() })
	}
	return &system{name: "raw UDP", programs: []*load.Child{c}, scrape: func(_ context.Context, worker, _, size int) (load.Scraped, error) {
		began := time.Now()
		err := callers[worker].page(size)
		return load.Scraped{Took: time.Since(began)}, err
	}}, nil
}
