package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
	"github.com/dhtprom/dhtprom/node"
)

const demoAlias = "demo"

// demo runs a private DHT, a scraper and a client on loopback and in a temporary folder, and prints what to look at, until ctx
// ends.
func demo(ctx context.Context, cfg runConfig, stdout io.Writer, screen *cli.Screen, log *slog.Logger) (err error) {
	folder, err := os.MkdirTemp("", "dhtprom-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dht.Close()) }()

	in, err := dht.Config()
	if err != nil {
		return err
	}
	cfg.storage, cfg.scraper.TargetsFile = folder, filepath.Join(folder, "targets.json")
	cfg.node.Bootstrap, cfg.node.Listen = in.Bootstrap, in.Listen
	cfg.fixedSecrets = true
	id := identity{keys: domain.KeyPairFromSeed(keyfile.NewSeed()), secrets: []domain.Secret{keyfile.NewSecret()}}
	p, stop, err := newProgram(cfg, id, log)
	if err != nil {
		return err
	}
	defer stop()
	p.screen = screen
	c, closeClient, err := newDemoClient(dht, id, log)
	if err != nil {
		return err
	}
	defer closeClient()
	p.onReady = func(address string) {
		sayWhatToDo(stdout, address)
		if err := c.Start(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			log.Error("The demo's client did not start", "err", err)
		}
	}
	// The client stops first, while the scraper can receive its goodbye.
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	clientClosed := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		clientClosed <- c.Close()
		end()
	})
	err = p.Run(running)
	if ctx.Err() == nil {
		return errors.Join(err, c.Close()) // it failed by itself
	}
	return errors.Join(err, <-clientClosed)
}

// newDemoClient creates a client that serves this process's metrics. It is a DHT node of its own, as on another machine.
func newDemoClient(dht *node.DHT, id identity, log *slog.Logger) (c *client.Client, cleanup func(), err error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	in, err := dht.Config()
	if err != nil {
		return nil, nil, err
	}
	n, cleanup, err := dhtprom.ProvideNode(in)
	if err != nil {
		return nil, nil, err
	}
	c, err = client.New(n, client.Config{
		Scrapers: []app.ClientScraper{{Key: id.keys.Public, Secret: id.secrets[0]}},
		Alias:    demoAlias, Service: "dhtprom-demo", Gatherer: registry, Logger: log,
	})
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	return c, cleanup, nil
}

func sayWhatToDo(w io.Writer, address string) {
	_, _ = fmt.Fprintf(w, `A private DHT, a scraper and a client run in this process. In a moment the client is registered as %q.

  curl http://%[2]s/scrape/%[1]s/metrics     the client's metrics, over the DHT
  curl http://%[2]s/sd/prometheus            what Prometheus discovers
  curl http://%[2]s/metrics                  the scraper's own metrics
  open http://%[2]s/                         the registered clients and their state

http://%[2]s/node has a prometheus.yml to copy. Ctrl-C ends the demo.
`, demoAlias, address)
}
