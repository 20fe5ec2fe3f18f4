package client

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/domain"
)

const namespace = "dhtprom_client_"

// statusTimeout bounds the wait of a collection of metrics for the loop.
const statusTimeout = time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	perScraper = []string{"alias", "scraper"}

	descListening     = desc("listening", "Whether the client's server is announced on the DHT. The alias is empty if the client has a set of targets, here and in other metrics of the client as a whole.", "alias")
	descBlocked       = desc("firewall_blocks_total", "Connections rejected by the firewall.", "alias")
	descRegistered    = desc("registered", "Whether the scraper has the alias: the last registration succeeded.", perScraper...)
	descRegistrations = desc("registrations_total", "Successful registrations.", perScraper...)
	descFailed        = desc("registrations_failed_total", "Failed registrations.", perScraper...)
	descConnections   = desc("connections", "Open connections of the scraper.", perScraper...)
	descRequests      = desc("metrics_requests_total", "Requests for metrics, failed ones included.", perScraper...)
	descReqFailed     = desc("metrics_requests_failed_total", "Failed requests for metrics.", perScraper...)
	descBytes         = desc("metrics_sent_bytes_total", "Metrics sent, in bytes.", perScraper...)
	descFamilies      = desc("families_dropped_total", "Metric families that the rules of the target left out, counted in each page.", "alias")
	descSamples       = desc("samples_dropped_total", "Samples of those families.", "alias")
	descNodeOnline    = desc("dht_online", "Whether DHT nodes answer.")
	descInReserve     = desc("relays_in_reserve", "Working blind relays that are kept beside the direct paths of connections.")
	descAnnounced     = desc("announced_nodes", "DHT nodes that answer and hold the record of this client; the minimum over its servers. With 0, scrapers cannot find it.")
	descNodes         = desc("dht_nodes", "DHT nodes in the routing table.")
)

// counts are the metrics that are updated by events.
type counts struct {
	registered *prometheus.GaugeVec
	size       *prometheus.HistogramVec
	duration   *prometheus.HistogramVec
}

func newCounts() *counts {
	return &counts{
		registered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: namespace + "last_registration_timestamp_seconds", Help: "Time of the last successful registration.",
		}, perScraper),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: namespace + "metrics_size_bytes", Help: "Sizes of the metrics sent.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 8), // 1 KiB to 16 MiB
		}, []string{"alias"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: namespace + "metrics_collect_duration_seconds", Help: "Duration of collecting the metrics.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8), // 1 ms to 16 s
		}, []string{"alias"}),
	}
}

// event counts an event of a client with an alias, which is empty for a set. It runs on the loop.
func (c *counts) event(alias domain.Alias, e domain.Event) {
	switch e := e.(type) {
	case domain.RegisterAliasSuccess:
		c.registered.WithLabelValues(string(alias), e.Scraper.String()).SetToCurrentTime()
	case domain.MetricsSuccess:
		c.size.WithLabelValues(string(alias)).Observe(float64(e.Bytes))
		c.duration.WithLabelValues(string(alias)).Observe(e.Took.Seconds())
	}
}

// Collector has the metrics of the client itself, dhtprom_client_*, for any registry: for that of Config.Gatherer to be scraped
// too, or another one.
func (c *Client) Collector() prometheus.Collector { return collector{c} }

type collector struct{ c *Client }

// Describe describes what Collect sends.
func (co collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descListening, descBlocked, descRegistered, descRegistrations, descFailed, descConnections, descRequests, descReqFailed,
		descBytes, descFamilies, descSamples, descNodeOnline, descNodes, descInReserve, descAnnounced,
	} {
		out <- d
	}
	co.c.counts.registered.Describe(out)
	co.c.counts.size.Describe(out)
	co.c.counts.duration.Describe(out)
}

// Collect runs on a goroutine of the registry, so it may wait.
func (co collector) Collect(out chan<- prometheus.Metric) {
	co.c.counts.registered.Collect(out)
	co.c.counts.size.Collect(out)
	co.c.counts.duration.Collect(out)
	ctx, stop := context.WithTimeout(context.Background(), statusTimeout)
	defer stop()
	s, err := co.c.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descRegistered, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descNodeOnline, one(slices.Contains([]string{"online", "degraded"}, s.Node.State)))
	gauge(descNodes, float64(s.Node.Nodes))
	gauge(descInReserve, float64(s.Node.InReserve))
	gauge(descAnnounced, float64(s.Node.Announced))
	whole := ""
	if co.c.config.single() {
		whole = co.c.config.Alias
	}
	gauge(descListening, one(s.Listening), whole)
	count(descBlocked, s.Blocked, whole)
	for _, k := range s.Scrapers {
		scraper := k.Key.String()
		count(descRegistrations, k.Registrations, whole, scraper)
		count(descFailed, k.RegistrationsFailed, whole, scraper)
		gauge(descConnections, float64(k.Connections), whole, scraper)
	}
	for _, t := range s.Targets {
		alias := string(t.Alias)
		count(descFamilies, uint64(t.Dropped.Families()), alias)
		count(descSamples, uint64(t.Dropped.Samples()), alias)
		for _, k := range t.Scrapers {
			scraper := k.Key.String()
			gauge(descRegistered, one(k.Registered), alias, scraper)
			count(descRequests, k.Requests, alias, scraper)
			count(descReqFailed, k.RequestsFailed, alias, scraper)
			count(descBytes, k.Bytes, alias, scraper)
		}
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
