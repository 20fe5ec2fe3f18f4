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
	"syscall"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/scraper"
)

// figures is the report of the scraper at the end of a phase.
type figures struct {
	CPU           time.Duration // of the process since its start
	Switches      int64         // voluntary context switches since its start
	Peak          int64         // resident memory in bytes, at most since its start
	Connected     int           // clients with an open connection
	P50, P99, Max time.Duration // from a post to its turn, since the phase began
}

// probeInterval is the time between two measurements of the latency of the loop, while clients register.
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
	for in, end := json.NewDecoder(os.Stdin), func() []time.Duration { return nil }; ; {
		var phase string
		if err := in.Decode(&phase); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		f, err := read(n, s, end())
		if err != nil {
			return err
		}
		if end, err = begin(n, phase); err != nil {
			return err
		}
		if err := out.Encode(f); err != nil {
			return err
		}
	}
}

// begin starts what is measured in a phase. end stops it and returns the latencies.
func begin(n *dhtprom.Node, phase string) (end func() []time.Duration, err error) {
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
	stop, result := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var all []time.Duration
		for phase == "registrations" {
			select {
			case <-stop:
				result <- all
				return
			case <-time.After(probeInterval):
			}
			posted := time.Now()
			if n.Do(context.Background(), func() error { return nil }) == nil {
				all = append(all, time.Since(posted))
			}
		}
		<-stop
		result <- nil
	}()
	return func() []time.Duration {
		close(stop)
		all := <-result
		if profiled {
			pprof.StopCPUProfile()
			if err := writeHeap(*profile + "-" + phase + ".heap.pprof"); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		return all
	}, nil
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
func read(n *dhtprom.Node, s *scraper.Scraper, latencies []time.Duration) (f figures, err error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return f, err
	}
	f.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	f.Switches, f.Peak = int64(u.Nvcsw), int64(u.Maxrss)<<10
	if k := len(latencies); k > 0 {
		slices.Sort(latencies)
		f.P50, f.P99, f.Max = latencies[k/2], latencies[k*99/100], latencies[k-1]
	}
	aliases, err := s.Aliases(context.Background())
	for _, a := range aliases {
		if a.SessionUp {
			f.Connected++
		}
	}
	return f, err
}
