package main

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestWebServerSpeaksHTTP1Alone(t *testing.T) {
	s, closeServer, err := newWebServer(config{webAddress: "127.0.0.1:0"}, &own{registry: prometheus.NewRegistry()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer closeServer()
	if p := s.server.Protocols; p == nil || !p.HTTP1() || p.HTTP2() || p.UnencryptedHTTP2() {
		t.Errorf("it speaks %v", p)
	}
}
