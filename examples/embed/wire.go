//go:build wireinject

package main

import (
	"context"

	"github.com/google/wire"

	"github.com/dhtprom/dhtprom"
)

// newService wires the service. Regenerate with go run github.com/google/wire/cmd/wire ./examples/embed
func newService(ctx context.Context, from invite) (*service, func(), error) {
	wire.Build(
		dhtprom.NodeSet, dhtprom.ClientSet, newNodeConfig, newClientConfig,
		newRegistry, newOrders, wire.Struct(new(service), "*"),
	)
	return nil, nil, nil
}
