// Pushprox scrapes exporters directly, through PushProx and through dhtprom, and prints the ratios.
//
//	go run ./bench/pushprox -programs DIR [-rounds 10] [-sizes 8000,100000,1000000,10000000] [-targets 1,20] [-codings none,gzip]
//
// DIR has the programs pushprox-proxy and pushprox-client, of a release of PushProx; those of dhtprom are built. Everything runs on this
// machine, which must be Linux: exporters, each at a loopback address of its own, a PushProx client and a dhtprom client for each, the proxy,
// the scraper, and a private DHT. Scrapes have the header fields of Prometheus, over connections that are kept open, and end when the page
// is decoded.
//
// The ways alternate, so that other load on the machine affects all alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

// Scrapes of each target in a round: volume bytes through each way, within the bounds.
const (
	volume     = 20 << 20
	minScrapes = 3
	maxScrapes = 200
)

func main() {
	var programs, sizes, targets, codings string
	var rounds int
	flag.StringVar(&programs, "programs", "", "folder of pushprox-proxy and pushprox-client; default: PATH")
	flag.StringVar(&sizes, "sizes", "8000,100000,1000000,10000000", "sizes of pages, in bytes")
	flag.StringVar(&targets, "targets", "1,20", "numbers of targets that are scraped at the same time")
	flag.StringVar(&codings, "codings", "none,gzip", "codings of the exporters' answers")
	flag.IntVar(&rounds, "rounds", 10, "measurements of each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, programs, sizes, targets, strings.Split(codings, ","), rounds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, programs, sizes, targets string, codings []string, rounds int) error {
	for _, coding := range codings {
		if coding != "none" && coding != "gzip" {
			return fmt.Errorf("-codings: want none or gzip, got %q", coding)
		}
	}
	ofSize, err := load.Numbers(sizes)
	if err != nil {
		return fmt.Errorf("-sizes: %w", err)
	}
	ofTargets, err := load.Numbers(targets)
	if err != nil {
		return fmt.Errorf("-targets: %w", err)
	}
	w, err := newWorld(ctx, programs, slices.Max(ofTargets))
	if err != nil {
		return err
	}
	defer w.running.Close()
	columns := []string{
		"page", "coding", "targets", "direct p50, ms", "p99", "PushProx p50, ms", "p99", "CPU, ms", "dhtprom p50, ms", "p99", "CPU, ms",
		"dhtprom/PushProx p50", "p99", "bytes per second", "CPU",
	}
	fmt.Println(load.Head(columns...))
	for _, n := range ofTargets {
		for _, size := range ofSize {
			for _, coding := range codings {
				w.exporters.Serve(size, coding)
				results, err := w.measure(ctx, n, size, rounds)
				if err != nil {
					return err
				}
				fmt.Println(row(size, coding, n, results))
			}
		}
	}
	return nil
}

// measured are the scrapes of one way.
type measured struct {
	latencies []time.Duration
	bytes     int
	busy      time.Duration // sum of the rounds
	cpu       time.Duration // processor time of the programs in between
}

func (m *measured) quantile(q float64) float64 { return load.Quantile(m.latencies, q) }

// milliseconds returns the processor time of a scrape.
func (m *measured) milliseconds() float64 { return m.cpu.Seconds() * 1e3 / float64(len(m.latencies)) }

func (m *measured) speed() float64 { return float64(m.bytes) / m.busy.Seconds() }

func row(size int, coding string, targets int, results []*measured) string {
	cells := []string{load.Size(size), coding, strconv.Itoa(targets)}
	for i, m := range results {
		cells = append(cells, fmt.Sprintf("%.2f", m.quantile(.5)), fmt.Sprintf("%.2f", m.quantile(.99)))
		if i != direct {
			cells = append(cells, fmt.Sprintf("%.2f", m.milliseconds()))
		}
	}
	other, own := results[pushProx], results[dhtprom]
	for _, ratio := range []float64{
		own.quantile(.5) / other.quantile(.5), own.quantile(.99) / other.quantile(.99), own.speed() / other.speed(), own.milliseconds() / other.milliseconds(),
	} {
		cells = append(cells, fmt.Sprintf("%.2f", ratio))
	}
	return load.Row(cells...)
}

// measure scrapes n targets in all ways.
func (w *world) measure(ctx context.Context, n, size, rounds int) ([]*measured, error) {
	results := make([]*measured, len(w.ways))
	for i := range results {
		results[i] = &measured{}
	}
	scrapes := min(max(volume/size/n, minScrapes), maxScrapes)
	for round := range rounds + 1 { // the first one warms up
		for i := range w.ways {
			turn := (i + round) % len(w.ways)
			way, m := w.ways[turn], results[turn]
			if round == 0 {
				m = &measured{}
			}
			if err := m.measure(ctx, way, n, size, scrapes); err != nil {
				return nil, fmt.Errorf("%s: %w", way.Name, err)
			}
		}
	}
	return results, nil
}

// measure scrapes n targets several times, all at once each time.
func (m *measured) measure(ctx context.Context, way *load.Way, n, size, scrapes int) error {
	latencies, errs := make([]time.Duration, n), make([]error, n)
	before, err := way.ProcessorTime()
	if err != nil {
		return err
	}
	for range scrapes {
		began := time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				s, err := way.Scrape(ctx, i, size)
				latencies[i], errs[i] = s.Took, err
			})
		}
		all.Wait()
		m.busy += time.Since(began)
		if err := errors.Join(errs...); err != nil {
			return err
		}
		m.latencies = append(m.latencies, latencies...)
		m.bytes += n * size
	}
	after, err := way.ProcessorTime()
	m.cpu += after - before
	return err
}
