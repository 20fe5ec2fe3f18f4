//go:build wireinject

package main

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/dhtprom/dhtprom/wiring"
)

// newProgram wires a scraper. Regenerate with go generate ./cmd/...
func newProgram(cfg runConfig, id identity, log *slog.Logger) (*program, func(), error) {
	wire.Build(
		wiring.Node, wiring.Scraper, newNodeConfig, newScraperConfig, newReloader, newServers,
		wire.Struct(new(program), "node", "scraper", "servers", "reload", "cfg", "log"),
	)
	return nil, nil, nil
}
