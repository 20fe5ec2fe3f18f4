// Compare measures dhtprom as its users run it, beside the published JavaScript packages, PushProx, plain HTTP, libudx and raw UDP.
//
//	go run ./bench/compare [-rows http,streams,aliases] [-pushprox DIR] [-rounds 3] [-duration 500ms] [-crowd 300]
//
// It prints tables in Markdown, with the machine, which must be Linux. Everything runs on it, each part in a process of its own: the load
// generator, a private DHT, the scrapers and a client for each alias. The systems take turns in each round, after they have run until
// their rates are level; each cell has the median of the rounds, and the least and the greatest in parentheses. docs/performance.md
// describes the rows.
//
// DIR has the programs pushprox-proxy and pushprox-client. The JavaScript packages are those of interop/js, which npm installs; where node
// is not installed they are not measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
	"github.com/dhtprom/dhtprom/internal/procs"
)

// options are the flags.
type options struct {
	pushProx  string
	coding    string
	targets   int
	sizes     []int
	parallel  []int
	routes    []route
	crowd     []int
	idle      time.Duration
	rounds    int
	duration  time.Duration
	script    string // peer.js
	self      string // this program
	installed bool   // node and the npm packages
}

// sections are the tables, by the names of -rows.
var sections = []struct {
	name string
	run  func(context.Context, options) error
}{
	{"http", compareHTTP},
	{"streams", compareStreams},
	{"aliases", compareCrowds},
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "role" {
		procs.Adapt(context.Background()) // as all programs of this repository do
		if err := runRole(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compare(ctx context.Context) error {
	var o options
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	rows := flag.String("rows", strings.Join(names, ","), "tables to print")
	flag.StringVar(&o.pushProx, "pushprox", "", "folder of pushprox-proxy and pushprox-client; without it PushProx is not measured")
	flag.StringVar(&o.coding, "coding", "none", "coding of the exporters' answers: none or gzip")
	flag.IntVar(&o.targets, "targets", 20, "aliases that are scraped")
	sizes := flag.String("sizes", "8000,100000,1000000", "sizes of pages, in bytes")
	parallel := flag.String("parallel", "1,8,32,128", "scrapes at a time")
	paths := flag.String("paths", "direct,40ms,40ms/1%,40ms/5ms", "paths of streams: direct, or an RTT, a loss or a jitter, as 40ms/1%/5ms")
	crowd := flag.String("crowd", "300", "numbers of aliases whose memory is measured, from 20 on; for the JavaScript only the first")
	flag.DurationVar(&o.idle, "idle", 5*time.Second, "time of a measurement of an idle scraper")
	flag.IntVar(&o.rounds, "rounds", 3, "measurements of each")
	flag.DurationVar(&o.duration, "duration", 500*time.Millisecond, "time of a measurement; those of streams take three times as long")
	flag.Parse()
	var err error
	if o.sizes, err = load.Numbers(*sizes); err != nil {
		return fmt.Errorf("-sizes: %w", err)
	}
	if o.parallel, err = load.Numbers(*parallel); err != nil {
		return fmt.Errorf("-parallel: %w", err)
	}
	if o.crowd, err = load.Numbers(*crowd); err != nil {
		return fmt.Errorf("-crowd: %w", err)
	}
	if o.routes, err = parseRoutes(*paths); err != nil {
		return fmt.Errorf("-paths: %w", err)
	}
	if o.rounds < 1 || o.targets < 1 {
		return errors.New("-rounds and -targets must be positive")
	}
	if o.coding != "none" && o.coding != "gzip" {
		return fmt.Errorf("-coding: want none or gzip, got %q", o.coding)
	}
	wanted := strings.Split(*rows, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-rows: want some of %s, got %q", strings.Join(names, ","), name)
		}
	}
	if o.self, err = os.Executable(); err != nil {
		return err
	}
	if err := o.installPackages(ctx); err != nil {
		return err
	}
	fmt.Println(machine(ctx, o))
	defer func() { fmt.Printf("Load average at the end: %s.\n", loadAverage()) }()
	for _, s := range sections {
		if slices.Contains(wanted, s.name) {
			if err := s.run(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// installPackages finds peer.js in the current checkout, and installs the pinned npm packages unless they are present.
func (o *options) installPackages(ctx context.Context) error {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		o.script = filepath.Join(dir, "bench", "compare", "peer.js")
		if _, err := os.Stat(o.script); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return errors.New("run this inside a checkout of dhtprom: bench/compare/peer.js was not found")
		}
	}
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("node"); err != nil {
		return nil // the cells of JavaScript are not measured
	}
	packages := filepath.Join(dir, "interop", "js")
	o.installed = true
	if _, err := os.Stat(filepath.Join(packages, "node_modules", "dht-prom-client")); err == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = packages
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", packages, err, out)
	}
	return nil
}
