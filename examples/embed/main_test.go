package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

func TestServiceIsScrapedAndSaysGoodbye(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dht.Close()
	registered := make(chan struct{}, 1)
	n, cleanup, err := dhtprom.ProvideNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()})
	if err != nil {
		t.Fatal(err)
	}
	defer cleanup()
	s, err := scraper.Start(ctx, n, scraper.Config{
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
	text, err := s.Invite(dht.Bootstrap()...)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(running, invite(text)) }()
	<-registered
	if page, err := s.Scrape(ctx, "embed"); err != nil || !strings.Contains(string(page), "shop_orders_total 1") || !strings.Contains(string(page), "go_goroutines") {
		t.Errorf("%s, %v", page, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left, err := s.Aliases(ctx); err != nil || len(left) != 0 {
		t.Errorf("%+v, %v", left, err)
	}
}

func TestServiceWithoutAnInviteSaysSo(t *testing.T) {
	if err := run(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "Invite: want the invite") {
		t.Errorf("%v", err)
	}
}
