package client_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// A service exposes its registry. It only needs an invite.
func ExampleExpose() {
	invite, scrape, closeAll := exampleScraper() // elsewhere: dhtprom-scraper, and dhtprom-scraper invite
	defer closeAll()

	registry := prometheus.NewRegistry()
	orders := prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_orders_total", Help: "Orders so far."})
	registry.MustRegister(orders)
	orders.Add(3)

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- client.Expose(ctx, client.Config{Invite: invite, Alias: "shop-7", Service: "shop", Gatherer: registry})
	}()
	fmt.Print(scrape("shop-7"))

	stop() // says goodbye to the scraper
	fmt.Println(<-ended)
	// Output:
	// # HELP shop_orders_total Orders so far.
	// # TYPE shop_orders_total counter
	// shop_orders_total 3
	// <nil>
}

// A service handles its events: by a logger, and by code of its own.
func ExampleConfig() {
	invite, _, closeAll := exampleScraper()
	defer closeAll()
	n, err := dhtprom.NewNode(exampleNetwork(invite))
	check(err)
	defer n.Close()

	registered := make(chan bool, 1)
	c, err := client.Start(context.Background(), n, client.Config{
		Invite: invite, Alias: "shop-7", Gatherer: prometheus.NewRegistry(),
		Logger: exampleLogger("register-alias-success"),
		OnEvent: func(e domain.Event) { // on the node's loop: must not block
			if e, ok := e.(domain.RegisterAliasSuccess); ok {
				registered <- e.Updated
			}
		},
	})
	check(err)
	fmt.Println("new:", <-registered)
	fmt.Println(c.Close())
	// Output:
	// level=INFO msg=register-alias-success alias=shop-7 updated=true
	// new: true
	// <nil>
}

// exampleScraper runs a private DHT with a scraper on it. scrape waits until an alias is registered and returns its metrics.
func exampleScraper() (invite string, scrape func(alias string) string, closeAll func()) {
	dht, err := node.NewDHT(node.DHTConfig{})
	check(err)
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()})
	check(err)
	registered := make(chan struct{}, 16)
	s, err := scraper.Start(context.Background(), n, scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		OnEvent: func(e domain.Event) {
			if _, ok := e.(domain.AliasSuccess); ok {
				registered <- struct{}{}
			}
		},
	})
	check(err)
	invite, err = s.Invite(dht.Bootstrap()...)
	check(err)
	scrape = func(alias string) string {
		<-registered
		page, err := s.Scrape(context.Background(), alias)
		check(err)
		return string(page)
	}
	return invite, scrape, func() {
		_ = n.Close()
		_ = dht.Close()
	}
}

func exampleNetwork(invite string) dhtprom.NodeConfig {
	cfg, err := client.Config{Invite: invite}.Network()
	check(err)
	return cfg
}

// exampleLogger logs one kind of event, without the values that differ from run to run.
func exampleLogger(event string) *slog.Logger {
	text := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.LevelKey, slog.MessageKey, "alias", "updated":
			return a
		}
		return slog.Attr{}
	}})
	return slog.New(only{event, text})
}

type only struct {
	event string
	slog.Handler
}

func (o only) Handle(ctx context.Context, r slog.Record) error {
	if r.Message != o.event {
		return nil
	}
	return o.Handler.Handle(ctx, r)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
