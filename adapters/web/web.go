// Package web implements the scraper's HTTP server: scrapes of aliases, the scraper's own metrics, health, and an API.
//
//	/, /alias, /node          status pages
//	/scrape/{alias}/metrics   an alias's current metrics; the alias in its path form or escaped
//	/sd/prometheus            the aliases as targets, for Prometheus's HTTP service discovery
//	/metrics                  the scraper's own metrics
//	/-/healthy, /-/ready      200 while the process lives; 200 once the scraper has been announced, else 503
//	/api/v1/status            public key, DHT node, counts
//	/api/v1/aliases           the alias table with sessions and last scrapes; DELETE of one below it forgets it
//	/api/v1/pins              the pins; PUT and DELETE of one below it
//	/api/v1/identities        the identities with their counts
//	/-/reload                 POST reads the secrets again
//
// Handlers run on goroutines of net/http. They post to the loop and wait for it, with a timeout and no longer than their
// caller.
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
	"github.com/dhtprom/dhtprom/adapters/web/look"
	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Scraper is the application as the handlers use it, on the loop only. It is larger than usual for a port because the status
// pages show all of it.
type Scraper interface {
	PublicKey() domain.PublicKey
	Fingerprints() []string
	Loaded() bool // the alias table is complete
	Ready() bool
	Request(domain.Alias, domain.ScrapeRequest, ports.ScrapeHandlers) ports.Scrape
	// AliasesAfter lists at most n of the aliases that follow one, or the first ones if it is empty.
	AliasesAfter(a domain.Alias, n int) []domain.AliasStatus
	Sessions() map[domain.SessionState]int
	Stats() domain.ScraperStats
	Node() ports.NodeStatus
	Alias(domain.Alias) (domain.AliasDetail, bool)
	Scrapes(domain.Alias) []domain.Scrape // the last ones, oldest first; part of the details
	Refusals() []domain.Refusal
	Damages() []domain.StoreDamage
	Pins() []domain.Pin
	IdentityStatus() []domain.IdentityStatus
	// Group is the group of scrapers as this one sees it; false without one.
	Group() (domain.Group, bool)
	Forget(a domain.Alias, done func(found bool, err error))
	Pin(a domain.Alias, key domain.PublicKey, done func(domain.Pin, error))
	Unpin(a domain.Alias, done func(found bool, err error))
}

// Config configures a Handler.
type Config struct {
	Loop    host.Loop
	Scraper Scraper
	Log     *slog.Logger
	// ScrapeTimeout bounds scrapes whose caller sends no timeout. 5 s by default.
	ScrapeTimeout time.Duration
	// Expiry is the scraper's expiry of aliases that are not registered again. 3 h by default.
	Expiry time.Duration
	// Collectors are more metrics for /metrics: process, Go runtime, build.
	Collectors []prometheus.Collector
	Version    string
	// ExternalURL is the URL of this server for others, possibly of a proxy; nil uses the Host field of each request. Its
	// path is the prefix of all links.
	ExternalURL *url.URL
	// RoutePrefix is the path prefix of requests, without a trailing slash. Nil uses the external URL's path.
	RoutePrefix *string
	// TelemetryPath is the path of the scraper's own metrics; /metrics by default.
	TelemetryPath string

	// ClientCommand is the command line of a client that registers with this scraper, for copying; it is not shown if empty.
	ClientCommand string

	// Hosts are the names of this server, by default those of this machine and of ExternalURL: with Lifecycle, changes are
	// rejected under other names. A hosts.Guard in front protects reads.
	Hosts *hosts.Names

	// Reload reads the secrets again; nil disables it.
	Reload func() error
	// Lifecycle allows changes without authentication.
	Lifecycle bool
	// Authenticated reports whether the sender of a request is authenticated; nil means that none is.
	Authenticated func(*http.Request) bool

	// Members authenticates requests of the other members of the scraper's group; nil without a group.
	Members *passon.Key
}

const (
	// loopTimeout limits the wait for the loop where it is the only wait.
	loopTimeout = 2 * time.Second
	// listed is the number of aliases that are listed in one turn of the loop, which takes about a millisecond.
	listed = 512
	// maxScrapes bounds the concurrent scrapes. Most of them wait and hold nothing: after a restart with thousands of dead
	// clients, they must not block scrapes of the others.
	maxScrapes = 2 * domain.MaxEntries
	// maxPages bounds the concurrent requests for other pages, and maxMaking the pages rendered in memory at the same time: a
	// list of 50,000 aliases has 20 MB. The others wait.
	maxPages  = 64
	maxMaking = 4
	// maxZipping bounds the scrapes that are compressed at the same time, which takes 500 kB each; others are sent as they are. maxDecoders
	// bounds those that are decoded from zstd: a frame of twenty bytes takes 9.6 MB until it ends.
	maxZipping  = 128
	maxDecoders = 16
	// maxHeld bounds the answers that callers have not read, in bytes: sixteen of the largest scrapes, or thousands of usual
	// ones, and as much again for compression.
	maxHeld = 256 << 20
	// readTime is a caller's time to read an answer, beyond the time of the scrape.
	readTime = 30 * time.Second
	// bodyTime limits the wait for the body of a request after its answer. No path reads one.
	bodyTime = 5 * time.Second
	// RequestTimeout is above the time of every request: the longest scrape and the reading of its answer. It is for the
	// ReadTimeout and WriteTimeout of the server, which also apply to requests that never reach the handler; net/http cancels
	// a request that outlives its ReadTimeout.
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
	scrapes  chan struct{} // a token per current scrape
	pages    chan struct{} // likewise
	making   chan struct{} // likewise, per page being rendered
	zipping  chan struct{} // likewise, per scrape being compressed
	decoders chan struct{} // likewise, per scrape being decoded from zstd
	held     held
	loaded   atomic.Bool // Scraper.Loaded has returned true
	draining atomic.Bool // Drain was called
	forged   atomic.Uint64
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
		zipping: make(chan struct{}, maxZipping), decoders: make(chan struct{}, maxDecoders),
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
	h.page("/", h.table(h.home))
	h.page("/alias", h.table(h.alias))
	h.page("/node", h.node)
	h.page(look.StylePath, look.Style.ServeHTTP)
	h.page(look.ScriptPath, look.Script.ServeHTTP)
	h.page("/api/v1/pins", h.table(h.pins))
	h.page("/api/v1/identities", h.table(h.identities))
	if err := CheckTelemetryPath(cfg.TelemetryPath); err != nil {
		return nil, fmt.Errorf("telemetry path: %w", err)
	}
	h.page(cfg.TelemetryPath, metrics.ServeHTTP)
	return h, nil
}

// page adds a read-only path whose answer is rendered immediately.
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
		h.deliver(w, r, p.body.Len(), readTime, func(*delivery) { p.send(w) }) // reading takes as long as the caller wants
	}
}

// complete renders a page when there is room for it. It returns nil if there are too many requests, or its caller has closed
// the connection.
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

// probe adds a path that is answered without the limit on pages: an orchestrator kills a process whose health it cannot
// read, and callers that read their pages slowly must not cause that.
func (h *Handler) probe(path string, f http.HandlerFunc) {
	h.paths[path] = func(w http.ResponseWriter, r *http.Request) {
		if reading(w, r) {
			f(w, r)
		}
	}
}

// ServeHTTP serves one request. Unlike http.ServeMux it does not clean paths: an alias that is not in its path form may have
// double slashes and dots.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ignoreBody(w, r)
	path, below := strings.CutPrefix(r.URL.Path, h.routePrefix)
	if h.isForged(r) {
		h.forged.Add(1)
		line(w, http.StatusUnauthorized, "Not authenticated as a member of this scraper's group: the members have different seeds, or this is no scrape")
		return
	}
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
	line(w, http.StatusNotFound, fmt.Sprintf("Not found: want %s/scrape/{alias}/metrics, or %[1]s/ for the status pages", h.routePrefix))
}

const (
	scrapeFolder = "/scrape/"
	scrapeFile   = "/metrics"
)

// pathOf returns the scrape path of an alias, below the prefix. It needs no escaping.
func pathOf(a domain.Alias) string { return scrapeFolder + a.PathForm() + scrapeFile }

// scrapePath returns the alias in /scrape/{alias}/metrics, which may have slashes.
func scrapePath(path string) (alias string, ok bool) {
	rest, ok := strings.CutPrefix(path, scrapeFolder)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, scrapeFile)
}

// cleanPrefix normalizes a path prefix to /x, or to nothing.
func cleanPrefix(path string) string {
	path = strings.Trim(path, "/")
	if path == "" {
		return ""
	}
	return "/" + path
}

// CheckTelemetryPath returns an error if a path for the scraper's own metrics is invalid or has another meaning.
func CheckTelemetryPath(path string) error {
	used := path == "/" || path == "/alias" || path == "/node"
	for _, folder := range []string{scrapeFolder, "/sd/", "/-/", "/api/", "/assets/"} {
		used = used || strings.HasPrefix(path, folder)
	}
	if used || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") {
		return fmt.Errorf("want a path like /metrics that is not in use, got %q", path)
	}
	return nil
}

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// IsHealth reports whether a request is for a health or readiness path.
func (h *Handler) IsHealth(r *http.Request) bool {
	path, below := strings.CutPrefix(r.URL.Path, h.routePrefix)
	return below && (path == healthyPath || path == readyPath)
}

// reading rejects methods other than GET and HEAD.
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

// list lists all aliases. It takes several turns, so that an alias that comes or goes meanwhile may be present or absent.
func (h *Handler) list(ctx context.Context) (all []domain.AliasStatus, err error) {
	var last domain.Alias
	for {
		some, err := ask(ctx, h.cfg.Loop, func() []domain.AliasStatus { return h.cfg.Scraper.AliasesAfter(last, listed) })
		if all = append(all, some...); err != nil || len(some) < listed {
			return all, err
		}
		last = some[len(some)-1].Alias
	}
}

func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	type state struct {
		ready bool
		node  ports.NodeStatus
		group membership
	}
	s, err := ask(r.Context(), h.cfg.Loop, func() state {
		return state{h.cfg.Scraper.Ready(), h.cfg.Scraper.Node(), membershipOf(h.cfg.Scraper)}
	})
	switch {
	case h.draining.Load():
		line(w, http.StatusServiceUnavailable, "Not ready: the scraper is stopping")
	case err != nil:
		line(w, http.StatusServiceUnavailable, "Not ready: "+err.Error())
	case !s.ready && s.group.exists:
		line(w, http.StatusServiceUnavailable, "Not ready: the list of aliases of the group is not here yet")
	case !s.ready && s.node.State == "offline":
		line(w, http.StatusServiceUnavailable, "Not ready: no DHT node answers")
	case !s.ready:
		line(w, http.StatusServiceUnavailable, "Not ready: no DHT node has this scraper's record yet")
	case !s.group.leads():
		line(w, http.StatusOK, "dhtprom-scraper is ready, as a member of its group")
	case s.node.Announced == 0 && s.node.Known.IsValid():
		line(w, http.StatusOK, "dhtprom-scraper is ready at "+s.node.Known.String()+", but no DHT node that has its record answers: new clients need its address in their invite")
	case s.node.Announced == 0:
		// Scrapes continue over open connections, and would not if an orchestrator stopped this scraper.
		line(w, http.StatusOK, "dhtprom-scraper is ready, but no DHT node that has its record answers: new clients cannot find it")
	default:
		line(w, http.StatusOK, "dhtprom-scraper is ready")
	}
}
