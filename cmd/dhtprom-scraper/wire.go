//go:build wireinject

package main

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/dhtprom/dhtprom/cmd/internal/machine"
)

// newProgram wires a scraper. Regenerate with go run github.com/google/wire/cmd/wire ./cmd/...
func newProgram(cfg runConfig, id identity, log *slog.Logger, connect machine.Connect) (*program, func(), error) {
	wire.Build(
		machine.Host,
		newStore, newTargets, newTransport, newScraper, newReloader, newServers,
		wire.Struct(new(program), "host", "scraper", "servers", "reload", "cfg", "log"),
	)
	return nil, nil, nil
}
