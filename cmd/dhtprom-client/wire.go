//go:build wireinject

package main

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/dhtprom/dhtprom/cmd/internal/machine"
)

// newProgram wires a client. Regenerate with go run github.com/google/wire/cmd/wire ./cmd/...
func newProgram(cfg config, log *slog.Logger, connect machine.Connect) (*program, func(), error) {
	wire.Build(machine.Host, newOwn, newTransport, newGroup, newWebServer, wire.Struct(new(program), "*"))
	return nil, nil, nil
}
