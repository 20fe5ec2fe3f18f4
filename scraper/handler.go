package scraper

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/adapters/web/hosts"
	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/app"
)

// HandlerConfig configures a scraper's HTTP handler. The zero value serves at the root, under any name.
type HandlerConfig struct {
	// RoutePrefix is the path below which requests arrive, for a handler that is mounted below the root of a service; links and
	// service discovery use paths below it. If empty, that of ExternalURL, or none.
	RoutePrefix string
	// ExternalURL is the URL under which the handler is reachable, through a proxy perhaps; nil: taken from each request.
	ExternalURL *url.URL
	// Hosts are the accepted host names, besides IP addresses, localhost and names of this machine and of ExternalURL; requests
	// under other names get status 421. It prevents web sites from reading metrics through the browsers of their visitors (DNS
	// rebinding). Nil accepts any name, for services with their own protection.
	Hosts []string
	// Collectors are additional metrics for /metrics.
	Collectors []prometheus.Collector
	// RequestTimeout bounds a scrape whose request has no bound of its own, as Prometheus's have; Config.RequestTimeout by default.
	RequestTimeout time.Duration
}

// Handler returns the HTTP handler of dhtprom-scraper: the metrics of a client at /scrape/{alias}/metrics, service discovery for
// Prometheus at /sd/prometheus, the status page at /, the scraper's own metrics at /metrics, health at /-/healthy and /-/ready, and
// the API below /api/v1/. The error is an *app.ConfigError.
func (s *Scraper) Handler(cfg HandlerConfig) (http.Handler, error) {
	if cfg.RequestTimeout < 0 {
		return nil, &app.ConfigError{Field: "RequestTimeout", Want: "want a positive time, or zero for that of the scraper"}
	}
	c := web.Config{Collectors: cfg.Collectors, ExternalURL: cfg.ExternalURL, ScrapeTimeout: cfg.RequestTimeout}
	if cfg.RoutePrefix != "" {
		c.RoutePrefix = &cfg.RoutePrefix
	}
	if cfg.Hosts == nil {
		return s.Web(c)
	}
	names := cfg.Hosts
	if cfg.ExternalURL != nil {
		names = append(names[:len(names):len(names)], cfg.ExternalURL.Hostname())
	}
	for _, name := range names {
		if _, err := hosts.Parse(name); err != nil {
			return nil, &app.ConfigError{Field: "Hosts", Want: err.Error()}
		}
	}
	guard := &hosts.Guard{Names: hosts.New(names...), Log: s.log()}
	c.Hosts = guard.Names
	h, err := s.Web(c)
	if err != nil {
		return nil, err
	}
	return guard.Wrap(h, hosts.OtherMachines), nil
}

// Web is Handler with all options of package adapters/web and without its guard, as used by the program. The scraper sets the
// loop, itself, the log, and the times of its configuration, ScrapeTimeout unless it is set.
func (s *Scraper) Web(cfg web.Config) (*web.Handler, error) {
	cfg.Loop, cfg.Scraper, cfg.Log = s.node.Host(), s.scraper, s.log()
	cfg.ScrapeTimeout, cfg.Expiry = cmp.Or(cfg.ScrapeTimeout, s.cfg.RequestTimeout), s.cfg.Expiry
	if s.cfg.Group != nil {
		cfg.Members = passon.NewKey(s.cfg.Seed)
	}
	return web.New(cfg)
}

func (s *Scraper) log() *slog.Logger {
	if s.cfg.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.cfg.Logger
}
