package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/node/turnserver"
)

// namespace begins the names of all metrics.
const namespace = "dhtprom"

// turnMetrics are the counters of a TURN server.
func turnMetrics(s *turnserver.Stats) (list []prometheus.Collector) {
	counter := func(name, help string, value func() uint64) {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Subsystem: "turn", Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge := func(name, help string, value func() int64) {
		list = append(list, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Subsystem: "turn", Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("connections", "Connections of clients over TCP or TLS.", s.Connections.Load)
	gauge("allocations", "Clients that the server relays for.", s.Allocations.Load)
	counter("allocations_total", "Allocations since the start.", s.Allocated.Load)
	counter("unauthorized_total", "Requests with unknown or expired credentials.", s.Unauthorized.Load)
	counter("refused_allocations_total", "Allocations beyond a limit.", s.Refused.Load)
	counter("refused_connections_total", "Connections closed for others, before they had allocated.", s.Crowded.Load)
	counter("forbidden_peers_total", "Requests for peers that are not public, or beyond the permissions or channels that a client may have.", s.Forbidden.Load)
	counter("throttled_datagrams_total", "Datagrams dropped because of the bandwidth.", s.Throttled.Load)
	counter("sent_datagrams_total", "Datagrams to peers.", s.Sent.Load)
	counter("sent_bytes_total", "Bytes of datagrams to peers.", s.SentBytes.Load)
	counter("received_datagrams_total", "Datagrams from peers.", s.Received.Load)
	counter("received_bytes_total", "Bytes of datagrams from peers.", s.ReceivedBytes.Load)
	return list
}

// relayMetrics are the counters of a blind relay.
func relayMetrics(stats func() hyperdht.RelayStats) (list []prometheus.Collector) {
	gauge := func(name, help string, value func(hyperdht.RelayStats) float64) {
		list = append(list, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Subsystem: "relay", Name: name, Help: help}, func() float64 { return value(stats()) }))
	}
	counter := func(name, help string, value func(hyperdht.RelayStats) float64) {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Subsystem: "relay", Name: name, Help: help}, func() float64 { return value(stats()) }))
	}
	gauge("pairs", "Relayed connections in use.", func(s hyperdht.RelayStats) float64 { return float64(s.Active) })
	gauge("reserve_pairs", "Relayed connections in reserve.", func(s hyperdht.RelayStats) float64 { return float64(s.Reserve) })
	gauge("waiting", "Sides that wait for the other one.", func(s hyperdht.RelayStats) float64 { return float64(s.Waiting) })
	counter("matched_total", "Pairs since the start.", func(s hyperdht.RelayStats) float64 { return float64(s.Matched) })
	counter("refused_total", "Requests beyond a limit, or of keys that are not allowed.", func(s hyperdht.RelayStats) float64 {
		return float64(s.Refused + s.RefusedKey + s.Crowded)
	})
	return list
}

// serveMetrics serves the metrics of a relay until the listener closes.
func serveMetrics(addr, config string, all []prometheus.Collector, log *slog.Logger) (*http.Server, error) {
	registry := prometheus.NewRegistry()
	all = append(all, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics.listen-address: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	none := false
	log.Info("Serving metrics", "address", l.Addr().String())
	go func() {
		if err := toolkit.Serve(l, server, &toolkit.FlagConfig{WebConfigFile: &config, WebSystemdSocket: &none}, log); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("The metrics of the relay are not served", "err", err)
		}
	}()
	return server, nil
}
