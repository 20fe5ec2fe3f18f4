//go:build linux

// Command fleet measures what clients cost a scraper: CPU time, loop latency and the time of another client's scrapes while many of them
// register at once, and CPU time and wake-ups while all of them are idle.
//
//	go run ./bench/fleet -clients 300 -idle 30s
//
// The scraper is a child process, so that its figures have nothing of the clients and of the DHT, which run in this one. Percentages
// of CPU are of one core.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
)

var (
	clients  = flag.Int("clients", 300, "number of clients")
	perNode  = flag.Int("per-node", 25, "clients that share a node")
	over     = flag.Duration("over", 0, "time in which the clients start, evenly; all at once by default")
	settle   = flag.Duration("settle", 10*time.Second, "time between the last registration and the idle phase")
	idle     = flag.Duration("idle", 20*time.Second, "length of the idle phase")
	profile  = flag.String("profile", "", "prefix of profiles of the scraper, CPU and heap, two for each phase")
	procs    = flag.Int("processors", 0, "number of processors of the scraper; all by default")
	scraping = flag.Bool("scraper", false, "run the scraper, as the child process")
)

// registrations is the phase in which the clients register.
const registrations = "registrations"

// patience bounds each phase.
const patience = 10 * time.Minute

func main() {
	flag.Parse()
	run := measure
	if *scraping {
		run = scrape
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// secret is the one with which all clients register.
func secret() (domain.Secret, error) {
	return domain.SecretFromBytes([]byte(strings.Repeat("s", domain.KeySize)))
}

// measure starts the scraper and the clients, and prints the figures.
func measure() error {
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		return err
	}
	defer dht.Close()
	s, err := startScraper(dht.Bootstrap()[0])
	if err != nil {
		return err
	}
	defer s.kill()
	nodes, err := startNodes(dht)
	if err != nil {
		return err
	}
	defer func() {
		for _, n := range nodes {
			_ = n.Close()
		}
	}()

	if err := register(nodes[:1], s.key, probeAlias); err != nil {
		return err
	}
	before, err := s.ask(registrations)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := register(nodes, s.key, aliases()...); err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := s.ask("")
	if err != nil {
		return err
	}
	n := float64(*clients)
	fmt.Printf("%d clients registered in %.1f s (%.0f/s)\n", *clients, took.Seconds(), n/took.Seconds())
	fmt.Printf("CPU for each registration: %.3f ms\n", (after.CPU-before.CPU).Seconds()*1000/n)
	fmt.Printf("loop latency: %v\n", after.Loop)
	fmt.Printf("scrape latency: %v\n", after.Scrapes)

	time.Sleep(*settle)
	if before, err = s.ask("idle"); err != nil {
		return err
	}
	begin = time.Now()
	time.Sleep(*idle)
	if after, err = s.ask(""); err != nil {
		return err
	}
	took = time.Since(begin)
	fmt.Printf("%d idle clients, %d connected: CPU %.2f %%, %.0f context switches/s, %.1f MB at the peak\n", *clients, after.Connected,
		(after.CPU-before.CPU).Seconds()/took.Seconds()*100, float64(after.Switches-before.Switches)/took.Seconds(), float64(after.Peak)/1e6)
	return nil
}

// startNodes starts the nodes of the clients.
func startNodes(dht *node.DHT) (nodes []*dhtprom.Node, err error) {
	for range (*clients + *perNode - 1) / *perNode {
		ready := make(chan struct{})
		cfg, err := dht.Config()
		if err != nil {
			return nodes, err
		}
		cfg.OnReady = func() { close(ready) }
		n, err := dhtprom.NewNode(cfg)
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
		<-ready
	}
	return nodes, nil
}

// aliases returns those of all clients.
func aliases() (names []string) {
	for i := range *clients {
		names = append(names, fmt.Sprintf("client-%05d", i))
	}
	return names
}

// register starts clients and waits until each of them is registered.
func register(nodes []*dhtprom.Node, scraper domain.PublicKey, aliases ...string) error {
	secret, err := secret()
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	results := make(chan error)
	for i, alias := range aliases {
		go func() {
			time.Sleep(*over * time.Duration(i) / time.Duration(len(aliases)))
			c, err := client.Start(context.Background(), nodes[i%len(nodes)], client.Config{
				Scrapers: []app.ClientScraper{{Key: scraper, Secret: secret}}, Alias: alias,
				Func: func(context.Context) (string, error) { return "up 1\n", nil },
			})
			if err == nil {
				err = c.Registered(ctx)
			}
			results <- err
		}()
	}
	var errs []error
	for range aliases {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// process is the scraper's process.
type process struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	key domain.PublicKey
}

func startScraper(bootstrap string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-scraper", "-profile", *profile, bootstrap)
	cmd.Stderr = os.Stderr
	if *procs > 0 {
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", *procs))
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &process{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	var key string
	if err = s.out.Decode(&key); err == nil {
		s.key, err = domain.ParsePublicKey(key)
	}
	if err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

// ask returns the figures so far, and begins the phase with a name, or none.
func (p *process) ask(phase string) (f figures, err error) {
	if err = p.in.Encode(phase); err == nil {
		err = p.out.Decode(&f)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the scraper has ended")
	}
	return f, err
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
