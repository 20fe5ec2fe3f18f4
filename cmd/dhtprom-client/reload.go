package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
)

// reload reads the files that the flags name again and takes over new secrets. Targets and scrapers stay as they were
// until the next start. When something is wrong with what it reads, everything stays as it was.
func reload(ctx context.Context, f *flags, cfg config, c *client.Client, log *slog.Logger) {
	if slices.Contains(f.inviteFiles, "-") {
		log.Info("Nothing to reload: the invite came from standard input")
		return
	}
	next, err := load(f, strings.NewReader(""), log)
	if err != nil {
		log.Error("Reloading failed, everything stays as it was", "err", err)
		return
	}
	same := func(a, b app.ClientScraper) bool { return a.Key == b.Key }
	if !slices.EqualFunc(cfg.client.Scrapers, next.client.Scrapers, same) || len(cfg.targets) != len(next.targets) {
		log.Warn("Other scrapers or targets count after a restart only")
	}
	changed, err := c.SetSecrets(ctx, next.client.Scrapers)
	if err != nil {
		log.Error("Reloading failed, everything stays as it was", "err", err)
		return
	}
	log.Info("Reloaded", "changed_secrets", changed)
}
