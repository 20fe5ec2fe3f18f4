package scraper_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// A scraper in a service, with its HTTP handler on the service's own server.
func Example() {
	ctx, network, closeAll := exampleNetwork() // elsewhere: the public DHT, dhtprom.NodeConfig{}
	defer closeAll()
	n, err := dhtprom.NewNode(network)
	check(err)
	defer n.Close()

	s, err := scraper.Start(ctx, n, scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})}, // in practice from files
	})
	check(err)
	handler, err := s.Handler(scraper.HandlerConfig{RoutePrefix: "/dhtprom"})
	check(err)
	mux := http.NewServeMux()
	mux.Handle("/dhtprom/", handler)
	server := httptest.NewServer(mux)
	defer server.Close()

	invite, err := s.Invite(network.Bootstrap...)
	check(err)
	exampleClient(ctx, invite, "shop-7", "shop_orders_total 3\n") // elsewhere
	fmt.Print(get(server.URL + "/dhtprom/scrape/shop-7/metrics"))
	// Output:
	// shop_orders_total 3
}

func exampleNetwork() (ctx context.Context, network dhtprom.NodeConfig, closeAll func()) {
	dht, err := node.NewDHT(node.DHTConfig{})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	return ctx, dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()}, func() {
		cancel()
		_ = dht.Close()
	}
}

// exampleClient serves a page until ctx ends, and returns once it is registered.
func exampleClient(ctx context.Context, invite, alias, page string) {
	cfg := client.Config{Invite: invite, Alias: alias, Func: func(context.Context) (string, error) { return page, nil }}
	network, err := cfg.Network()
	check(err)
	n, err := dhtprom.NewNode(network)
	check(err)
	context.AfterFunc(ctx, func() { _ = n.Close() })
	c, err := client.Start(ctx, n, cfg)
	check(err)
	check(c.Registered(ctx))
}

func get(url string) string {
	res, err := http.Get(url)
	check(err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	check(err)
	return string(page)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
