// Compare runs the published JavaScript packages and dhtprom in turn on the same load, and prints the ratios.
//
//	go run ./bench/compare [-bytes 8000] [-count 3000] [-parallel 8] [-rounds 5]
//
// Each measurement is a client and a scraper in a process each, on a private DHT of six JavaScript nodes on this machine:
// first one scrape after the other, then several at a time over the one connection. The two rows alternate, so that other
// load on the machine affects both alike; the median of the rounds is printed.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dhtprom/dhtprom/domain"
)

type load struct {
	bytes, count, parallel, rounds int
}

// measurement is the output of a scraper.
type measurement struct {
	First    float64 `json:"first_ms"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Serial   float64 `json:"serial_per_s"`
	Parallel float64 `json:"parallel_per_s"`
	RSS      float64 `json:"rss_mb"`
}

func main() {
	if len(os.Args) > 1 && (os.Args[1] == roleClient || os.Args[1] == roleScraper) {
		if err := runRole(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var l load
	flag.IntVar(&l.bytes, "bytes", 8000, "size of a metrics page")
	flag.IntVar(&l.count, "count", 3000, "scrapes per measurement")
	flag.IntVar(&l.parallel, "parallel", 8, "scrapes at a time in the second half of a measurement")
	flag.IntVar(&l.rounds, "rounds", 5, "measurements of each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, l, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, l load, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script, err := findScript()
	if err != nil {
		return err
	}
	if err := install(ctx, filepath.Join(filepath.Dir(script), "..", "..", "interop", "js")); err != nil {
		return err
	}
	testnet := start(ctx, "node", script, "testnet")
	defer testnet.stop()
	var net struct{ Bootstrap string }
	if err := testnet.read(&net); err != nil {
		return fmt.Errorf("testnet: %w", err)
	}

	js, ours := []string{"node", script}, []string{self}
	pairs := []struct {
		name            string
		client, scraper []string
	}{
		{"JavaScript", js, js},
		{"dhtprom", ours, ours},
	}
	results := make([][]measurement, len(pairs))
	for round := range l.rounds {
		for i, p := range pairs {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, l.rounds, p.name)
			m, err := measure(ctx, net.Bootstrap, p.client, p.scraper, l)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			results[i] = append(results[i], m)
		}
	}
	return report(out, l, results[0], results[1])
}

func measure(ctx context.Context, bootstrap string, client, scraper []string, l load) (m measurement, err error) {
	seed := sha256.Sum256([]byte("compare"))
	seedText := fmt.Sprintf("%x", seed)
	parsed, err := domain.ParseSeed(seedText)
	if err != nil {
		return m, err
	}
	scraperKey := domain.KeyPairFromSeed(parsed).Public.Hex()

	c := start(ctx, client[0], append(client[1:len(client):len(client)], roleClient, bootstrap, scraperKey, strconv.Itoa(l.bytes))...)
	defer c.stop()
	var about struct{ Key string }
	if err := c.read(&about); err != nil {
		return m, fmt.Errorf("client: %w", err)
	}
	s := start(ctx, scraper[0], append(scraper[1:len(scraper):len(scraper)], roleScraper, bootstrap, seedText, about.Key,
		strconv.Itoa(l.count), strconv.Itoa(l.parallel))...)
	defer s.stop()
	if err := s.read(&m); err != nil {
		return m, fmt.Errorf("scraper: %w", err)
	}
	return m, nil
}

func report(out io.Writer, l load, js, ours []measurement) error {
	rows := []struct {
		name   string
		value  func(measurement) float64
		better string
	}{
		{"time to first scrape, ms", func(m measurement) float64 { return m.First }, "less"},
		{"scrape latency, median, µs", func(m measurement) float64 { return m.P50 }, "less"},
		{"scrape latency, 99 %, µs", func(m measurement) float64 { return m.P99 }, "less"},
		{"scrapes per second, one at a time", func(m measurement) float64 { return m.Serial }, "more"},
		{fmt.Sprintf("scrapes per second, %d at a time", l.parallel), func(m measurement) float64 { return m.Parallel }, "more"},
		{"resident memory of the scraper, MB", func(m measurement) float64 { return m.RSS }, "less"},
	}
	fmt.Fprintf(out, "%d bytes per scrape, %d scrapes, median of %d rounds\n\n", l.bytes, l.count, l.rounds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tJavaScript\tdhtprom\tdhtprom/JavaScript\tbetter is\t")
	for _, r := range rows {
		a, b := median(js, r.value), median(ours, r.value)
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%s\t\n", r.name, a, b, b/a, r.better)
	}
	return w.Flush()
}

func median(all []measurement, value func(measurement) float64) float64 {
	values := make([]float64, 0, len(all))
	for _, m := range all {
		values = append(values, value(m))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// findScript finds pair.js in the current checkout.
func findScript() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		script := filepath.Join(dir, "bench", "compare", "pair.js")
		if _, err := os.Stat(script); err == nil {
			return script, nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return "", errors.New("run this inside a checkout of dhtprom: bench/compare/pair.js was not found")
}

// install installs the pinned npm packages, unless they are present.
func install(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "dht-prom-client")); err == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", dir, err, out)
	}
	return nil
}

// process is a child that answers in lines of JSON.
type process struct {
	cmd    *exec.Cmd
	lines  *bufio.Reader
	stderr strings.Builder
	err    error
}

func start(ctx context.Context, name string, args ...string) *process {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	p.lines, p.err = bufio.NewReader(out), err
	return p
}

func (p *process) read(v any) error {
	if p.err != nil {
		return p.err
	}
	line, err := p.lines.ReadBytes('\n')
	if err != nil {
		p.cmd.Wait()
		return fmt.Errorf("ended without an answer: %w\n%s", err, p.stderr.String())
	}
	return json.Unmarshal(line, v)
}

func (p *process) stop() {
	if p.cmd.Process != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}
