package dhtprom

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/nodes"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// NodeConfig is how a service takes part in the DHT. The zero value is a node of the public network with a key of its
// own.
type NodeConfig struct {
	// Bootstrap are the nodes to enter the DHT by, as host:port or ip@host:port. Nil is the public network; empty
	// means none: the node waits for others to find it.
	Bootstrap []string
	// NodesFile is where the DHT nodes known last are kept, for a faster next start that needs no bootstrap node; "" keeps
	// none. What is wrong with the file costs time, and no more; Logger is told.
	NodesFile string
	// Listen is the UDP address of the node. A port is that port or an error, a *hyperdht.ListenError. Without one the node
	// takes 49637 or one of the next four, or any that is free, but never one of a bootstrap node.
	Listen netip.AddrPort
	// Seed is the identity that Streams dials with unless told otherwise; zero for one that lasts as long as the node.
	// Clients and scrapers have their own.
	Seed domain.Seed
	// Relays are blind relays for connections of clients and scrapers that find no direct path.
	Relays []domain.PublicKey
	// Paths limits the paths of their connections, to all peers or to some.
	Paths domain.PathRules
	// STUN are servers, as host:port, that tell the node its public address. Nil is public ones on the public network
	// and none on a private one; a single "none" is none.
	STUN []string
	// Mode says whether the node stores for others, and OnReady, which may be nil, runs on the loop when it has entered the
	// network, or has found that it cannot for now.
	Mode    hyperdht.Mode
	OnReady func()

	Logger *slog.Logger // nil: no logging
	// Connect makes another network than HyperDHT, as tests of a service may want it; nil is HyperDHT. It runs on the
	// loop. Such a node has no Stack and no Streams.
	Connect func(host.Host, NodeConfig) (ports.Transport, error)
}

func (c *NodeConfig) check() error {
	if a := c.Listen.Addr(); a.IsValid() && !a.Unmap().Is4() {
		return &app.ConfigError{Field: "Listen", Want: fmt.Sprintf("want an IPv4 address, since HyperDHT is IPv4 only, got %s", c.Listen)}
	}
	for i, relay := range c.Relays {
		if relay.IsZero() {
			return &app.ConfigError{Field: fmt.Sprintf("Relays[%d]", i), Want: "want the relay's public key, got zeros"}
		}
	}
	return nil
}

func (c *NodeConfig) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// Stack is what a node is made of, below clients and scrapers: a node of the DHT, the transport over it, and the STUN
// client that tells it its address. All of it belongs to the loop of its host.
type Stack struct {
	DHT       *hyperdht.Node
	Transport *dht.Transport
	STUN      *stun.Client // nil where no server is to be asked
}

// NewStack puts a node together on a host, which may be a simulated one. It has to be called on the host's loop, and
// Transport.Close ends it. It fails if the configuration makes no sense or no socket can be bound.
func NewStack(h host.Host, cfg NodeConfig) (*Stack, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	servers, err := stun.Servers(cfg.STUN, cfg.Bootstrap != nil)
	if err != nil {
		return nil, err
	}
	s := &Stack{}
	node := hyperdht.Config{Bootstrap: cfg.Bootstrap, Listen: cfg.Listen, Mode: cfg.Mode, OnReady: cfg.OnReady, WallClock: time.Now}
	transport := dht.Config{RelayThrough: cfg.Relays, Paths: cfg.Paths}
	if cfg.NodesFile != "" {
		file := nodes.New(cfg.NodesFile, cfg.Bootstrap, func(err error) { cfg.log().Warn("The known DHT nodes are not kept", "err", err) })
		if node.Nodes, err = file.Load(); err != nil {
			cfg.log().Warn("The DHT nodes known before cannot be read; the bootstrap nodes will do", "err", err)
		}
		transport.Known = file
	}
	if !cfg.Seed.IsZero() {
		node.Keys = id.KeyPairFromSeed(id.Seed(cfg.Seed.Reveal()))
	}
	if len(servers) > 0 {
		if s.STUN, err = stun.New(h, stun.Config{Servers: servers}); err != nil {
			return nil, err
		}
		node.Probe = s.STUN
	}
	if s.DHT, err = hyperdht.New(h, node); err != nil {
		return nil, err
	}
	s.Transport = dht.New(h, s.DHT, transport)
	return s, nil
}
