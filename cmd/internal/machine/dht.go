package machine

import (
	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// DHT connects to HyperDHT.
func DHT(h host.Host, n Node) (ports.Transport, error) {
	cfg := hyperdht.Config{Bootstrap: n.Bootstrap, Listen: n.Listen}
	if !n.Keys.IsZero() {
		cfg.Keys = id.KeyPairFromSeed(id.Seed(n.Keys.Seed.Reveal()))
	}
	node, err := hyperdht.New(h, cfg)
	if err != nil {
		return nil, err
	}
	return dht.New(h, node, dht.Config{}), nil
}

var _ Connect = DHT
