//go:build wireinject

package main

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/ports"
)

// newProgram wires a scraper. Regenerate with go run github.com/google/wire/cmd/wire ./cmd/...
func newProgram(cfg runConfig, id identity, log *slog.Logger, connect machine.Connect) (*program, func(), error) {
	wire.Build(
		machine.Host,
		newStore, wire.Bind(new(ports.AliasStore), new(*bolt.Store)),
		newTargets, newTransport, newScraper, newServer, newWeb,
		wire.Struct(new(program), "host", "scraper", "server", "web", "log"),
	)
	return nil, nil, nil
}
