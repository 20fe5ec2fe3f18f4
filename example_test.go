package dhtprom_test

import (
	"context"
	"fmt"
	"log"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// One node for everything: a service that scrapes others and is scraped itself, in a private DHT.
func ExampleNode() {
	ctx := context.Background()
	dht, err := node.NewDHT(node.DHTConfig{})
	check(err)
	defer dht.Close()
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()})
	check(err)
	defer n.Close() // closes everything below, too

	s, err := scraper.Start(ctx, n, scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
	})
	check(err)
	invite, err := s.Invite(dht.Bootstrap()...)
	check(err)
	answers := func(context.Context) (string, error) { return "answers 42\n", nil }
	c, err := client.Start(ctx, n, client.Config{Invite: invite, Alias: "itself", Func: answers})
	check(err)
	check(c.Registered(ctx))
	page, err := s.Scrape(ctx, "itself")
	fmt.Printf("%s%v\n", page, err)
	// Output:
	// answers 42
	// <nil>
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
