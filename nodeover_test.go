package dhtprom_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/scraper"
)

// A service hands in the HyperDHT node that it has, uses it beside, and keeps it.
func TestNodeOverAServicesOwnNode(t *testing.T) {
	w := newWorld(t)
	machine := udp.New(udp.Options{})
	t.Cleanup(machine.Close)
	own, err := dhtnet.Start(w.ctx, machine, hyperdht.Config{Bootstrap: w.dht.Bootstrap()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	keys := id.KeyPairFromSeed(id.Seed{5})
	l, err := own.Listen(w.ctx, hyperdht.ListenOptions{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}

	var node *hyperdht.Node
	if err := own.Do(w.ctx, func(n *hyperdht.Node) { node = n }); err != nil {
		t.Fatal(err)
	}
	n, err := dhtprom.NodeOver(machine, node, dhtprom.NodeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if n.Stack().DHT != node {
		t.Error("it has another HyperDHT node")
	}
	seed, secret := domain.SeedFrom([32]byte{1}), domain.SecretFrom([32]byte{2, 3})
	s, err := scraper.Start(w.ctx, w.node, scraper.Config{Seed: seed, Secrets: []domain.Secret{secret}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Start(w.ctx, n, client.Config{
		Scrapers: []app.ClientScraper{{Key: s.PublicKey(), Secret: secret}}, Alias: "shop-7",
		Func: func(context.Context) (string, error) { return "x 1\n", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Registered(w.ctx); err != nil {
		t.Fatal(err)
	}
	if body, err := s.Scrape(w.ctx, "shop-7"); err != nil || string(body) != "x 1\n" {
		t.Errorf("scraped %q, %v", body, err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.Status(w.ctx); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("status of a closed node: %v", err)
	}

	// The service's own server goes on.
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = conn.Write([]byte("hello"))
		}
		accepted <- err
	}()
	conn, err := w.node.Streams().Dial(w.ctx, keys.Public, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, 5)
	if _, err := conn.Read(got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func TestNodeOverRejectsWhatMakesANode(t *testing.T) {
	for _, cfg := range []dhtprom.NodeConfig{
		{Bootstrap: []string{}}, {NodesFile: "nodes"}, {Listen: netip.MustParseAddrPort("127.0.0.1:1")}, {Seed: domain.SeedFrom([32]byte{1})},
		{PublicAddress: domain.Address{Host: "example.com", Port: 1}}, {PortMapping: dhtprom.MapNever}, {STUN: []string{"none"}},
		{NoUDPOffload: true}, {Mode: hyperdht.Ephemeral}, {OnReady: func() {}}, {TURN: dhtprom.TURNConfig{Servers: make([]domain.TURNServer, 1)}},
		{Relays: []domain.Reference{{Key: domain.PublicKey{1}, Addr: domain.Address{Host: "example.com", Port: 1}}}},
		{Relays: make([]domain.Reference, 1)},
	} {
		_, err := dhtprom.NodeOver(nil, nil, cfg)
		if _, ok := errors.AsType[*app.ConfigError](err); !ok {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
