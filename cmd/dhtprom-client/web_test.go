package main

import (
	"log/slog"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
)

func TestWebServerSpeaksHTTP1Alone(t *testing.T) {
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Connect: newBench(t).connect})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	_, v := newInvite(t)
	c, err := client.New(n, client.Config{Alias: "a", Scrapers: []app.ClientScraper{{Key: v.Scraper, Secret: v.Secret}}})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	s, closeServer, err := newWebServer(config{web: webConfig{address: "127.0.0.1:0"}}, c, &targetFiles{}, &reloader{}, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer closeServer()
	if p := s.server.Protocols; p == nil || !p.HTTP1() || p.HTTP2() || p.UnencryptedHTTP2() {
		t.Errorf("it speaks %v", p)
	}
}
