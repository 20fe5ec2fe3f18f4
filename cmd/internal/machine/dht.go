package machine

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/nodes"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// DHT connects to HyperDHT.
func DHT(h host.Host, n Node) (ports.Transport, error) {
	cfg := dht.Config{RelayThrough: n.Relays, Paths: n.Paths}
	var known []netip.AddrPort
	if n.NodesFile != "" {
		file := nodes.New(n.NodesFile, n.Bootstrap, func(err error) { n.Log.Warn("The known DHT nodes are not kept", "err", err) })
		var err error
		if known, err = file.Load(); err != nil {
			n.Log.Warn("The DHT nodes known before cannot be read; the bootstrap nodes will do", "err", err)
		}
		cfg.Known = file
	}
	node, err := newNode(h, n, known)
	if err != nil {
		return nil, err
	}
	return dht.New(h, node, cfg), nil
}

// HyperDHT is the node below a DHT's transport. It runs on the host's loop.
func HyperDHT(h host.Host, n Node) (*hyperdht.Node, error) { return newNode(h, n, nil) }

func newNode(h host.Host, n Node, known []netip.AddrPort) (*hyperdht.Node, error) {
	cfg := hyperdht.Config{Bootstrap: n.Bootstrap, Listen: n.Listen, Nodes: known}
	probe, err := stunProbe(h, n)
	if err != nil {
		return nil, err
	}
	if probe != nil { // a nil *Client would be a probe
		cfg.Probe = probe
	}
	if !n.Keys.IsZero() {
		cfg.Keys = id.KeyPairFromSeed(id.Seed(n.Keys.Seed.Reveal()))
	}
	return hyperdht.New(h, cfg)
}

// stunProbe is nil where no server is to be asked.
func stunProbe(h host.Host, n Node) (*stun.Client, error) {
	servers, err := stun.Servers(n.STUN, n.Bootstrap != nil)
	if err != nil || len(servers) == 0 {
		return nil, err
	}
	return stun.New(h, stun.Config{Servers: servers})
}

var _ Connect = DHT
