package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
)

// reload reads the files of the flags again and applies new secrets. Targets and scrapers change at the next start only. On an
// error nothing changes.
func reload(ctx context.Context, f *flags, cfg config, c *client.Client, log *slog.Logger) {
	if slices.Contains(f.inviteFiles, "-") {
		log.Info("Nothing to reload: the invite came from standard input")
		return
	}
	next, err := load(f, strings.NewReader(""), log)
	if err != nil {
		log.Error("Reloading failed, the configuration is unchanged", "err", err)
		return
	}
	same := func(a, b app.ClientScraper) bool { return a.Key == b.Key }
	if !slices.EqualFunc(cfg.client.Scrapers, next.client.Scrapers, same) || len(cfg.targets) != len(next.targets) {
		log.Warn("Changed scrapers or targets need a restart")
	}
	changed, err := c.SetSecrets(ctx, next.client.Scrapers)
	if err != nil {
		log.Error("Reloading failed, the configuration is unchanged", "err", err)
		return
	}
	log.Info("Reloaded", "changed_secrets", changed)
}
