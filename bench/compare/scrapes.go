package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

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
	if all.err != nil {
		fmt.Fprintf(os.Stderr, "%s: %d scrapes failed: %v\n", s.name, all.failed, all.err)
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
		rate := w.rate()
		if rate == 0 || math.Abs(rate-last) < level*last {
			break
		}
		last = rate
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
	f.failed += w.failed
	n := float64(len(w.latencies))
	if n == 0 {
		return
	}
	f.rate, f.cpu = append(f.rate, w.rate()), append(f.cpu, w.cpu.Seconds()*1e6/n)
	f.p50, f.p99 = append(f.p50, load.Quantile(w.latencies, .5)), append(f.p99, load.Quantile(w.latencies, .99))
	f.coding = w.coding
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
