package dhtprom

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/nodes"
	"github.com/dhtprom/dhtprom/adapters/portmap"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// NodeConfig configures a Node. The zero value is a node of the public network with a key of its own.
type NodeConfig struct {
	// Bootstrap are the DHT's bootstrap nodes, as host:port or ip@host:port. Nil is the public network; empty means none: the
	// node waits for others to find it.
	Bootstrap []string
	// NodesFile is the cache file of known DHT nodes, for a faster next start that needs no bootstrap node; "" disables it.
	// Errors of the file are logged and only make the start slower.
	NodesFile string
	// Listen is the UDP address of the node. A port that is not free is an error, a *hyperdht.ListenError. Without a port the
	// node uses 49637 or one of the next four, or any free one, but never one of a bootstrap node.
	Listen netip.AddrPort
	// Seed is the identity of Streams; if zero, the node draws one. Clients and scrapers have their own.
	Seed domain.Seed
	// Relays are blind relays for connections of clients and scrapers that find no direct path.
	// One with an address is dialled there first.
	Relays []domain.Reference
	// PublicAddress is the address at which the node is reachable from everywhere, because the operator has made it so; zero for none. It
	// need not be an address of this machine, nor its port that of Listen: a router may forward it. A name is resolved at the start, and
	// from time to time. Callers are given this address, whatever other nodes see.
	PublicAddress domain.Address
	// PortMapping decides whether the router is asked by PCP or NAT-PMP to map the node's port. The zero value asks if the node needs it.
	PortMapping PortMapping
	// Paths limits the paths of their connections, to all peers or to some.
	Paths domain.PathRules
	// STUN are servers, as host:port, for finding the node's public address. Nil selects public ones on the public network and
	// none on a private one; a single "none" disables STUN.
	STUN []string
	// NoUDPOffload exchanges each datagram with the kernel by itself, which takes more processor time. It is for network cards and drivers
	// that damage messages of several datagrams.
	NoUDPOffload bool
	// Version is the version of the program, which clients report to their scrapers: printable ASCII, of which 32 bytes are sent. NewNode
	// takes the version of the main module where it is empty.
	Version string
	// Mode selects whether the node stores for others. OnReady, which may be nil, runs on the loop when the node has entered the
	// network, or has failed to for now.
	Mode    hyperdht.Mode
	OnReady func()

	// TURN are servers that carry the node's datagrams over TCP or TLS where no UDP gets out.
	TURN TURNConfig

	Logger *slog.Logger // nil: no logging
	// Connect replaces HyperDHT by another network, for tests of a service; nil is HyperDHT. It runs on the loop. Such a node has
	// no Stack and no Streams.
	Connect func(host.Host, NodeConfig) (ports.Transport, error)

	turn *turn.Host // on which the node runs; nil for a node over UDP
}

func (c *NodeConfig) check() error {
	if a := c.Listen.Addr(); a.IsValid() && !a.Unmap().Is4() {
		return &app.ConfigError{Field: "Listen", Want: fmt.Sprintf("want an IPv4 address, since HyperDHT is IPv4 only, got %s", c.Listen)}
	}
	for i, relay := range c.Relays {
		if relay.Key.IsZero() {
			return &app.ConfigError{Field: fmt.Sprintf("Relays[%d]", i), Want: "want the relay's public key, got zeros"}
		}
	}
	return nil
}

// checkOver checks the configuration of a Node over a HyperDHT node that there is already.
func (c *NodeConfig) checkOver() error {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"Bootstrap", c.Bootstrap != nil}, {"NodesFile", c.NodesFile != ""}, {"Listen", c.Listen.IsValid()}, {"Seed", !c.Seed.IsZero()},
		{"PublicAddress", !c.PublicAddress.IsZero()}, {"PortMapping", c.PortMapping != MapAuto}, {"STUN", c.STUN != nil},
		{"NoUDPOffload", c.NoUDPOffload}, {"Mode", c.Mode != hyperdht.Adaptive}, {"OnReady", c.OnReady != nil}, {"TURN", len(c.TURN.Servers) > 0},
		{"Connect", c.Connect != nil},
	} {
		if f.set {
			return &app.ConfigError{Field: f.name, Want: "want none: it is a matter of the HyperDHT node that there is already"}
		}
	}
	for i, relay := range c.Relays {
		if !relay.Addr.IsZero() {
			return &app.ConfigError{Field: fmt.Sprintf("Relays[%d]", i), Want: "want no address: hyperdht.Config.RelayAddrs has those of the node"}
		}
	}
	return c.check()
}

// transport is the part of the configuration that concerns the connections of clients and scrapers.
func (c *NodeConfig) transport() dht.Config {
	return dht.Config{RelayThrough: relayKeys(c.Relays), Paths: c.Paths, Version: c.Version}
}

func (c *NodeConfig) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// PortMapping decides when the router is asked for a mapping of the node's port.
type PortMapping = dht.PortMapping

// The values of PortMapping.
const (
	// MapAuto asks if the NAT gives each remote end another port, or punches have failed, or the NAT cannot be classified.
	MapAuto = dht.MapAuto
	// MapAlways asks whenever the node is behind a NAT or firewall.
	MapAlways = dht.MapAlways
	// MapNever does not ask.
	MapNever = dht.MapNever
)

// mapper is a client for port mappings as the mapper of a transport.
type mapper struct{ *portmap.Client }

// Status implements dht.PortMapper.
func (m mapper) Status() ports.PortMapping {
	s := m.Client.Status()
	return ports.PortMapping{Protocol: string(s.Protocol), Router: s.Router, External: s.External, Problem: s.Problem}
}

// Stack is the layers of a node below clients and scrapers: a DHT node, the transport over it, and the STUN client that finds its
// address. It must be used on the loop of its host.
type Stack struct {
	DHT       *hyperdht.Node
	Transport *dht.Transport
	STUN      *stun.Client    // nil without servers
	Mapper    *portmap.Client // nil if the router is never asked for a port mapping
}

// NewStack creates a node's stack on a host, which may be a simulated one. It must be called on the host's loop, and
// Transport.Close closes the stack. It fails if the configuration is invalid or no socket can be bound.
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
	transport := cfg.transport()
	transport.PublicAddress, transport.TURN = cfg.PublicAddress, cfg.turn != nil
	transport.OnUnresolved = func(err error) { cfg.log().Warn("The public address of this node is not known yet", "err", err) }
	node.RelayAddrs = relayAddrs(cfg.Relays)
	node.QuickReach = cfg.TURN.on() && cfg.turn == nil
	if cfg.NodesFile != "" {
		file := nodes.New(cfg.NodesFile, cfg.Bootstrap, func(err error) { cfg.log().Warn("The known DHT nodes could not be saved", "err", err) })
		if node.Nodes, err = file.Load(); err != nil {
			cfg.log().Warn("The cached DHT nodes cannot be read; using the bootstrap nodes", "err", err)
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
	transport.PortMapping = cfg.PortMapping
	transport.NewMapper = func(port uint16, onMapping func(netip.AddrPort)) dht.PortMapper {
		s.Mapper = portmap.New(h, portmap.Config{Port: port, OnMapping: onMapping})
		return mapper{s.Mapper}
	}
	s.Transport = dht.New(h, s.DHT, transport)
	return s, nil
}

func relayKeys(relays []domain.Reference) []domain.PublicKey {
	keys := make([]domain.PublicKey, len(relays))
	for i, r := range relays {
		keys[i] = r.Key
	}
	return keys
}

func relayAddrs(relays []domain.Reference) map[id.PublicKey][]hyperdht.HostPort {
	known := map[id.PublicKey][]hyperdht.HostPort{}
	for _, r := range relays {
		if !r.Addr.IsZero() {
			known[id.PublicKey(r.Key)] = append(known[id.PublicKey(r.Key)], hyperdht.HostPort(r.Addr))
		}
	}
	return known
}
