package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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

func (w *world) pageFile() string { return filepath.Join(w.Dir, "page") }

// serve sets the size of all pages, and their coding where an exporter has them.
func (w *world) serve(size int, coding string) error {
	if err := os.WriteFile(w.pageFile(), []byte(page.New(size)), 0o600); err != nil {
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
		way, err := w.startJavaScript(o, dht.Bootstrap()[0])
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
		c, err := w.Role(alias, program, slices.Concat(args, []string{alias, w.pageFile()})...)
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

// startJavaScript starts the bridge and its clients.
func (w *world) startJavaScript(o options, bootstrap string) (*load.Way, error) {
	random := make([]byte, 64)
	rand.Read(random)
	seed, secret := hex.EncodeToString(random[:32]), hex.EncodeToString(random[32:])
	bridge, err := w.Role("bridge", "node", o.script, "bridge", bootstrap, seed, secret)
	if err != nil {
		return nil, err
	}
	var about struct{ Address, Key string }
	if err := bridge.Read(&about); err != nil {
		return nil, err
	}
	clients, err := w.startClients(o, "js-", "node", o.script, "client", bootstrap, about.Key, secret)
	if err != nil {
		return nil, err
	}
	return &load.Way{
		Name: "JavaScript", HTTP: load.NewClient(nil), Programs: append([]*load.Child{bridge}, clients...),
		URL: func(target int) string {
			return fmt.Sprintf("http://%s/scrape/js-%s/metrics", about.Address, systems.Alias(target))
		},
	}, nil
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

// processorTime returns the one of all processes of the system, with the load generator's.
func (s *system) processorTime() (sum time.Duration, err error) {
	all := &load.Way{Programs: s.programs}
	if sum, err = all.ProcessorTime(); err != nil {
		return 0, err
	}
	own, err := load.OwnProcessorTime()
	return sum + own, err
}

// window is the outcome of scraping for a time.
type window struct {
	latencies []time.Duration
	failed    int
	coding    string // of the last answer
	err       error  // of the last failed scrape
	took, cpu time.Duration
}

func (w *window) rate() float64 { return float64(len(w.latencies)) / w.took.Seconds() }

func (w *window) add(s load.Scraped, err error) {
	if err != nil {
		w.failed, w.err = w.failed+1, err
		return
	}
	w.latencies, w.coding = append(w.latencies, s.Took), s.Coding
}

// during scrapes the targets in turn for a time, several at once.
func (s *system) during(ctx context.Context, d time.Duration, parallel, targets, size int) (*window, error) {
	parts := make([]window, parallel)
	var group sync.WaitGroup
	before, err := s.processorTime()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for worker := range parallel {
		group.Go(func() {
			for i := worker; time.Since(began) < d && ctx.Err() == nil; i += parallel {
				parts[worker].add(s.scrape(ctx, worker, i%targets, size))
			}
		})
	}
	group.Wait()
	all := &window{took: time.Since(began)}
	after, err := s.processorTime()
	all.cpu = after - before
	for i := range parts {
		p := &parts[i]
		all.latencies, all.failed, all.coding = append(all.latencies, p.latencies...), all.failed+p.failed, p.coding
		if p.err != nil {
			all.err = p.err
		}
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil && len(all.latencies) == 0 {
		err = all.err
	}
	return all, err
}

// warm runs the system until its rate is level.
func (s *system) warm(ctx context.Context, d time.Duration, parallel, targets, size int) error {
	last := 0.
	for range maxWindows {
		w, err := s.during(ctx, d, parallel, targets, size)
		if err != nil {
			return err
		}
		if rate := w.rate(); math.Abs(rate-last) < level*last {
			break
		} else {
			last = rate
		}
	}
	return nil
}

// figures are the columns of a system in the four rows of a load, with a value of each round.
type figures struct {
	rate, p50, p99, cpu []float64
	failed              int
	coding              string
}

func (f *figures) add(w *window) {
	n := float64(len(w.latencies))
	f.rate, f.cpu = append(f.rate, w.rate()), append(f.cpu, w.cpu.Seconds()*1e6/n)
	f.p50, f.p99 = append(f.p50, load.Quantile(w.latencies, .5)), append(f.p99, load.Quantile(w.latencies, .99))
	f.failed, f.coding = f.failed+w.failed, w.coding
}

func compareHTTP(ctx context.Context, o options) error {
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer w.Close()
	head := []string{"page", "at a time", "compressed", ""}
	for _, s := range w.systems {
		head = append(head, s.name)
	}
	fmt.Printf("%s\n", load.Head(head...))
	for _, size := range o.sizes {
		if err := w.serve(size, o.coding); err != nil {
			return err
		}
		for _, parallel := range o.parallel {
			if err := w.compare(ctx, o, parallel, size); err != nil {
				return err
			}
		}
	}
	fmt.Println()
	return nil
}

// compare prints the rows of one load.
func (w *world) compare(ctx context.Context, o options, parallel, size int) error {
	all := make([]figures, len(w.systems))
	for round := range o.rounds {
		for i := range w.systems {
			turn := (i + round) % len(w.systems)
			s := w.systems[turn]
			if s.missing {
				continue
			}
			if round == 0 {
				if err := s.warm(ctx, o.duration/2, parallel, o.targets, size); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
			fmt.Fprintf(os.Stderr, "%s, %d at a time, round %d of %d: %s\n", load.Size(size), parallel, round+1, o.rounds, s.name)
			m, err := s.during(ctx, o.duration, parallel, o.targets, size)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			all[turn].add(m)
		}
	}
	w.print(all, parallel, size)
	return nil
}

func (w *world) print(all []figures, parallel, size int) {
	var compressed []string
	for i, f := range all {
		if f.coding != "" {
			compressed = append(compressed, w.systems[i].name)
		}
	}
	if compressed == nil {
		compressed = []string{"none"}
	}
	for _, row := range []struct {
		name   string
		values func(figures) []float64
	}{
		{"scrapes/s", func(f figures) []float64 { return f.rate }},
		{"p50, ms", func(f figures) []float64 { return f.p50 }},
		{"p99, ms", func(f figures) []float64 { return f.p99 }},
		{"CPU, µs", func(f figures) []float64 { return f.cpu }},
	} {
		cells := []string{load.Size(size), strconv.Itoa(parallel), strings.Join(compressed, "; "), row.name}
		for i, f := range all {
			text := cell(row.values(f))
			if w.systems[i].missing {
				text = notMeasured
			}
			if row.name == "scrapes/s" && f.failed > 0 {
				text += fmt.Sprintf(", %d failed", f.failed)
			}
			cells = append(cells, text)
		}
		fmt.Println(load.Row(cells...))
	}
}
