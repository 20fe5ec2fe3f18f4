package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/filesd"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/client"
)

// fileSD is one of the file_sd_configs: files with targets, and what applies to all of them.
type fileSD struct {
	where string
	files []string
	every time.Duration
	all   target // without alias and URL
}

// targetFiles keeps the targets of a client those of the configuration and of files.
type targetFiles struct {
	node   *dhtprom.Node
	client *client.Client
	own    prometheus.Gatherer // of targets without an exporter
	log    *slog.Logger
	failed prometheus.Gauge

	applying sync.Mutex // apply

	mu      sync.Mutex
	cfg     config
	watched []*watchedFiles
	changed chan struct{} // a set has come
	err     error         // why the last change was not applied
}

// watchedFiles is one of the file_sd_configs with what was read.
type watchedFiles struct {
	of      fileSD
	watcher *filesd.Watcher
	set     filesd.Set
	err     error
	read    chan struct{} // closed with the first set
	once    sync.Once
}

// checkFiles reports the faults of the files with targets.
func checkFiles(cfg config) error {
	var errs []error
	for _, sd := range cfg.fileSD {
		for _, glob := range sd.files {
			paths, err := filepath.Glob(glob)
			errs = append(errs, err)
			for _, path := range paths {
				content, err := os.ReadFile(path)
				if err == nil {
					_, err = filesd.Parse(path, content, cfg.hostname)
				}
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// newTargetFiles begins to read the files.
func newTargetFiles(cfg config, n *dhtprom.Node, c *client.Client, own *prometheus.Registry, log *slog.Logger) (*targetFiles, func(), error) {
	t := &targetFiles{node: n, client: c, own: own, log: log, cfg: cfg, changed: make(chan struct{}, 1), failed: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dhtprom_client_target_files_failed", Help: "Whether a file with targets has a fault. Its last good targets are served.",
	})}
	if err := own.Register(t.failed); err != nil {
		return nil, nil, err
	}
	for _, sd := range cfg.fileSD {
		w, err := t.watch(sd, cfg.hostname)
		if err != nil {
			return nil, nil, errors.Join(err, t.close())
		}
		t.watched = append(t.watched, w)
	}
	return t, func() { _ = t.close() }, nil
}

func (t *targetFiles) watch(sd fileSD, name string) (*watchedFiles, error) {
	w := &watchedFiles{of: sd, read: make(chan struct{})}
	var err error
	w.watcher, err = filesd.New(filesd.Config{
		Loop: t.node.Host(), Client: name, Globs: sd.files, Every: sd.every,
		OnSet: func(s filesd.Set) {
			t.mu.Lock()
			w.set = s
			t.mu.Unlock()
			w.once.Do(func() { close(w.read) })
			select {
			case t.changed <- struct{}{}:
			default: // it is to be applied anyway
			}
		},
		OnError: func(err error) {
			t.mu.Lock()
			w.err = err
			t.mu.Unlock()
			t.report()
			if err != nil {
				t.log.Error("Files with targets have faults, their last good targets are served", "err", err)
				return
			}
			t.log.Info("Files with targets have no faults any more")
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sd.where, err)
	}
	return w, nil
}

// Err returns the faults of the files; nil for none.
func (t *targetFiles) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := []error{t.err}
	for _, w := range t.watched {
		errs = append(errs, w.err)
	}
	return errors.Join(errs...)
}

func (t *targetFiles) report() {
	t.failed.Set(0)
	if t.Err() != nil {
		t.failed.Set(1)
	}
}

// first waits until all files have been read, and applies their targets.
func (t *targetFiles) first(ctx context.Context) error {
	t.mu.Lock()
	watched := slices.Clone(t.watched)
	t.mu.Unlock()
	if err := awaitRead(ctx, watched); err != nil || len(watched) == 0 {
		return err
	}
	return t.apply(ctx)
}

// run applies changes until ctx ends.
func (t *targetFiles) run(ctx context.Context) {
	for {
		select {
		case <-t.changed:
			if err := t.apply(ctx); err != nil && ctx.Err() == nil {
				t.log.Error("Targets have not changed", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// apply makes the client's targets those of the configuration and the files. On an error nothing changes.
func (t *targetFiles) apply(ctx context.Context) error {
	t.applying.Lock()
	defer t.applying.Unlock()
	targets, err := t.targets()
	if err == nil {
		err = t.client.SetTargets(ctx, targets)
	}
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	t.report()
	return err
}

// targets returns all targets, or an error that names both places where two have the same alias.
func (t *targetFiles) targets() ([]client.Target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, places := t.cfg.clientTargets(t.own), map[string]string{}
	for _, s := range t.cfg.targets {
		places[string(s.alias)] = s.where
	}
	for _, w := range t.watched {
		for _, s := range w.set {
			if place, twice := places[string(s.Alias)]; twice {
				return nil, fmt.Errorf("alias %q is the one of two targets, at %s and at %s", s.Alias, place, s.Place)
			}
			places[string(s.Alias)] = s.Place
			all = append(all, w.of.target(&t.cfg, s))
		}
	}
	return all, nil
}

// target returns a target of a file.
func (sd *fileSD) target(cfg *config, s filesd.Target) client.Target {
	of := sd.all
	of.alias, of.instance = s.Alias, s.Instance
	of.labels = maps.Clone(sd.all.labels)
	if of.labels == nil {
		of.labels = map[string]string{}
	}
	for name, value := range s.Labels.All() {
		of.labels[name] = value
	}
	h := *sd.all.http
	h.Target = exporter.Target{URL: s.URL}
	of.http = &h
	return cfg.clientTarget(of)
}

// reload reads all files again, and applies another configuration. On an error that is unchanged. Faults of files are reported, and are no
// error: their last good targets remain.
func (t *targetFiles) reload(ctx context.Context, next config) error {
	t.mu.Lock()
	before, watched := t.cfg, t.watched
	t.mu.Unlock()
	present, same := watched, slices.EqualFunc(before.fileSD, next.fileSD, func(a, b fileSD) bool {
		return slices.Equal(a.files, b.files) && a.every == b.every
	}) && before.hostname == next.hostname
	var err error
	if same {
		err = t.readAgain(ctx, watched)
	} else {
		watched, err = t.watchAll(ctx, next)
	}
	if err != nil {
		return err
	}
	t.use(next, watched)
	if err := t.apply(ctx); err != nil {
		t.use(before, present)
		_ = t.apply(ctx) // nothing changes
		if !same {
			err = errors.Join(err, t.end(ctx, watched))
		}
		return err
	}
	if same {
		return nil
	}
	return t.end(ctx, present)
}

// use replaces the configuration of the targets.
func (t *targetFiles) use(c config, watched []*watchedFiles) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched = watched
	for i, sd := range c.fileSD {
		watched[i].of = sd
	}
	t.cfg.targets, t.cfg.labels, t.cfg.fileSD, t.cfg.hostname = c.targets, c.labels, c.fileSD, c.hostname
}

// readAgain reads all files now.
func (t *targetFiles) readAgain(ctx context.Context, watched []*watchedFiles) error {
	for _, w := range watched {
		done := make(chan error, 1)
		w.watcher.Reload(func(err error) { done <- err })
		select {
		case err := <-done:
			if errors.Is(err, filesd.ErrClosed) {
				return err
			}
			if err != nil {
				t.log.Warn("Files with targets still have faults", "err", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// watchAll watches the files of a configuration, and waits until they have been read.
func (t *targetFiles) watchAll(ctx context.Context, c config) (watched []*watchedFiles, err error) {
	for _, sd := range c.fileSD {
		w, err := t.watch(sd, c.hostname)
		if err != nil {
			return nil, errors.Join(err, t.end(ctx, watched))
		}
		watched = append(watched, w)
	}
	if err := awaitRead(ctx, watched); err != nil {
		return nil, errors.Join(err, t.end(context.WithoutCancel(ctx), watched))
	}
	return watched, nil
}

// awaitRead waits until all files have been read once.
func awaitRead(ctx context.Context, watched []*watchedFiles) error {
	for _, w := range watched {
		select {
		case <-w.read:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end closes watchers.
func (t *targetFiles) end(ctx context.Context, watched []*watchedFiles) error {
	return t.node.Do(ctx, func() error {
		for _, w := range watched {
			w.watcher.Close()
		}
		return nil
	})
}

// close ends all watchers. Those of a closed node have ended.
func (t *targetFiles) close() error {
	t.mu.Lock()
	watched := t.watched
	t.mu.Unlock()
	if err := t.end(context.Background(), watched); !errors.Is(err, dhtprom.ErrClosed) {
		return err
	}
	return nil
}

// clientTargets returns the targets of the configuration. Those without an exporter serve the process's own registry.
func (c *config) clientTargets(own prometheus.Gatherer) []client.Target {
	all := []client.Target{}
	for _, t := range c.targets {
		to := c.clientTarget(t)
		if t.http == nil {
			to.Gatherer = own
		}
		all = append(all, to)
	}
	return all
}

// clientTarget returns a target for package client.
func (c *config) clientTarget(t target) client.Target {
	labels := maps.Clone(c.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, t.labels)
	return client.Target{
		Alias: string(t.alias), Service: t.service, Hostname: t.hostname, Instance: t.instance, Labels: labels,
		AllowHeaders: t.allowHeaders, AllowAuthorization: t.allowAuthorization, HTTP: t.exporter(), OwnSeed: !t.named,
	}
}
