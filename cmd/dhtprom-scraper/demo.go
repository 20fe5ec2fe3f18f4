package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

const (
	demoNodes = 4
	demoAlias = "demo"
)

// demo runs a private DHT, a scraper and a client, says what to look at, and goes on until ctx ends. All of it lives on
// loopback and in a temporary folder.
func demo(ctx context.Context, cfg runConfig, stdout io.Writer, log *slog.Logger) (err error) {
	folder, err := os.MkdirTemp("", "dhtprom-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()

	h, cleanup := machine.Host()
	defer cleanup()
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	port, err := freePorts(demoNodes)
	if err != nil {
		return err
	}
	nodes, err := startNodes(h, bootstrapConfig{host: loopback, port: port, nodes: demoNodes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopNodes(h, nodes)) }()

	cfg.storage, cfg.targetsFile = folder, filepath.Join(folder, "targets.json")
	cfg.bootstrap = []string{netip.AddrPortFrom(loopback, uint16(port)).String()}
	cfg.listen = netip.AddrPortFrom(loopback, 0)
	cfg.fixedSecrets = true
	id := identity{keys: domain.KeyPairFromSeed(keyfile.NewSeed()), secrets: []domain.Secret{keyfile.NewSecret()}}
	p, stop, err := newProgram(cfg, id, log, machine.DHT)
	if err != nil {
		return err
	}
	defer stop()
	client, err := newDemoClient(h, cfg, id, log)
	if err != nil {
		return err
	}
	p.onReady = func(address string) {
		sayWhatToDo(stdout, address)
		h.Post(func() {
			client.Start(func(err error) {
				if err != nil {
					log.Error("The demo's client did not start", "err", err)
				}
			})
		})
	}
	// The client goes first, while there is somebody to say goodbye to.
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	clientClosed := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		clientClosed <- closeClient(h, client)
		end()
	})
	err = p.Run(running)
	if ctx.Err() == nil {
		return errors.Join(err, closeClient(h, client)) // it failed by itself
	}
	return errors.Join(err, <-clientClosed)
}

// freePorts finds a run of UDP ports that are free now.
func freePorts(n int) (first int, err error) {
	for range 100 {
		first, err = runOfPorts(n)
		if err == nil {
			return first, nil
		}
	}
	return 0, fmt.Errorf("no free UDP ports: %w", err)
}

func runOfPorts(n int) (first int, err error) {
	for i := range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: first + min(i, first)})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if i == 0 {
			first = c.LocalAddr().(*net.UDPAddr).Port
		}
	}
	if first+n > 65535 {
		return 0, errors.New("at the end of the ports")
	}
	return first, nil
}

// newDemoClient is a client with this process's metrics. It is a node of its own in the same private DHT, as it would
// be on another machine.
func newDemoClient(h *udp.Host, cfg runConfig, id identity, log *slog.Logger) (*app.Client, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	transport, err := machine.On(h, func() (ports.Transport, error) {
		return machine.DHT(h, machine.Node{Bootstrap: cfg.bootstrap, Listen: cfg.listen})
	})
	if err != nil {
		return nil, err
	}
	return machine.On(h, func() (*app.Client, error) {
		return app.NewClient(app.ClientConfig{
			Host: h, Transport: transport, Source: source.Gatherer(h, registry), Scraper: id.keys.Public, Secret: id.secrets[0],
			Alias: demoAlias, Service: "dhtprom-demo", Hostname: hostname, OnEvent: app.LogEvents(h, log),
		})
	})
}

func closeClient(h *udp.Host, c *app.Client) error {
	return machine.End(h, "the client", closeTimeout, c.Close)
}

func sayWhatToDo(w io.Writer, address string) {
	_, _ = fmt.Fprintf(w, `A private DHT, a scraper and a client run in this process. In a moment the client is registered as %q.

  curl http://%[2]s/scrape/%[1]s/metrics     the client's metrics, over the DHT
  curl http://%[2]s/sd/prometheus            what Prometheus discovers
  curl http://%[2]s/metrics                  the scraper's own metrics
  open http://%[2]s/                         who is registered, and how it is doing

http://%[2]s/node has a prometheus.yml to copy. Ctrl-C ends the demo.
`, demoAlias, address)
}
