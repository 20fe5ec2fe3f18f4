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
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// Scrapes of each target in a round: volume bytes through each way, within the bounds.
const (
	volume     = 20 << 20
	minScrapes = 3
	maxScrapes = 200
)

// timeout is the one of a scrape.
const timeout = 30 * time.Second

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
	ofSize, err := numbers(sizes)
	if err != nil {
		return fmt.Errorf("-sizes: %w", err)
	}
	ofTargets, err := numbers(targets)
	if err != nil {
		return fmt.Errorf("-targets: %w", err)
	}
	w, err := newWorld(ctx, programs, slices.Max(ofTargets))
	if err != nil {
		return err
	}
	defer w.close()
	columns := []string{
		"page", "coding", "targets", "direct p50, ms", "p99", "PushProx p50, ms", "p99", "CPU, ms", "dhtprom p50, ms", "p99", "CPU, ms",
		"dhtprom/PushProx p50", "p99", "bytes per second", "CPU",
	}
	fmt.Printf("| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, n := range ofTargets {
		for _, size := range ofSize {
			for _, coding := range codings {
				w.serve(size, coding)
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

func numbers(text string) (all []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("want positive numbers, got %q", field)
		}
		all = append(all, n)
	}
	return all, nil
}

// measured are the scrapes of one way.
type measured struct {
	latencies []time.Duration
	bytes     int
	busy      time.Duration // sum of the rounds
	cpu       time.Duration // processor time of the programs in between
}

func (m *measured) quantile(q float64) float64 {
	slices.Sort(m.latencies)
	return m.latencies[min(int(q*float64(len(m.latencies))), len(m.latencies)-1)].Seconds() * 1e3
}

// milliseconds returns the processor time of a scrape.
func (m *measured) milliseconds() float64 { return m.cpu.Seconds() * 1e3 / float64(len(m.latencies)) }

func (m *measured) speed() float64 { return float64(m.bytes) / m.busy.Seconds() }

func row(size int, coding string, targets int, results []*measured) string {
	cells := []string{bytesText(size), coding, strconv.Itoa(targets)}
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
	return "| " + strings.Join(cells, " | ") + " |"
}

func bytesText(n int) string {
	if n >= 1e6 {
		return fmt.Sprintf("%g MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%g kB", float64(n)/1e3)
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
			if err := way.measure(ctx, n, size, scrapes, m); err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
		}
	}
	return results, nil
}

// measure scrapes n targets several times, all at once each time.
func (w *way) measure(ctx context.Context, n, size, scrapes int, m *measured) error {
	latencies, errs := make([]time.Duration, n), make([]error, n)
	before, err := w.processorTime()
	if err != nil {
		return err
	}
	for range scrapes {
		began := time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { latencies[i], errs[i] = w.scrape(ctx, i, size) })
		}
		all.Wait()
		m.busy += time.Since(began)
		if err := errors.Join(errs...); err != nil {
			return err
		}
		m.latencies = append(m.latencies, latencies...)
		m.bytes += n * size
	}
	after, err := w.processorTime()
	m.cpu += after - before
	return err
}

// way is one to scrape the targets.
type way struct {
	name     string
	http     *http.Client
	url      func(target int) string
	programs []*child
}

// processorTime returns the one that the programs used so far.
func (w *way) processorTime() (sum time.Duration, err error) {
	for _, c := range w.programs {
		used, err := c.processorTime()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.cmd.Path, err)
		}
		sum += used
	}
	return sum, nil
}

// scrape scrapes a target as Prometheus 3 does, and checks the size of its page, in whole lines.
func (w *way) scrape(ctx context.Context, target, size int) (time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url(target), http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"+
		"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "Prometheus/3.16.0")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	began := time.Now()
	res, err := w.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return 0, err
		}
	}
	n, err := io.Copy(io.Discard, body)
	took := time.Since(began)
	switch {
	case err != nil:
		return 0, err
	case res.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%s answered %s", req.URL, res.Status)
	case n > int64(size) || n < int64(size)-1000:
		return 0, fmt.Errorf("%s answered %d bytes of %d", req.URL, n, size)
	}
	return took, nil
}

// child is a program that runs until it is stopped.
type child struct {
	cmd    *exec.Cmd
	output *os.File
}

// startChild starts a program in a folder, with its output in a file there.
func startChild(dir, name, program string, args ...string) (*child, error) {
	out, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program, args...), output: out}
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = dir, out, out
	if err := c.cmd.Start(); err != nil {
		out.Close()
		return nil, err
	}
	return c, nil
}

// processorTime returns the one that the program used so far, from Linux's clock of its process.
func (c *child) processorTime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(int32(^c.cmd.Process.Pid)<<3|unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

func (c *child) stop() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
	c.output.Close()
}
