//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/scraper"
)

// figures is the report of the scraper at the end of a phase.
type figures struct {
	CPU       time.Duration // of the process since its start
	Switches  int64         // voluntary context switches since its start
	Peak      int64         // resident memory in bytes, at most since its start
	Connected int           // clients with an open connection
	Loop      latency       // from a post to its turn, since the phase began
	Scrapes   latency       // of the client with the alias probe, likewise
}

// latency summarizes durations.
type latency struct{ P50, P99, Max time.Duration }

func summarize(all []time.Duration) (l latency) {
	if k := len(all); k > 0 {
		slices.Sort(all)
		l = latency{all[k/2], all[k*99/100], all[k-1]}
	}
	return l
}

func (l latency) String() string { return fmt.Sprintf("p50 %v, p99 %v, max %v", l.P50, l.P99, l.Max) }

// probeAlias is the alias of a client that is scraped while the others register.
const probeAlias = "probe"

// probeInterval is the time between two measurements of the latency of the loop, and of scrapes, while clients register.
const probeInterval = 5 * time.Millisecond

// scrape is the child process: a scraper that answers the name of each phase with its figures.
func scrape() error {
	if *profile != "" {
		runtime.MemProfileRate = heapSample
	}
	secret, err := secret()
	if err != nil {
		return err
	}
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: flag.Args()})
	if err != nil {
		return err
	}
	defer n.Close()
	s, err := scraper.Start(context.Background(), n, scraper.Config{Seed: domain.SeedFrom([32]byte{3}), Secrets: []domain.Secret{secret}})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(s.PublicKey().Hex()); err != nil {
		return err
	}
	for in, end := json.NewDecoder(os.Stdin), func() probes { return probes{} }; ; {
		var phase string
		if err := in.Decode(&phase); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		f, err := read(s, end())
		if err != nil {
			return err
		}
		if end, err = begin(n, s, phase); err != nil {
			return err
		}
		if err := out.Encode(f); err != nil {
			return err
		}
	}
}

// probes are the latencies of a phase.
type probes struct{ loop, scrapes []time.Duration }

// begin starts what is measured in a phase. end stops it and returns the latencies.
func begin(n *dhtprom.Node, s *scraper.Scraper, phase string) (end func() probes, err error) {
	profiled := phase != "" && *profile != ""
	if profiled {
		f, err := os.Create(*profile + "-" + phase + ".pprof")
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
	}
	var all probes
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if phase == registrations {
		running.Go(func() {
			all.loop = probe(ctx, func() error { return n.Do(ctx, func() error { return nil }) })
		})
		running.Go(func() {
			all.scrapes = probe(ctx, func() error { _, err := s.Scrape(ctx, probeAlias); return err })
		})
	}
	return func() probes {
		stop()
		running.Wait()
		if profiled {
			pprof.StopCPUProfile()
			if err := writeHeap(*profile + "-" + phase + ".heap.pprof"); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		return all
	}, nil
}

// probe calls f until the context ends, and returns how long the calls without an error took.
func probe(ctx context.Context, f func() error) (all []time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return all
		case <-time.After(probeInterval):
		}
		begin := time.Now()
		if f() == nil {
			all = append(all, time.Since(begin))
		}
	}
}

// heapSample is the number of allocated bytes for each one that a profile has of the heap.
const heapSample = 512

// writeHeap writes what is in use after a garbage collection.
func writeHeap(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// read takes the figures.
func read(s *scraper.Scraper, p probes) (f figures, err error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return f, err
	}
	f.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	f.Switches, f.Peak = int64(u.Nvcsw), int64(u.Maxrss)<<10
	f.Loop, f.Scrapes = summarize(p.loop), summarize(p.scrapes)
	aliases, err := s.Aliases(context.Background())
	for _, a := range aliases {
		if a.SessionUp {
			f.Connected++
		}
	}
	return f, err
}
