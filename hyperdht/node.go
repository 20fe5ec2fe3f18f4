package hyperdht

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/demux"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// PublicBootstrap lists the bootstrap nodes of the public HyperDHT (hyperdht lib/constants.js).
func PublicBootstrap() []string {
	return []string{
		"88.99.3.86@node1.hyperdht.org:49737",
		"142.93.90.113@node2.hyperdht.org:49737",
		"138.68.147.8@node3.hyperdht.org:49737",
	}
}

// Mode is the role of a node in the DHT.
type Mode uint8

// The modes of a node.
const (
	// Adaptive nodes become persistent once they have been up and reachable for a while.
	Adaptive Mode = iota
	// Ephemeral nodes use the DHT and store nothing for others.
	Ephemeral
	// Persistent nodes store for others from the start, as the nodes of a private DHT do.
	Persistent
)

// Config is the configuration of a Node. The zero Config is a node of the public network.
type Config struct {
	// Keys is the default identity for dials and servers; zero means a random key pair.
	Keys id.KeyPair
	// Bootstrap lists the nodes to enter the network by, as host:port, ip@host:port or a port on this
	// machine. Nil means PublicBootstrap; empty means none: other nodes enter the network through this one.
	Bootstrap []string
	// Nodes are DHT nodes from an earlier run (KnownNodes): the node enters the network through the first 16 of them and the
	// bootstrap nodes; with an empty Bootstrap, through them alone. Dead ones cost a second.
	Nodes []netip.AddrPort
	// Listen is the address of the node's server socket. If an explicit port cannot be bound, New fails with a *ListenError.
	// Port 0 selects 49637 or one of the next four, or any free port, but never one of a bootstrap node.
	Listen netip.AddrPort
	// Mode is the role of the node in the DHT.
	Mode Mode
	// Reachable marks the node as reachable from everywhere, as on a host with a public
	// address; otherwise it tests that.
	Reachable bool
	// NoQuickFirewall disables the reachability probe while entering the network;
	// the node is then firewalled for its first twenty minutes at least.
	NoQuickFirewall bool
	// PublicAddr presets the address of a dedicated bootstrap node, which has no node to learn it from.
	PublicAddr netip.AddrPort
	// FilterNode reports whether a DHT node may enter the routing table and lookups, by its address; nil admits all. Nodes that
	// joined the public network by accident are rejected before it is asked. It runs on the loop, for each address that
	// any answer names, so it must be quick.
	FilterNode func(netip.AddrPort) bool
	// NodeID computes the id of the DHT node at an address; nil means id.NodeIDOf, which any other function must agree with. A
	// simulation, whose many nodes need the same ids over and over, may have them in a table. It runs on the loop.
	NodeID func(netip.AddrPort) id.NodeID
	// Probe is a further source for the node's public address, used where there are few DHT nodes; see adapters/stun. It may be
	// nil.
	Probe AddressProbe
	// RelayAddrs are known addresses of blind relays, by key, at which they are dialled first.
	RelayAddrs map[id.PublicKey][]HostPort
	// ConnectionKeepAlive is the interval of silence after which each connection sends an empty message, unless
	// Connection.SetKeepAlive sets another; 0 means 5 s, a negative one never. A connection closes with ErrPeerSilent when nothing
	// has come from its peer for three intervals. Those to blind relays keep to 5 s; a relay of this package ends what carries nothing for a minute.
	ConnectionKeepAlive time.Duration
	// QuickReach makes the node ask a few DHT nodes when a connection stalls or requests are not answered, and OnReach run within
	// seconds where none answers, instead of half a minute: for a caller that has another way to the internet. Where many packets are
	// lost, it may run although some would answer.
	QuickReach bool
	// WallClock is used for the time stamps of announcements that carry one; nil rejects those.
	WallClock func() time.Time

	// OnReady runs when the node has entered the network, or its first attempt has failed.
	OnReady func()
	// OnPersistent runs when the node has become persistent.
	OnPersistent func()
	// OnNetwork runs when the network seems to have failed or come back.
	OnNetwork func(online bool)
	// OnAddress runs when the public address that others see has changed; invalid means unknown, port 0
	// that every remote sees another port.
	OnAddress func(netip.AddrPort)
}

// Node is one participant in the DHT.
type Node struct {
	host    host.Host
	cfg     Config
	rpc     *rpc.Endpoint
	streams *stream.Table
	door    demux.Door
	store   *records.Store
	peers   *peering

	bootstrap []rpc.Bootstrap

	ready   bool
	offline bool
	onMoved listeners[Move]
	addr    netip.AddrPort // the last one known; port 0 where each remote sees another
	onReach listeners[bool]
	onClose listeners[struct{}]
	life    life
}

// New returns a node on h that starts to enter the network. It must be called on h's loop. It fails if a bootstrap
// entry is malformed or no socket can be bound.
func New(h host.Host, cfg Config) (*Node, error) {
	if cfg.Keys == (id.KeyPair{}) {
		keys, err := id.NewKeyPair(h.Rand())
		if err != nil {
			return nil, fmt.Errorf("hyperdht: make key pair: %w", err)
		}
		cfg.Keys = keys
	}
	entries := cfg.Bootstrap
	if entries == nil {
		entries = PublicBootstrap()
	}
	bootstrap := make([]rpc.Bootstrap, 0, len(entries))
	for _, text := range entries {
		b, err := rpc.ParseBootstrap(text)
		if err != nil {
			return nil, fmt.Errorf("hyperdht: %w", err) // which quotes the text
		}
		bootstrap = append(bootstrap, b)
	}

	limits := host.LimitsOf(h)
	if limits.Filtered { // a test of that could mislead: the nodes that are asked may send
		cfg.Mode, cfg.Reachable, cfg.NoQuickFirewall = Ephemeral, false, true
	}
	n := &Node{host: h, cfg: cfg, bootstrap: bootstrap}
	n.streams = stream.NewTable(h, stream.Config{MaxMTU: limits.MTU, OnStall: func() { n.rpc.Doubt() }})
	n.door.Streams = n.streams
	n.store = records.NewStore(h.Now(), records.Config{})
	rcfg := rpc.Config{
		Bootstrap:  bootstrap,
		Nodes:      cfg.Nodes,
		Listen:     cfg.Listen,
		Mode:       rpc.Mode(cfg.Mode),
		PublicAddr: cfg.PublicAddr,

		NoQuickFirewall: cfg.NoQuickFirewall,
		FilterNode:      cfg.filter(),
		NodeID:          cfg.NodeID,
		Doubts:          cfg.QuickReach,
		App:             (*application)(n),
	}
	if cfg.Reachable {
		rcfg.Firewalled = new(bool)
	}
	if cfg.Probe != nil {
		rcfg.AddressProbe = cfg.Probe.Probe
		n.door.Address = cfg.Probe
	}
	endpoint, err := rpc.New(h, rcfg)
	if err != nil {
		return nil, fmt.Errorf("hyperdht: %w", listenFailure(err))
	}
	n.rpc = endpoint
	n.bound()
	peers := peeringConfig{Keys: cfg.Keys, Store: n.store, OnMoved: func() { n.moved(MoveElsewhere) }, Streams: n.streams, Door: &n.door, RelayAddrs: cfg.RelayAddrs, KeepAlive: cfg.keepAlive()}
	if cfg.Probe != nil {
		peers.Probe = cfg.Probe
	}
	n.peers = newPeering(h, endpoint, peers)
	n.door.Probes = n.peers.pool
	return n, nil
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// keepAlive returns the keep-alive interval of connections, 0 for none.
func (c *Config) keepAlive() time.Duration {
	if c.ConnectionKeepAlive == 0 {
		return connectionKeepAlive
	}
	return max(c.ConnectionKeepAlive, 0)
}

// filter returns the function that reports whether a node may enter the routing table and lookups.
func (c *Config) filter() func(netip.AddrPort) bool {
	if c.FilterNode == nil {
		return admitNode
	}
	return func(a netip.AddrPort) bool { return admitNode(a) && c.FilterNode(a) }
}

// admitNode rejects nodes that joined the public network by accident (hyperdht index.js).
func admitNode(a netip.AddrPort) bool {
	if !a.Addr().Is4() {
		return true
	}
	switch a.Addr().As4() {
	case [4]byte{134, 209, 28, 98}, [4]byte{167, 99, 142, 185}:
		return a.Port() != 49738
	case [4]byte{35, 233, 47, 252}:
		return a.Port() != 9400
	case [4]byte{150, 136, 142, 116}:
		return false
	}
	return true
}

// ID returns the id under which other nodes have this one in their routing tables. It reports false while the node is ephemeral: it
// is in no table then, and its lookups start from a random id. The id of any other node is id.NodeIDOf of its address.
func (n *Node) ID() (id.NodeID, bool) { return n.rpc.ID() }

// Closed reports whether Close was called.
func (n *Node) Closed() bool { return n.life.ending() }

// AddNode adds a DHT node that is believed to exist to the routing table, where lookups begin. It must have an IPv4 address and a
// port, otherwise AddNode has no effect. In a full bucket of the table it gets a place only if another node there does not answer. A
// node that stops answering is removed. Config.FilterNode does not apply. To enter a network by saved nodes, use Config.Nodes.
func (n *Node) AddNode(addr netip.AddrPort) { n.rpc.AddNode(addr) }

// PublicKey returns the default identity for dials.
func (n *Node) PublicKey() id.PublicKey { return n.cfg.Keys.Public }

// Host returns the host that the node lives on.
func (n *Node) Host() host.Host { return n.host }

// Ready reports whether the node has finished entering the network.
func (n *Node) Ready() bool { return n.ready }

// OnMoved adds a handler for changes of the node's reachability, which cancel removes. It does not run while the node enters the network.
func (n *Node) OnMoved(f func(Move)) (cancel func()) { return n.onMoved.add(f) }

// OnReach adds a handler that runs when no DHT node answers, and when one does again; cancel removes it. It does not run if nodes answer
// from the start, nor for a node without bootstrap nodes.
func (n *Node) OnReach(f func(answering bool)) (cancel func()) { return n.onReach.add(f) }

// OnClose adds a handler that runs once, at the end of the turn of Close; cancel removes it.
func (n *Node) OnClose(f func()) (cancel func()) { return n.onClose.add(func(struct{}) { f() }) }

// listeners are functions for an event, in the order in which they were added.
type listeners[T any] []*func(T)

func (ls *listeners[T]) add(f func(T)) (cancel func()) {
	added := &f
	*ls = append(slices.Clone(*ls), added)
	return func() {
		*ls = slices.DeleteFunc(slices.Clone(*ls), func(h *func(T)) bool { return h == added })
	}
}

func (ls listeners[T]) run(event T) {
	for _, f := range ls {
		(*f)(event)
	}
}

func (n *Node) moved(m Move) {
	if n.ready && !n.life.ending() {
		n.onMoved.run(m)
	}
}

// seenAt records the public address that others see. A first address is no move, nor is an address unknown for a while.
func (n *Node) seenAt(a netip.AddrPort) {
	was := n.addr
	if sameHost := a.Addr() == was.Addr(); a == was || !a.Addr().IsValid() || sameHost && a.Port() == 0 {
		return
	}
	n.addr = a
	if was.Addr().IsValid() && (a.Addr() != was.Addr() || was.Port() != 0) {
		n.moved(MoveElsewhere)
	}
}

// Move is a kind of change of a node's reachability.
type Move uint8

const (
	// MoveElsewhere means that existing connections may be dead: the node has another public address, its NAT
	// another mapping, the network is back, or the machine has woken from a sleep.
	MoveElsewhere Move = iota
	// MoveIntoReach means that there is no firewall after all: connections continue, and peers that could not connect now can.
	MoveIntoReach
)

// Connect starts connecting to a key and returns at once; the connection's handlers report the result.
func (n *Node) Connect(remote id.PublicKey, opts ConnectOptions) *Connection {
	return n.peers.connect(remote, opts)
}

// Listen accepts connections under a key and calls done when the server is announced, or the first attempt
// has failed; it continues to try. Listen fails only if this node listens under the key already.
func (n *Node) Listen(opts ListenOptions, done func(error)) (*Server, error) {
	return n.peers.listen(opts, done)
}

// SetPublicAddr sets the address at which the node's server socket is reachable from everywhere, as the operator, or a router that
// was asked for a mapping, says: callers are given that address, whatever other nodes see. Its port need not be the bound one. The zero
// address withdraws it. SetPublicAddr must be called on the host's loop. It fails if the address is no IPv4 address with a port, or
// if Config.PublicAddr is set.
func (n *Node) SetPublicAddr(addr netip.AddrPort) error {
	before, firewalled := n.rpc.Addr(), n.rpc.Firewalled()
	if sameHost := addr.Addr() == n.addr.Addr(); sameHost && firewalled {
		n.addr = addr // no move: connections use the other socket, and continue
	}
	if err := n.rpc.SetPublicAddr(addr); err != nil {
		return fmt.Errorf("hyperdht: %w", err)
	}
	if n.rpc.Addr() != before || n.rpc.Firewalled() != firewalled {
		n.peers.networkChanged()
	}
	return nil
}

// VerifyPublicAddr tests whether datagrams to an address arrive at the node's server socket, before SetPublicAddr: DHT nodes are asked to
// answer there. It calls done on the loop, in a later turn. It is for nodes that are firewalled.
func (n *Node) VerifyPublicAddr(addr netip.AddrPort, done func(reached bool)) {
	n.rpc.VerifyAddr(addr, done)
}

// NetworkChanged notifies the node that this machine's addresses have changed. The node notices by itself within
// seconds; this only saves that delay.
func (n *Node) NetworkChanged() { n.rpc.NetworkChanged() }

// Status describes a node at one moment.
type Status struct {
	// PublicKey is the default identity for dials and servers, ID the node's id in the DHT; zero while Ephemeral.
	PublicKey id.PublicKey
	ID        id.NodeID
	// Local is the bound address of the server socket; invalid while suspended or closed.
	Local netip.AddrPort
	// Public is our address, as set or as others see it: invalid while unknown, port 0 if it differs for each.
	Public netip.AddrPort
	// Firewalled means that the node cannot be reached unless it has sent something first.
	Firewalled bool
	// Ephemeral means that the node stores nothing for others.
	Ephemeral bool
	// Ready means that the node has finished entering the network, Online that the network answers, Degraded that most requests
	// time out.
	Ready, Online, Degraded bool
	// Silent means that no DHT node answers. Bootstrap is the number of bootstrap nodes, Self those of their
	// addresses that are this node's own.
	Silent    bool
	Bootstrap int
	Self      []netip.AddrPort
	// Announced is the number of DHT nodes that hold the record of a server of this node: the least of all servers.
	Announced int
	// Nodes is the size of the routing table, Connections and Servers the numbers of connections and servers.
	Nodes, Connections, Servers int
	// Peering, RPC and Streams count what has happened since the node started.
	Peering PeeringStats
	RPC     RPCStats
	Streams StreamStats
}

// Nodes lists the DHT nodes of the routing table, those that answered last first. Each of the table's buckets holds twenty.
func (n *Node) Nodes() []netip.AddrPort { return n.rpc.Nodes() }

// KnownNodes lists DHT nodes for Config.Nodes of the next run, those that answered last first; 16 at most.
func (n *Node) KnownNodes() []netip.AddrPort {
	known := n.Nodes()
	return known[:min(len(known), rpc.MaxKnown)]
}

// Status describes the node now.
func (n *Node) Status() Status {
	var local netip.AddrPort
	if s := n.rpc.ServerSocket(); s != nil {
		local = s.LocalAddr()
	}
	announced := 0
	for i, s := range n.peers.servers.listening {
		if held := s.Announcement().Nodes; i == 0 || held < announced {
			announced = held
		}
	}
	var self id.NodeID
	if own, ok := n.ID(); ok {
		self = own
	}
	return Status{
		ID:          self,
		Silent:      n.rpc.Silent(),
		Bootstrap:   len(n.bootstrap),
		Self:        n.rpc.Self(),
		Announced:   announced,
		PublicKey:   n.cfg.Keys.Public,
		Local:       local,
		Public:      n.rpc.Addr(),
		Firewalled:  n.rpc.Firewalled(),
		Ephemeral:   n.rpc.Ephemeral(),
		Ready:       n.ready,
		Online:      n.rpc.Online(),
		Degraded:    n.rpc.Degraded(),
		Nodes:       len(n.rpc.Nodes()),
		Connections: n.peers.connections.len(),
		Servers:     len(n.peers.servers.listening),
		Peering:     n.peers.counters(),
		RPC:         RPCStats(n.rpc.Stats()),
		Streams:     StreamStats(n.streams.Stats()),
	}
}
