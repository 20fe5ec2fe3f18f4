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

// A process that serves several exporters, under one key and one connection to each of two scrapers.
func ExampleClient_targets() {
	loop := portstest.NewLoop(1)
	seed := domain.SeedFrom([32]byte{1, 2, 3}) // the process's own, kept in a file
	cfg := app.ClientConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)), Keys: app.AliasKeys(seed, ""),
		Scrapers: []app.ClientScraper{
			{Key: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{4})).Public, Secret: domain.SecretFrom([32]byte{5, 6})},
			{Key: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{7})).Public, Secret: domain.SecretFrom([32]byte{8, 9})},
		},
	}
	for _, alias := range []domain.Alias{"node", "database"} {
		cfg.Targets = append(cfg.Targets, app.ClientTarget{
			Target: domain.Target{Alias: alias, Hostname: "mercury"}, Source: portstest.NewSource(loop, "up 1\n"),
			Keys: app.AliasKeys(seed, alias), // with scrapers that know no sets
		})
	}
	client, err := app.NewClient(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	loop.Turn(func() {
		client.Start(func(err error) { fmt.Println("listening:", err == nil) })
	})
	loop.Advance(time.Second)
	loop.Turn(func() {
		if err := client.SetTargets(cfg.Targets[:1]); err != nil {
			fmt.Println(err)
		}
	})
	for t := range client.Set().All() {
		fmt.Printf("%s is for %d scrapers\n", t.Alias, len(client.TargetStatus(t.Alias).Scrapers))
	}
	loop.Turn(func() {
		client.Close(func() { fmt.Println("closed") })
	})
	loop.Advance(5 * time.Second)
	// Output:
	// listening: true
	// node is for 2 scrapers
	// closed
}
