package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
)

func TestServiceIsScrapedAndSaysGoodbye(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dht, err := dhtprom.NewPrivateDHT(4)
	if err != nil {
		t.Fatal(err)
	}
	defer dht.Close()
	registered := make(chan struct{}, 1)
	node, cleanup, err := dhtprom.ProvideNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap})
	if err != nil {
		t.Fatal(err)
	}
	defer cleanup()
	scraper, cleanup, err := dhtprom.ProvideScraper(ctx, node, dhtprom.ScraperConfig{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		OnEvent: func(e domain.Event) {
			if _, ok := e.(domain.AliasSuccess); ok {
				registered <- struct{}{}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cleanup()
	text, err := scraper.Invite(dht.Bootstrap...)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(running, invite(text)) }()
	<-registered
	if page, err := scraper.Scrape(ctx, "embed"); err != nil || !strings.Contains(string(page), "shop_orders_total 1") || !strings.Contains(string(page), "go_goroutines") {
		t.Errorf("%s, %v", page, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left, err := scraper.Aliases(); err != nil || len(left) != 0 {
		t.Errorf("%+v, %v", left, err)
	}
}

func TestServiceWithoutAnInviteSaysSo(t *testing.T) {
	if err := run(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "the invite is empty") {
		t.Errorf("%v", err)
	}
}
