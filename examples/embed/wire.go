//go:build wireinject

package main

import (
	"github.com/google/wire"

	"github.com/dhtprom/dhtprom/wiring"
)

// newService wires the service. Regenerate with go generate ./examples/...
func newService(from invite) (*service, func(), error) {
	wire.Build(
		wiring.Node, wiring.Client, newNodeConfig, newClientConfig,
		newRegistry, newOrders, wire.Struct(new(service), "*"),
	)
	return nil, nil, nil
}
