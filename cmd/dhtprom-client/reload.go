package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
)

// reloader reads the configuration again while the program runs.
type reloader struct {
	cfg    config
	client *client.Client
	files  *targetFiles
	log    *slog.Logger
	mu     sync.Mutex // one at a time

	good prometheus.Gauge
	when prometheus.Gauge
}

func newReloader(cfg config, c *client.Client, files *targetFiles, own *prometheus.Registry, log *slog.Logger) (*reloader, error) {
	r := &reloader{
		cfg: cfg, client: c, files: files, log: log,
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dhtprom_client_config_last_reload_successful", Help: "Whether the last reload of the configuration succeeded.",
		}),
		when: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dhtprom_client_config_last_reload_success_timestamp_seconds", Help: "Time of the last successful reload of the configuration.",
		}),
	}
	r.good.Set(1)
	r.when.Set(float64(time.Now().Unix()))
	return r, errors.Join(own.Register(r.good), own.Register(r.when))
}

// errFromInput is the error of a reload without files.
var errFromInput = errors.New("nothing to reload: the invite came from standard input")

// run reads the files of the flags again, and applies new secrets and targets. Scrapers change at the next start only. On an error
// nothing changes, except that the files with targets are read each by itself: their faults are reported, and are no error here.
func (r *reloader) run(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.cfg.flags.inviteFiles, "-") {
		r.log.Info("Nothing to reload: the invite came from standard input")
		return errFromInput
	}
	next, err := load(r.cfg.flags, strings.NewReader(""), r.log)
	if err == nil {
		err = r.apply(ctx, next)
	}
	if err != nil {
		r.good.Set(0)
		r.log.Error("Reloading failed, the configuration is unchanged", "err", err)
		return err
	}
	r.good.Set(1)
	r.when.Set(float64(time.Now().Unix()))
	return nil
}

func (r *reloader) apply(ctx context.Context, next config) error {
	same := func(a, b app.ClientScraper) bool { return a.Key == b.Key }
	if !slices.EqualFunc(r.cfg.client.Scrapers, next.client.Scrapers, same) {
		r.log.Warn("Changed scrapers need a restart")
	}
	if a, b := &r.cfg.node.TURN, &next.node.TURN; a.Mode != b.Mode || !slices.Equal(a.Servers, b.Servers) {
		r.log.Warn("Changed TURN servers need a restart")
	}
	_, single := r.cfg.single()
	_, stays := next.single()
	switch {
	case single && !(stays && r.cfg.targets[0].alias == next.targets[0].alias):
		r.log.Warn("Targets in place of --alias need a restart")
	case !single && stays:
		r.log.Warn("An --alias in place of targets needs a restart")
	case !single:
		if err := r.files.reload(ctx, next); err != nil {
			return err
		}
	}
	changed, err := r.client.SetSecrets(ctx, next.client.Scrapers)
	if err != nil {
		return err
	}
	r.log.Info("Reloaded", "changed_secrets", changed, "targets", len(next.targets))
	return nil
}
