package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/scraper"
)

// reloader reads the secrets and identities again while the program runs.
type reloader struct {
	scraper *scraper.Scraper
	cfg     runConfig
	log     *slog.Logger
	mu      sync.Mutex // one at a time
	now     identity   // with the secrets and identities that are valid

	good prometheus.Gauge
	when prometheus.Gauge
}

func newReloader(s *scraper.Scraper, cfg runConfig, id identity, log *slog.Logger) *reloader {
	r := &reloader{
		scraper: s, cfg: cfg, log: log, now: id,
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dhtprom_config_last_reload_successful", Help: "Whether the last reload of the secrets and identities succeeded.",
		}),
		when: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dhtprom_config_last_reload_success_timestamp_seconds", Help: "Time of the last successful reload of the secrets and identities.",
		}),
	}
	r.good.Set(1)
	r.when.Set(float64(time.Now().Unix()))
	return r
}

// run reloads. On an error nothing changes.
func (r *reloader) run() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.fixedSecrets {
		r.log.Info("Nothing to reload")
		return nil
	}
	var id identity
	cfg := r.cfg
	cfg.valid = &r.now
	err := id.loadSecrets(cfg, r.log)
	if err == nil {
		err = r.scraper.SetIdentities(context.Background(), id.secrets, id.named)
	}
	if err != nil {
		r.good.Set(0)
		r.log.Error("Reloading failed, the secrets are unchanged", "err", err)
		return err
	}
	r.now = id
	r.good.Set(1)
	r.when.Set(float64(time.Now().Unix()))
	r.log.Info("Reloaded", "secrets", len(id.secrets), "identities", len(id.named))
	return nil
}

func (r *reloader) collectors() []prometheus.Collector { return []prometheus.Collector{r.good, r.when} }
