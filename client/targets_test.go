package client_test

import (
	"context"
	"maps"
	"net/url"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
)

// Configurations that are read again are equal, though their pointers are not.
func TestSetTargetsKeepsTheSourcesOfUnchangedExporters(t *testing.T) {
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dht.Close()
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	proxy, err := url.Parse("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	target := func(alias, page string, auth config.HTTPClientConfig) client.Target {
		at, err := exporter.ParseTarget("http://127.0.0.1:1/" + page)
		if err != nil {
			t.Fatal(err)
		}
		return client.Target{Alias: alias, HTTP: &exporter.Config{Target: at, Client: auth}}
	}
	targets := func(page string) []client.Target {
		return []client.Target{
			target("plain", "metrics", config.HTTPClientConfig{}),
			target("token", "metrics", config.HTTPClientConfig{Authorization: &config.Authorization{Credentials: "x"}}),
			target("oauth", "metrics", config.HTTPClientConfig{OAuth2: &config.OAuth2{
				ClientID: "me", ClientSecret: "x", TokenURL: "http://127.0.0.1:1/", ProxyConfig: config.ProxyConfig{ProxyURL: config.URL{URL: proxy}},
			}}),
			target("changed", page, config.HTTPClientConfig{}),
		}
	}
	c, err := client.New(n, client.Config{
		Scrapers: []app.ClientScraper{{Key: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1})).Public, Secret: domain.SecretFrom([32]byte{2, 3})}},
		Targets:  targets("a"),
	})
	if err != nil {
		t.Fatal(err)
	}
	sources := func() map[string]*source.Dropped {
		s, err := c.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]*source.Dropped{}
		for _, t := range s.Targets {
			all[string(t.Alias)] = t.Dropped // each source has counters of its own
		}
		return all
	}
	before := sources()
	if err := c.SetTargets(context.Background(), targets("b")); err != nil {
		t.Fatal(err)
	}
	after := sources()
	if before["changed"] == after["changed"] {
		t.Error("the target with another URL has the source of the one before")
	}
	delete(before, "changed")
	delete(after, "changed")
	if len(before) != 3 || !maps.Equal(before, after) {
		t.Errorf("sources before: %v, after: %v", before, after)
	}
	var none *exporter.Config
	if err := c.SetTargets(context.Background(), []client.Target{{Alias: "none", HTTP: none}}); err == nil {
		t.Error("a nil configuration is accepted")
	}
}

func TestGathererIsTheOneThatTheClientServes(t *testing.T) {
	own := prometheus.NewRegistry()
	text := func(context.Context) (string, error) { return "x 1\n", nil }
	for _, c := range []struct {
		cfg  client.Config
		want prometheus.Gatherer
	}{
		{client.Config{Gatherer: own}, own},
		{client.Config{}, prometheus.DefaultGatherer},
		{client.Config{Func: text}, nil},
		{client.Config{Targets: []client.Target{{Alias: "b", Gatherer: own}}}, nil},
	} {
		c.cfg.Alias, c.cfg.Scrapers = "a", []app.ClientScraper{{Key: domain.PublicKey{1}, Secret: domain.SecretFrom([32]byte{1})}}
		n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		one, err := client.New(n, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := one.Gatherer(); got != c.want {
			t.Errorf("got %v, want %v", got, c.want)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}
