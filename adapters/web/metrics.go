package web

import (
	"context"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dhtprom_"+name, help, labels, nil)
}

// The alias label is bounded by the table's limit, the others are fixed sets.
var (
	descReady         = desc("ready", "Whether the scraper has been announced on the DHT since it started, so that clients could find it.")
	descAnnounced     = desc("announced_nodes", "DHT nodes that hold the scraper's record and answer. With 0, new clients cannot find it.")
	descAliases       = desc("aliases", "Registered aliases.")
	descAliasesLimit  = desc("aliases_limit", "Number of aliases from which on further ones are rejected.")
	descSessions      = desc("sessions", "Sessions with clients by state.", "state")
	descConnections   = desc("connections", "Open connections to clients by kind of path.", "path")
	descConnected     = desc("target_connected", "Whether there is an open connection to the alias's client.", "alias")
	descSeen          = desc("target_last_seen_timestamp_seconds", "When the alias's client last registered or was last scraped.", "alias")
	descExpires       = desc("target_expires_timestamp_seconds", "When the alias expires unless it is registered again.", "alias")
	descExpiry        = desc("alias_expiry_seconds", "How long an alias lives without being registered again.")
	descDuration      = desc("target_last_scrape_duration_seconds", "How long the last scrape of the alias took.", "alias")
	descBytes         = desc("target_last_scrape_bytes", "Size of the metrics in the last scrape of the alias.", "alias")
	descScrapes       = desc("proxied_scrapes_total", "Scrapes of aliases, failed ones included.")
	descScrapesFailed = desc("proxied_scrapes_failed_total", "Scrapes of aliases that returned no metrics.", "reason")
	descHTTPScrapes   = desc("http_scrapes", "Scrapes of aliases under way.")
	descHTTPLimit     = desc("http_scrapes_limit", "Number of scrapes of aliases under way at which further ones are rejected.")
	descHeld          = desc("http_unread_bytes", "Answers that callers have not read yet, in bytes.")
	descHeldLimit     = desc("http_unread_limit_bytes", "Size of unread answers at which the oldest is aborted.")
	descUnread        = desc("scrapes_unread_total", "Answers aborted because their callers had not read them and others needed the memory.")
	descRegistrations = desc("registrations_total", "Accepted registrations.")
	descRejected      = desc("registrations_rejected_total", "Rejected registrations.", "reason")
	descIdAliases     = desc("identity_aliases", "Registered aliases by the identity of their client.", "identity")
	descIdAccepted    = desc("identity_registrations_total", "Accepted registrations by the identity of the client.", "identity")
	descIdRejected    = desc("identity_registrations_rejected_total", "Rejected registrations, and rejected targets of sets, by the identity of the client.", "identity")
	descTakeovers     = desc("alias_takeovers_total", "Registrations that changed the key of an alias.")
	descShared        = desc("identity_conflicts_total", "Registrations that revealed two running clients with the same key.")
	descExpired       = desc("aliases_expired_total", "Aliases removed because they were not renewed.")
	descLeft          = desc("aliases_left_total", "Aliases withdrawn by their client when it stopped.")
	descForgotten     = desc("aliases_forgotten_total", "Aliases removed by the operator.")
	descPins          = desc("pinned_aliases", "Aliases pinned to a key by the operator.")
	descDials         = desc("session_dials_total", "Attempts to connect to a client.")
	descFirstDials    = desc("session_first_dials_total", "First attempts to connect to a client, after its registration or the end of a connection.", "result")
	descSecondDials   = desc("session_second_dials_total", "Second connections dialled after a relay had taken over the first: direct ones, which replaced it, relayed ones, and failed dials.", "result")
	descDialTook      = desc("session_dial_duration_seconds", "How long it took to connect to a client, by kind of path.", "path")
	descRegConns      = desc("registration_connections", "Open connections to the registration service.")
	descRegLimit      = desc("registration_connections_limit", "Number of connections to the registration service at which a new one closes another.")
	descDenied        = desc("registration_connections_denied_total", "Connections to the registration service beyond its limits.", "limit")
	descStore         = desc("state_write_failures_total", "Changes of the alias table that could not be made durable.")
	descDamages       = desc("state_damages_total", "Damaged alias tables that were repaired.")
	descTargets       = desc("targets_file_write_failures_total", "Failed writes of the targets file.")
	descOnline        = desc("dht_online", "Whether DHT nodes answer.")
	descNodes         = desc("dht_nodes", "DHT nodes in the routing table.")
	descStreams       = desc("dht_streams", "Open streams of the DHT node.")
	descInReserve     = desc("relays_in_reserve", "Blind relays that are kept beside the direct paths of connections, and answer.")
	descFirewalled    = desc("dht_firewalled", "Whether the DHT node is behind a firewall or NAT.")
)

// collector converts a snapshot of the scraper to metrics. It is unchecked: Describe sends nothing, because the node's
// counters are known only in Collect.
type collector struct{ h *Handler }

func (c *collector) Describe(chan<- *prometheus.Desc) {}

// histograms are the measurements of the HTTP side, as seen by Prometheus.
type histograms struct {
	took prometheus.Histogram
	size prometheus.Histogram
}

func newHistograms() histograms {
	return histograms{
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dhtprom_proxied_scrape_duration_seconds", Help: "How long scrapes of aliases took, failed ones included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, NativeHistogramBucketFactor: 1.1,
		}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dhtprom_proxied_scrape_size_bytes", Help: "Size of the metrics of aliases, before compression.",
			Buckets: prometheus.ExponentialBuckets(1024, 4, 8), NativeHistogramBucketFactor: 1.1,
		}),
	}
}

type snapshot struct {
	sessions map[domain.SessionState]int
	stats    domain.ScraperStats
	node     ports.NodeStatus
	ready    bool
	loaded   bool
	pins     int

	identities []domain.IdentityStatus
	group      membership
}

// snapshotOf is called on the loop.
func snapshotOf(s Scraper) snapshot {
	return snapshot{s.Sessions(), s.Stats(), s.Node(), s.Ready(), s.Loaded(), len(s.Pins()), s.IdentityStatus(), membershipOf(s)}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx := context.Background() // each turn has its own limit
	aliases, err := c.h.list(ctx)
	var snap snapshot
	if err == nil {
		snap, err = ask(ctx, c.h.cfg.Loop, func() snapshot { return snapshotOf(c.h.cfg.Scraper) })
	}
	if err != nil {
		out <- prometheus.NewInvalidMetric(descAliases, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descReady, truth(snap.ready))
	gauge(descExpiry, c.h.cfg.Expiry.Seconds())
	if snap.group.leads() { // the others of a group are not announced
		gauge(descAnnounced, float64(snap.node.Announced))
	}
	if snap.loaded { // an incomplete table would look like lost aliases
		gauge(descAliases, float64(snap.stats.Aliases))
		gauge(descPins, float64(snap.pins))
	}
	gauge(descAliasesLimit, float64(snap.stats.MaxAliases))
	for _, state := range sessionStates {
		gauge(descSessions, float64(snap.sessions[state]), state.String())
	}
	collectTargets(aliases, gauge)
	c.h.collectGroup(snap, gauge, count)
	count(descScrapes, snap.stats.Scrapes)
	for _, reason := range domain.FailureReasons() {
		count(descScrapesFailed, snap.stats.ScrapesFailed[reason], reason)
	}
	gauge(descHTTPScrapes, float64(len(c.h.scrapes)))
	gauge(descHTTPLimit, float64(cap(c.h.scrapes)))
	bytes, unread := c.h.held.held()
	gauge(descHeld, float64(bytes))
	gauge(descHeldLimit, float64(c.h.held.limit))
	count(descUnread, unread)
	count(descRegistrations, snap.stats.Registrations)
	for _, reason := range domain.RejectionReasons() {
		count(descRejected, snap.stats.Rejected[reason], reason)
	}
	for _, i := range snap.identities {
		title := domain.IdentityTitle(i.Name)
		gauge(descIdAliases, float64(i.Aliases), title)
		count(descIdAccepted, i.Registrations, title)
		count(descIdRejected, i.Rejected, title)
	}
	count(descTakeovers, snap.stats.Takeovers)
	count(descShared, snap.stats.SharedIdentities)
	count(descExpired, snap.stats.Expired)
	count(descLeft, snap.stats.Left)
	count(descForgotten, snap.stats.Forgotten)
	count(descDials, snap.stats.Dials)
	count(descFirstDials, snap.stats.Paths.FirstConnected, "connected")
	count(descFirstDials, snap.stats.Paths.FirstFailed, "failed")
	count(descSecondDials, snap.stats.Paths.SecondDirect, "direct")
	count(descSecondDials, snap.stats.Paths.SecondRelayed, "relayed")
	count(descSecondDials, snap.stats.Paths.SecondFailed, "failed")
	for _, p := range domain.Paths() {
		out <- durations(descDialTook, snap.stats.Paths.Took[p], p.String())
	}
	gauge(descRegConns, float64(snap.stats.AliasConnections))
	gauge(descRegLimit, float64(snap.stats.MaxAliasConnections))
	for _, limit := range domain.Limits() {
		count(descDenied, snap.stats.ConnectionsDenied[limit], limit)
	}
	count(descStore, snap.stats.StoreFailures)
	count(descDamages, snap.stats.StoreDamages)
	count(descTargets, snap.stats.TargetsFailures)
	gauge(descOnline, truth(snap.node.State == "online" || snap.node.State == "degraded"))
	gauge(descNodes, float64(snap.node.Nodes))
	gauge(descStreams, float64(snap.node.Streams))
	gauge(descInReserve, float64(snap.node.InReserve))
	gauge(descFirewalled, truth(snap.node.Firewalled))
	for _, k := range snap.node.Counters {
		if counterName.MatchString(k.Name) {
			var names, values []string
			for _, l := range k.Labels {
				names, values = append(names, l.Name), append(values, l.Value)
			}
			count(desc(k.Name+"_total", k.Help, names...), k.Value, values...)
		}
	}
}

// durations returns a histogram of durations.
func durations(d *prometheus.Desc, took domain.Durations, labels ...string) prometheus.Metric {
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, bound := range domain.DialBounds() {
		n += took.Within[i]
		buckets[bound.Seconds()] = n
	}
	n += took.Within[len(took.Within)-1]
	return prometheus.MustNewConstHistogram(d, n, took.Sum.Seconds(), buckets, labels...)
}

var counterName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func collectTargets(aliases []domain.AliasStatus, gauge func(*prometheus.Desc, float64, ...string)) {
	paths := map[domain.Path]map[domain.PublicKey]bool{domain.PathUnknown: {}}
	for _, p := range domain.Paths() {
		paths[p] = map[domain.PublicKey]bool{}
	}
	for _, a := range aliases {
		alias := string(a.Alias)
		if a.Holder == "" {
			gauge(descConnected, truth(a.SessionUp), alias)
		}
		gauge(descExpires, seconds(a.Expires), alias)
		seen := a.Renewed
		if a.Scrape.Success.After(seen) {
			seen = a.Scrape.Success
		}
		gauge(descSeen, seconds(seen), alias)
		if !a.Scrape.At.IsZero() {
			gauge(descDuration, a.Scrape.Took.Seconds(), alias)
			gauge(descBytes, float64(a.Scrape.Bytes), alias)
		}
		if a.SessionUp {
			paths[a.Peer.Path][a.Key] = true
		}
	}
	for path, keys := range paths {
		gauge(descConnections, float64(len(keys)), path.String())
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
