//go:build wireinject

package main

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/dhtprom/dhtprom/wiring"
)

// newProgram wires a client. Regenerate with go generate ./cmd/...
func newProgram(cfg config, log *slog.Logger) (*program, func(), error) {
	wire.Build(wiring.Node, wiring.Client, newNodeConfig, newClientConfig, newRegistry, newTargetFiles, newReloader, newWebServer,
		wire.Struct(new(program), "node", "client", "files", "web", "log", "reloader"),
	)
	return nil, nil, nil
}
