package hyperdht

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/peering"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on what peers may cost a node. Channels and calls list theirs in packages mux and muxrpc.
func Bounds() []bound.Bound {
	return slices.Concat(peering.Bounds(), secret.Bounds(), udx.Bounds(), stream.Bounds(), nat.Bounds(), rpc.Bounds(), records.Bounds())
}
