package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

const namespace = "dhtprom_client_"

// statusTimeout bounds how long readers wait for the loop.
const statusTimeout = time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	perScraper = []string{"alias", "scraper"}

	descListening     = desc("listening", "Whether the alias's server is announced on the DHT.", "alias")
	descBlocked       = desc("firewall_blocks_total", "Connections that the firewall kept out.", "alias")
	descRegistered    = desc("registered", "Whether the last registration succeeded.", perScraper...)
	descRegistrations = desc("registrations_total", "Registrations that succeeded.", perScraper...)
	descFailed        = desc("registrations_failed_total", "Registrations that failed.", perScraper...)
	descConnections   = desc("connections", "Open connections of the scraper.", perScraper...)
	descRequests      = desc("metrics_requests_total", "Requests for metrics, failed ones included.", perScraper...)
	descReqFailed     = desc("metrics_requests_failed_total", "Requests for metrics that failed.", perScraper...)
	descBytes         = desc("metrics_sent_bytes_total", "Metrics that were sent, in bytes.", perScraper...)
	descNodeOnline    = desc("dht_online", "Whether DHT nodes answer.")
	descInReserve     = desc("relays_in_reserve", "Blind relays that are kept beside the direct paths of connections, and answer.")
	descAnnounced     = desc("announced_nodes", "DHT nodes that hold the record of this client and answer; of the alias that the fewest hold. With 0, scrapers cannot find it.")
	descNodes         = desc("dht_nodes", "DHT nodes in the routing table.")
)

// status is a snapshot of all that there is to know, taken on the loop.
type status struct {
	node    ports.NodeStatus
	clients []clientStatus
}

type clientStatus struct {
	alias    domain.Alias
	key      domain.PublicKey
	upstream string
	last     lastRequest
	app.ClientStatus
}

// lastRequest is what came of the last request for metrics. The zero value is none.
type lastRequest struct {
	at    time.Time
	bytes int
	took  time.Duration
	err   error
}

// ready reports whether every alias is registered with one scraper at least, and which are not.
func (s status) ready() (ok bool, missing []domain.Alias) {
	for _, c := range s.clients {
		if !c.Registered {
			missing = append(missing, c.alias)
		}
	}
	return len(missing) == 0, missing
}

// own is what the process says about itself: metrics, and the facts for its page.
type own struct {
	host     *udp.Host
	registry *prometheus.Registry

	transport ports.Transport // these are set before anybody asks
	group     *app.Group
	upstream  map[domain.Alias]string

	last map[domain.Alias]lastRequest // on the loop

	lastSuccess *prometheus.GaugeVec
	size        *prometheus.HistogramVec
	duration    *prometheus.HistogramVec
}

func newOwn(h *udp.Host) (*own, error) {
	o := &own{
		host: h, registry: prometheus.NewRegistry(), upstream: map[domain.Alias]string{}, last: map[domain.Alias]lastRequest{},
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: namespace + "last_registration_timestamp_seconds", Help: "When the last registration succeeded.",
		}, perScraper),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: namespace + "metrics_size_bytes", Help: "Sizes of the metrics that were sent.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 8), // 1 KiB to 16 MiB
		}, []string{"alias"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: namespace + "metrics_collect_duration_seconds", Help: "How long collecting the metrics took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8), // 1 ms to 16 s
		}, []string{"alias"}),
	}
	return o, errors.Join(
		o.registry.Register(collectors.NewGoCollector()),
		o.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		o.registry.Register(versioncollector.NewCollector("dhtprom")),
		o.registry.Register(o.lastSuccess), o.registry.Register(o.size), o.registry.Register(o.duration), o.registry.Register(o),
	)
}

// watch counts an alias's events. What it returns runs on the loop.
func (o *own) watch(alias domain.Alias) func(domain.Event) {
	return func(e domain.Event) {
		switch e := e.(type) {
		case domain.RegisterAliasSuccess:
			o.lastSuccess.WithLabelValues(string(alias), e.Scraper.String()).SetToCurrentTime()
		case domain.MetricsSuccess:
			o.last[alias] = lastRequest{at: time.Now(), bytes: e.Bytes, took: e.Took}
			o.size.WithLabelValues(string(alias)).Observe(float64(e.Bytes))
			o.duration.WithLabelValues(string(alias)).Observe(e.Took.Seconds())
		case domain.MetricsError:
			o.last[alias] = lastRequest{at: time.Now(), err: e.Err}
		}
	}
}

var errStopping = errors.New("the client is shutting down")

// status asks on the loop. It is for other goroutines.
func (o *own) status() (status, error) {
	ctx, stop := context.WithTimeout(context.Background(), statusTimeout)
	defer stop()
	s, err := bridge.Do(ctx, o.host, func() status {
		s := status{node: o.transport.Status()}
		for _, c := range o.group.Clients() {
			s.clients = append(s.clients, clientStatus{c.Alias(), c.PublicKey(), o.upstream[c.Alias()], o.last[c.Alias()], c.Status()})
		}
		return s
	})
	if err != nil {
		err = errStopping
	}
	return s, err
}

// Describe describes what Collect sends.
func (o *own) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descListening, descBlocked, descRegistered, descRegistrations, descFailed, descConnections, descRequests, descReqFailed,
		descBytes, descNodeOnline, descNodes, descInReserve, descAnnounced,
	} {
		out <- d
	}
}

// Collect runs on a goroutine of the registry's, so it may wait.
func (o *own) Collect(out chan<- prometheus.Metric) {
	s, err := o.status()
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
	gauge(descNodeOnline, one(slices.Contains([]string{"online", "degraded"}, s.node.State)))
	gauge(descNodes, float64(s.node.Nodes))
	gauge(descInReserve, float64(s.node.InReserve))
	gauge(descAnnounced, float64(s.node.Announced))
	for _, c := range s.clients {
		alias := string(c.alias)
		gauge(descListening, one(c.Listening), alias)
		count(descBlocked, c.Blocked, alias)
		for _, k := range c.Scrapers {
			scraper := k.Key.String()
			gauge(descRegistered, one(k.Registered), alias, scraper)
			count(descRegistrations, k.Registrations, alias, scraper)
			count(descFailed, k.RegistrationsFailed, alias, scraper)
			gauge(descConnections, float64(k.Connections), alias, scraper)
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
