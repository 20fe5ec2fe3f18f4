package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/adapters/web/look"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

const (
	// headerTimeout bounds the time until a request's headers are read, requestTimeout its body, which is ignored, and the
	// answer.
	headerTimeout  = 10 * time.Second
	requestTimeout = 30 * time.Second
	idleTimeout    = 2 * time.Minute
)

// webServer is the process's HTTP server: metrics, health and a page. Nil means none.
type webServer struct {
	server   *http.Server
	listener net.Listener
	config   string
	log      *slog.Logger
}

// newWebServer registers the client's metrics in the process's registry, which may also be a target, and binds the address at
// once, so that a port in use is reported first.
func newWebServer(cfg config, c *client.Client, files *targetFiles, r *reloader, registry *prometheus.Registry, log *slog.Logger) (*webServer, func(), error) {
	if err := registry.Register(c.Collector()); err != nil {
		return nil, nil, err
	}
	if cfg.web.address == "" {
		return nil, func() {}, nil
	}
	l, err := cli.ListenWeb(cfg.web.address)
	if err != nil {
		return nil, nil, fmt.Errorf("--web.listen-address: %w", err)
	}
	if bound, err := netip.ParseAddrPort(l.Addr().String()); err == nil && !bound.Addr().IsLoopback() && cfg.web.configFile == "" {
		log.Warn("The HTTP server is open to others without TLS and passwords; see --web.config.file", "address", l.Addr().String())
	}
	guard := &hosts.Guard{
		Names: cli.HostNames([]string{cfg.web.address}, cfg.web.hosts...), Log: log,
		Exempt: func(r *http.Request) bool { return cli.Authenticated(cfg.web.configFile, r) },
	}
	if err := registry.Register(cli.GuardCollector(guard)); err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	s := &webServer{listener: l, config: cfg.web.configFile, log: log, server: &http.Server{
		Handler: guard.Wrap(newHandler(c, files, r.guarded(cfg.web), registry), hosts.ReachOf(l.Addr())), ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), Protocols: cli.Protocols(),
	}}
	return s, func() { _ = s.server.Close(); _ = l.Close() }, nil
}

// serve serves until Close. Without a server it returns at once.
func (s *webServer) serve() error {
	if s == nil {
		return nil
	}
	none := false
	err := toolkit.Serve(s.listener, s.server, &toolkit.FlagConfig{WebConfigFile: &s.config, WebSystemdSocket: &none}, s.log)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *webServer) close() {
	if s != nil {
		_ = s.server.Close() // no request takes long
	}
}

// statusTimeout bounds how long a request waits for the client.
const statusTimeout = time.Second

// handler serves metrics, health and the page.
type handler struct{ client *client.Client }

func newHandler(c *client.Client, files *targetFiles, reload http.Handler, registry *prometheus.Registry) http.Handler {
	h, mux := handler{c}, http.NewServeMux()
	mux.Handle("POST /-/reload", reload)
	mux.Handle("PUT /-/reload", reload)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /-/healthy", h.with(func(w http.ResponseWriter, _ client.Status) { _, _ = fmt.Fprintln(w, "Healthy") }))
	mux.HandleFunc("GET /-/ready", h.with(ready))
	mux.Handle("GET "+look.StylePath, look.Style)
	mux.Handle("GET "+look.ScriptPath, look.Script)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		h.with(func(w http.ResponseWriter, s client.Status) {
			showPage(w, r, newView(s, c.PublicKey(), files.Err(), pageNumber(r)))
		})(w, r)
	})
	return mux
}

// guarded serves reloads to callers that the web configuration has authenticated, or to all where the operator allows it, and not to
// other sites through a browser.
func (r *reloader) guarded(cfg webConfig) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !cfg.lifecycle && !cli.Authenticated(cfg.configFile, req) {
			http.Error(w, "Reloading needs passwords or client certificates (--web.config.file), or --web.enable-lifecycle", http.StatusForbidden)
			return
		}
		if err := r.run(req.Context()); err != nil {
			http.Error(w, "Reloading failed: "+err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintln(w, "Reloaded")
	}))
}

// with calls serve with the client's status.
func (h handler) with(serve func(http.ResponseWriter, client.Status)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := context.WithTimeout(r.Context(), statusTimeout)
		defer stop()
		s, err := h.client.Status(ctx)
		if err != nil {
			http.Error(w, "the client is shutting down", http.StatusServiceUnavailable)
			return
		}
		serve(w, s)
	}
}

func ready(w http.ResponseWriter, s client.Status) {
	switch ok, missing := s.Ready(); {
	case !ok:
		http.Error(w, fmt.Sprintf("Not registered with any scraper: %s", few(missing)), http.StatusServiceUnavailable)
	case s.Node.Announced == 0:
		// Scrapes go on over the connections that are open.
		_, _ = fmt.Fprintln(w, "Ready, but no DHT node that has this client's record answers: a scraper that is not connected cannot find it")
	default:
		_, _ = fmt.Fprintln(w, "Ready")
	}
}
