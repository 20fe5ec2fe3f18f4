package app_test

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// A service that serves its own metrics. Host, network and source are in memory here; a program uses adapters/udp, adapters/dht
// and adapters/source.
func ExampleClient() {
	loop := portstest.NewLoop(1)
	scraper, err := domain.ParsePublicKey("tkrq8zmwb8a3m9k15csu3q17qmfgqnp9dskbrg9uq1rydpyxp7qy")
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := domain.ParseSecret("101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f")
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := app.NewClient(app.ClientConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)),
		Source: portstest.NewSource(loop, "up 1\n"), Scraper: scraper, Secret: secret,
		Alias: "laptop", Service: "backup", Hostname: "mercury",
		OnEvent: func(e domain.Event) { fmt.Println(e.LogRecord().Name) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	loop.Turn(func() {
		client.Start(func(err error) { fmt.Println("listening:", err == nil) })
	})
	loop.Advance(time.Second)
	// Output:
	// alias-attempt
	// listening: true
	// register-alias-error
}

// A process that serves several exporters: an alias and a key for each, on one transport, and two scrapers.
func ExampleGroup() {
	loop := portstest.NewLoop(1)
	seed := domain.SeedFrom([32]byte{1, 2, 3}) // the process's own, kept in a file
	scrapers := []app.ClientScraper{
		{Key: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{4})).Public, Secret: domain.SecretFrom([32]byte{5, 6})},
		{Key: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{7})).Public, Secret: domain.SecretFrom([32]byte{8, 9})},
	}
	cfg := app.GroupConfig{Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop))}
	for _, alias := range []domain.Alias{"node", "database"} {
		cfg.Clients = append(cfg.Clients, app.ClientConfig{
			Source: portstest.NewSource(loop, "up 1\n"), Scrapers: scrapers,
			Alias: alias, Keys: app.AliasKeys(seed, alias), Hostname: "mercury",
		})
	}
	group, err := app.NewGroup(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	loop.Turn(func() {
		group.Start(func(err error) { fmt.Println("listening:", err == nil) })
	})
	loop.Advance(time.Second)
	for _, c := range group.Clients() {
		fmt.Printf("%s has key %s and %d scrapers\n", c.Alias(), c.PublicKey().Short(), len(c.Status().Scrapers))
	}
	loop.Turn(func() {
		group.Close(func() { fmt.Println("closed") })
	})
	loop.Advance(5 * time.Second)
	// Output:
	// listening: true
	// node has key 1b3aqtxp and 2 scrapers
	// database has key 3ncczdb1 and 2 scrapers
	// closed
}
