// Command embed is a service that embeds dhtprom: it exposes its metrics to the scraper of the invite in DHTPROM_INVITE, and is
// wired with github.com/google/wire.
//
//	DHTPROM_INVITE=dhtprom1... go run ./examples/embed
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, invite(os.Getenv("DHTPROM_INVITE"))); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, from invite) error {
	s, cleanup, err := newService(from)
	if err != nil {
		return err
	}
	defer cleanup() // says goodbye
	return s.serve(ctx)
}

// invite is the scraper's invite, as text.
type invite string

// service is the service itself. Its metrics are its own; dhtprom only serves them.
type service struct {
	client *client.Client
	orders prometheus.Counter
}

func (s *service) serve(ctx context.Context) error {
	if err := s.client.Start(ctx); err != nil {
		return err
	}
	s.orders.Inc() // the first order
	if err := s.client.Registered(ctx); err != nil {
		return nil // stopped earlier
	}
	slog.Info("Registered", "public_key", s.client.PublicKey().String())
	<-ctx.Done()
	return nil
}

// The providers of the wiring.

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector())
	return r
}

func newOrders(r *prometheus.Registry) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_orders_total", Help: "Orders so far."})
	r.MustRegister(c)
	return c
}

// newNodeConfig joins the network of the invite.
func newNodeConfig(cfg client.Config) (dhtprom.NodeConfig, error) { return cfg.Network() }

func newClientConfig(from invite, r *prometheus.Registry) client.Config {
	return client.Config{Invite: string(from), Alias: "embed", Service: "shop", Gatherer: r, Logger: slog.Default()}
}
