package main

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
)

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("dhtprom_client_"+name, help, nil, nil)
}

var (
	descRegistered    = desc("registered", "Whether the last registration succeeded.")
	descRegistrations = desc("registrations_total", "Registrations that succeeded.")
	descFailed        = desc("registrations_failed_total", "Registrations that failed.")
	descConnections   = desc("connections", "Open connections of the scraper.")
	descRequests      = desc("metrics_requests_total", "Requests for metrics, failed ones included.")
	descReqFailed     = desc("metrics_requests_failed_total", "Requests for metrics that failed.")
	descBlocked       = desc("firewall_blocks_total", "Connections that the firewall kept out.")
)

// ownMetrics are the client's metrics about itself, for when there is no exporter to pass on.
type ownMetrics struct {
	host   *udp.Host
	client *app.Client
}

func newOwnMetrics(h *udp.Host) *ownMetrics { return &ownMetrics{host: h} }

// Describe describes what Collect sends.
func (m *ownMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRegistered, descRegistrations, descFailed, descConnections, descRequests, descReqFailed, descBlocked} {
		out <- d
	}
}

// Collect asks on the loop. It runs on a goroutine of the source's, so it may wait.
func (m *ownMetrics) Collect(out chan<- prometheus.Metric) {
	answer := make(chan app.ClientStatus, 1)
	m.host.Post(func() { answer <- m.client.Status() })
	select {
	case s := <-answer:
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
		}
		count := func(d *prometheus.Desc, v uint64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
		}
		registered := 0.0
		if s.Registered {
			registered = 1
		}
		gauge(descRegistered, registered)
		count(descRegistrations, s.Registrations)
		count(descFailed, s.RegistrationsFailed)
		gauge(descConnections, float64(s.Connections))
		count(descRequests, s.Requests)
		count(descReqFailed, s.RequestsFailed)
		count(descBlocked, s.Blocked)
	case <-time.After(time.Second):
		out <- prometheus.NewInvalidMetric(descRegistered, errors.New("the client is shutting down"))
	}
}
