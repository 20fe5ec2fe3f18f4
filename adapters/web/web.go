// Package web is the scraper's HTTP side: what Prometheus scrapes, the scraper's own metrics, health, and an API.
//
//	/, /alias, /node          status pages
//	/scrape/{alias}/metrics   an alias's metrics, asked for now; the alias in its path form or, escaped, as it is
//	/sd/prometheus            the aliases as targets, for Prometheus's HTTP service discovery
//	/metrics                  the scraper's own
//	/-/healthy, /-/ready      200 while the process lives; 200 once the scraper has been announced, else 503
//	/api/v1/status            public key, DHT node, counts
//	/api/v1/aliases           the alias table with sessions and last scrapes; DELETE of one below it forgets it
//	/api/v1/pins              the pins; PUT and DELETE of one below it
//	/-/reload                 POST reads the secrets again
//
// Handlers run on goroutines of net/http. They post to the loop and wait for it, each within a bound and no longer than
// their caller does.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Scraper is what the handlers ask; on the loop only. It is more than a port usually has because the status pages
// show all of it.
type Scraper interface {
	PublicKey() domain.PublicKey
	Fingerprints() []string
	Loaded() bool // the alias table is complete
	Ready() bool
	Scrape(alias domain.Alias, within time.Duration, done func(body []byte, err error)) (cancel func())
	Aliases() []domain.AliasStatus
	Sessions() map[domain.SessionState]int
	Stats() domain.ScraperStats
	Node() ports.NodeStatus
	Alias(domain.Alias) (domain.AliasDetail, bool)
	Refusals() []domain.Refusal
	Damages() []domain.StoreDamage
	Pins() []domain.Pin
	Forget(a domain.Alias, done func(found bool, err error))
	Pin(a domain.Alias, key domain.PublicKey, done func(domain.Pin, error))
	Unpin(a domain.Alias, done func(found bool, err error))
}

// Config configures a Handler.
type Config struct {
	Loop    host.Loop
	Scraper Scraper
	Log     *slog.Logger
	// ScrapeTimeout bounds scrapes whose caller does not say how long it waits. 5 s by default.
	ScrapeTimeout time.Duration
	// Expiry is how long an alias lives without being registered again, as the scraper was told. 3 h by default.
	Expiry time.Duration
	// Collectors are more metrics for /metrics: process, Go runtime, build.
	Collectors []prometheus.Collector
	Version    string
	// ExternalURL is where others reach this server, through a proxy perhaps; nil: wherever they say they did. Its path
	// is in front of all links.
	ExternalURL *url.URL
	// RoutePrefix is the path below which requests arrive, without a slash at the end. Nil: the external URL's path.
	RoutePrefix *string
	// TelemetryPath is where the scraper's own metrics are; /metrics by default.
	TelemetryPath string

	// ClientCommand is the command line of a client that registers here, for people to copy; empty: not shown.
	ClientCommand string

	// Hosts are the names of this server: with Lifecycle, nothing is changed under others. Those of this machine and of
	// ExternalURL by default. A hosts.Guard in front keeps all else from being read under others.
	Hosts *hosts.Names

	// Reload reads the secrets again; nil: that is not offered.
	Reload func() error
	// Lifecycle lets everybody change things who reaches this server.
	Lifecycle bool
	// Authenticated reports whether somebody has made sure who sent a request; nil: nobody has.
	Authenticated func(*http.Request) bool
}

const (
	// loopTimeout bounds the wait for the loop where there is nothing else to wait for.
	loopTimeout = 2 * time.Second
	// maxScrapes bounds the scrapes under way. Most of them wait and hold nothing: after a restart with thousands of
	// dead clients, those must not keep the living from being scraped.
	maxScrapes = 2 * domain.MaxEntries
	// maxPages bounds the requests for other pages under way, and maxMaking the pages that are made at the same time, in memory: a
	// list of 50,000 aliases has 20 MB. The others wait.
	maxPages  = 64
	maxMaking = 4
	// maxHeld bounds the answers that callers have yet to read, in bytes: sixteen of the largest scrapes, or thousands of usual
	// ones, and as much again for compression.
	maxHeld = 256 << 20
	// readTime is how long a caller may take to read an answer, beyond the time of the scrape.
	readTime = 30 * time.Second
	// bodyTime is how long the body of a request is waited for once it is answered. No path takes one.
	bodyTime = 5 * time.Second
	// RequestTimeout is above the time of every request: the longest scrape and the reading of its answer. It is for the
	// ReadTimeout and WriteTimeout of the server, where requests end that never get here; net/http cancels a request that
	// outlives its ReadTimeout.
	RequestTimeout = maxTimeout + readTime + 30*time.Second
)

// Handler serves all paths.
type Handler struct {
	cfg     Config
	started time.Time

	routePrefix string // of requests
	linkPrefix  string // of links: the external URL's path, or the same

	paths    map[string]http.HandlerFunc // besides scrapes
	measured histograms
	scrapes  chan struct{} // a token per scrape under way
	pages    chan struct{} // likewise
	making   chan struct{} // likewise, per page that is made
	held     held
	loaded   atomic.Bool // Scraper.Loaded was true once, and stays so
}

// New returns the handler.
func New(cfg Config) (*Handler, error) {
	if cfg.ScrapeTimeout <= 0 {
		cfg.ScrapeTimeout = domain.DefaultRequestTimeout
	}
	if cfg.Expiry <= 0 {
		cfg.Expiry = domain.DefaultExpiry
	}
	if cfg.TelemetryPath == "" {
		cfg.TelemetryPath = "/metrics"
	}
	if cfg.Hosts == nil {
		cfg.Hosts = hosts.New()
		if cfg.ExternalURL != nil {
			cfg.Hosts = hosts.New(cfg.ExternalURL.Hostname())
		}
	}
	h := &Handler{
		cfg: cfg, started: time.Now(), paths: map[string]http.HandlerFunc{}, measured: newHistograms(),
		scrapes: make(chan struct{}, maxScrapes), pages: make(chan struct{}, maxPages), making: make(chan struct{}, maxMaking),
		held: held{limit: maxHeld},
	}
	if cfg.ExternalURL != nil {
		h.linkPrefix = cleanPrefix(cfg.ExternalURL.Path)
	}
	h.routePrefix = h.linkPrefix
	if cfg.RoutePrefix != nil {
		h.routePrefix = cleanPrefix(*cfg.RoutePrefix)
		if cfg.ExternalURL == nil {
			h.linkPrefix = h.routePrefix
		}
	}
	registry := prometheus.NewRegistry()
	for _, c := range append([]prometheus.Collector{&collector{h}, h.measured.took, h.measured.size}, cfg.Collectors...) {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		Registry: registry, EnableOpenMetrics: true,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelError),
	})
	h.page("/sd/prometheus", h.table(h.discovery))
	h.probe(healthyPath, func(w http.ResponseWriter, _ *http.Request) { line(w, http.StatusOK, "dhtprom-scraper is healthy") })
	h.probe(readyPath, h.ready)
	h.page("/api/v1/status", h.status)
	h.page("/api/v1/aliases", h.table(h.aliases))
	h.page("/", h.table(h.list))
	h.page("/alias", h.table(h.alias))
	h.page("/node", h.node)
	h.page(stylePath, style.serve)
	h.page(scriptPath, script.serve)
	h.page("/api/v1/pins", h.table(h.pins))
	if err := CheckTelemetryPath(cfg.TelemetryPath); err != nil {
		return nil, fmt.Errorf("telemetry path: %w", err)
	}
	h.page(cfg.TelemetryPath, metrics.ServeHTTP)
	return h, nil
}

// page adds a path that is read only and answers at once.
func (h *Handler) page(path string, f http.HandlerFunc) {
	h.paths[path] = func(w http.ResponseWriter, r *http.Request) {
		if !reading(w, r) {
			return
		}
		p := h.complete(f, r)
		if p == nil {
			line(w, http.StatusServiceUnavailable, "Too many requests at once")
			return
		}
		h.deliver(w, r, p.body.Len(), readTime, func() { p.send(w) }) // reading takes as long as the caller wants
	}
}

// complete makes a page, once there is room for it. It returns nil if there are too many requests, or its caller has hung up.
func (h *Handler) complete(f http.HandlerFunc, r *http.Request) *rendered {
	select {
	case h.pages <- struct{}{}:
		defer func() { <-h.pages }()
	default:
		return nil
	}
	select {
	case h.making <- struct{}{}:
		defer func() { <-h.making }()
	case <-r.Context().Done():
		return nil
	}
	p := &rendered{header: make(http.Header)}
	f(p, r)
	return p
}

// probe adds a path that is answered however many pages are under way: an orchestrator ends a process whose health it
// cannot read, and callers that read their pages slowly must not bring that about.
func (h *Handler) probe(path string, f http.HandlerFunc) {
	h.paths[path] = func(w http.ResponseWriter, r *http.Request) {
		if reading(w, r) {
			f(w, r)
		}
	}
}

// ServeHTTP serves one request. Paths are taken as they come, not cleaned as http.ServeMux does: an alias that is not in
// its path form may have double slashes and dots.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ignoreBody(w, r)
	path, below := strings.CutPrefix(r.URL.Path, h.routePrefix)
	if alias, ok := scrapePath(path); below && ok {
		h.scrape(w, r, domain.AliasFromPath(alias))
		return
	}
	if serve := h.paths[path]; below && serve != nil {
		serve(w, r)
		return
	}
	if below && h.change(w, r, path) {
		return
	}
	if h.routePrefix != "" && (r.URL.Path == "/" || r.URL.Path == h.routePrefix) {
		http.Redirect(w, r, h.linkPrefix+"/", http.StatusFound)
		return
	}
	line(w, http.StatusNotFound, fmt.Sprintf("Not found: want %s/scrape/{alias}/metrics, or %[1]s/ for what else there is", h.routePrefix))
}

const (
	scrapeFolder = "/scrape/"
	scrapeFile   = "/metrics"
)

// pathOf is where an alias is scraped, below the prefix. It needs no escaping.
func pathOf(a domain.Alias) string { return scrapeFolder + a.PathForm() + scrapeFile }

// scrapePath takes the alias out of /scrape/{alias}/metrics, slashes and all.
func scrapePath(path string) (alias string, ok bool) {
	rest, ok := strings.CutPrefix(path, scrapeFolder)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, scrapeFile)
}

// cleanPrefix makes a path fit to be put in front of others: /x, or nothing.
func cleanPrefix(path string) string {
	path = strings.Trim(path, "/")
	if path == "" {
		return ""
	}
	return "/" + path
}

// CheckTelemetryPath refuses a path for the scraper's own metrics that means something else.
func CheckTelemetryPath(path string) error {
	ours := path == "/" || path == "/alias" || path == "/node"
	for _, folder := range []string{scrapeFolder, "/sd/", "/-/", "/api/", "/assets/"} {
		ours = ours || strings.HasPrefix(path, folder)
	}
	if ours || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") {
		return fmt.Errorf("want a path like /metrics that is not in use, got %q", path)
	}
	return nil
}

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// IsHealth reports whether a request asks for nothing but how the program is.
func (h *Handler) IsHealth(r *http.Request) bool {
	path, below := strings.CutPrefix(r.URL.Path, h.routePrefix)
	return below && (path == healthyPath || path == readyPath)
}

// reading refuses methods that would change something.
func reading(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	line(w, http.StatusMethodNotAllowed, "Method not allowed: want GET or HEAD")
	return false
}

// line answers with one line of text.
func line(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

var errLoop = errors.New("the scraper is shutting down or overloaded")

// ask runs f on the loop and waits for its result.
func ask[T any](ctx context.Context, loop host.Loop, f func() T) (result T, err error) {
	ctx, stop := context.WithTimeout(ctx, loopTimeout)
	defer stop()
	if result, err = bridge.Do(ctx, loop, f); err != nil {
		err = errLoop
	}
	return result, err
}

func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	type state struct {
		ready bool
		node  ports.NodeStatus
	}
	s, err := ask(r.Context(), h.cfg.Loop, func() state { return state{h.cfg.Scraper.Ready(), h.cfg.Scraper.Node()} })
	switch {
	case err != nil:
		line(w, http.StatusServiceUnavailable, "Not ready: "+err.Error())
	case !s.ready && s.node.State == "offline":
		line(w, http.StatusServiceUnavailable, "Not ready: no DHT node answers")
	case !s.ready:
		line(w, http.StatusServiceUnavailable, "Not ready: no DHT node has this scraper's record yet")
	case s.node.Announced == 0:
		// Scrapes go on over the connections that are open, and would not if something took this scraper out of service.
		line(w, http.StatusOK, "dhtprom-scraper is ready, but no DHT node that has its record answers: new clients cannot find it")
	default:
		line(w, http.StatusOK, "dhtprom-scraper is ready")
	}
}
