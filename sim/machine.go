package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/uplinks"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
)

// machine is a computer in a World and the software on it, which starts at boot.
type machine struct {
	w          *World
	name       string
	host       *simnet.Host
	router     *simnet.Router // its own; nil on the open internet
	boots      int
	isNode     bool // of the DHT, and nothing else
	isRelay    bool
	isAttacker bool           // runs an attacker's program
	spare      int            // connections in progress beyond those of other machines
	streams    streamHealth   // for the rule readable
	node       *hyperdht.Node // nil while the software is closed
	reachable  bool           // others can reach it without help, as its node has found
	stir       time.Duration  // time of the last change of its network
	sizers     []sizer        // of all parts of the software, closed or not
	known      nodeCache
	turn       *turnServers // that it may use; nil for none
	links      *uplinks.Transport
	worked     uplinks.Kind

	run  func()            // starts the software on a machine that has booted, inside a turn
	stop func(done func()) // stops it cleanly, inside a turn
}

// boot starts the software on the machine's current boot.
func (m *machine) boot() {
	m.boots++
	m.host.Do(m.run)
}

// crash ends the machine at once.
func (m *machine) crash() {
	m.w.check.crashed(m)
	m.host.Crash()
	m.node, m.sizers = nil, nil
}

// restart boots a machine, crashing it first if it is running.
func (m *machine) restart() {
	if !m.host.Down() {
		m.crash()
	}
	m.host = m.host.Restart()
	m.streams.starts = append(m.streams.starts, m.w.net.Now())
	m.boot()
}

// close stops the software cleanly and waits for that.
func (m *machine) close() {
	if m.node == nil || m.host.Down() {
		return
	}
	closed := false
	m.host.Do(func() { m.stop(func() { closed = true }) })
	m.w.until(m.name+" has closed", closeWithin, func() bool { return closed })
	m.node = nil
}

// up reports whether the software runs and the machine is awake.
func (m *machine) up() bool { return m.node != nil && !m.host.Down() && !m.host.Asleep() }

// join puts a DHT node on the machine. It must run inside a turn.
func (m *machine) join(cfg hyperdht.Config) {
	if cfg.Bootstrap == nil {
		cfg.Bootstrap = m.w.bootstrap
	}
	if len(m.w.stun) > 0 && !m.isNode {
		probe, err := stun.New(m.host, stun.Config{Servers: m.w.stun})
		if err != nil {
			panic(fmt.Sprintf("sim: %s: %v", m.name, err))
		}
		cfg.Probe = probe
	}
	cfg.NodeID = m.w.addrs.nodeID
	m.w.check.restarted(m)
	m.w.stirs(m)
	m.reachable = false
	node, err := hyperdht.New(m.host, cfg)
	if err != nil {
		panic(fmt.Sprintf("sim: %s: %v", m.name, err))
	}
	m.streams.restart()
	m.node, m.sizers = node, []sizer{node.Sizes}
}

// transport puts a DHT node and a transport over it on the machine. It must run inside a turn.
func (m *machine) transport(nodeConfig hyperdht.Config, cfg dht.Config) ports.Transport {
	if m.turn != nil {
		return m.uplinks(m.turn, nodeConfig, cfg)
	}
	return m.overUDP(nodeConfig, cfg)
}

// overUDP is transport over UDP alone.
func (m *machine) overUDP(nodeConfig hyperdht.Config, cfg dht.Config) *dht.Transport {
	nodeConfig.Nodes = m.known
	cfg.Known = &m.known
	m.join(nodeConfig)
	t := dht.New(m.host, m.node, cfg)
	m.sizers = []sizer{t.Sizes} // the node's included
	return t
}

// nodeCache is the list of DHT nodes on a machine's disk.
type nodeCache []netip.AddrPort

// Save implements ports.NodeCache.
func (c *nodeCache) Save(nodes []netip.AddrPort) { *c = slices.Clone(nodes) }

// Flush implements ports.NodeCache.
func (c *nodeCache) Flush(done func()) { done() }

// place is the network position of a machine.
type place struct {
	nat    *simnet.NAT     // of a router of its own; nil for none
	on     *simnet.Segment // the network that the machine or its router is part of; nil for the internet
	access *simnet.Link    // the link between its router and that network; nil for an unlimited one
	turn   *turnServers    // that the machine may use; nil for none
	noUDP  bool            // its UDP is blocked at first
	lane   int             // of the net, for a machine on the internet itself
}

// open is the internet itself.
var open = place{}

// behind is a place behind a router of the machine's own.
func behind(nat simnet.NAT) place { return place{nat: &nat} }

// under returns the same place in another network.
func (p place) under(on *simnet.Segment) place {
	p.on = on
	return p
}

// with returns the same place with TURN servers for its machine.
func (p place) with(servers *turnServers) place {
	p.turn = servers
	return p
}

// settle creates a machine at a place, without software.
func (w *World) settle(name string, p place) *machine {
	m := &machine{w: w, name: name, turn: p.turn}
	if p.noUDP {
		p.turn.block(m)
	}
	on, addr := p.on, w.addrs.newPrivate
	if on == nil {
		on, addr = w.net.Internet(), w.addrs.newPublic
	}
	switch {
	case p.lane > 0:
		m.host = w.net.AddHostIn(p.lane, name, addr())
	case p.nat == nil:
		m.host = on.AddHost(name, addr())
	case p.nat.Mapping == simnet.Never: // nothing is translated
		m.router = on.AddRouter(name+"'s router", *p.nat, netip.Addr{})
		m.host = m.router.AddHost(name, addr())
	default:
		m.router = on.AddRouter(name+"'s router", *p.nat, addr())
		m.host = m.router.AddHost(name, w.addrs.newPrivate())
	}
	if p.access != nil {
		m.router.SetAccess(*p.access)
	}
	w.machines = append(w.machines, m)
	w.byName[name] = m
	return m
}

// newPrivate returns an inside address. No two machines have the same one, which makes traces easier to read.
func (a *addresses) newPrivate() netip.Addr {
	a.private++
	n := a.private
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// newPublic returns an address that is not in use.
func (a *addresses) newPublic() netip.Addr {
	a.public++
	return publicAddr(a.public)
}

// firstPublic is 20.0.0.0: public addresses are counted from there.
const firstPublic = 20 << 24

func publicAddr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, firstPublic+n)))
}

// remember computes the id of the DHT node at a public address, for nodeID. No machine may run meanwhile.
func (a *addresses) remember(node netip.Addr) {
	for uint32(len(a.ids)) <= a.public {
		a.ids = append(a.ids, id.NodeID{})
	}
	a.ids[numberOf(node)] = id.NodeIDOf(netip.AddrPortFrom(node, dhtPort))
}

// numberOf is the inverse of publicAddr. It is large for other addresses of IPv4.
func numberOf(addr netip.Addr) uint32 {
	ip := addr.As4()
	return binary.BigEndian.Uint32(ip[:]) - firstPublic
}

// nodeID is id.NodeIDOf. Of ten thousand DHT nodes each needs all ids some time, again and again: a table for all of them stays in the
// processor's cache, and a look into it takes less time than a hash.
func (a *addresses) nodeID(at netip.AddrPort) id.NodeID {
	if at.Port() == dhtPort && at.Addr().Is4() {
		if n := numberOf(at.Addr()); n < uint32(len(a.ids)) && a.ids[n] != (id.NodeID{}) {
			return a.ids[n]
		}
	}
	return id.NodeIDOf(at)
}

// addNode boots one more persistent node of the DHT.
func (w *World) addNode() *machine {
	n := len(w.nodes)
	name := fmt.Sprintf("node-%d", n)
	at := open
	if w.scenario.Lanes {
		at.lane = n % lanes
	}
	m := w.settle(name, at)
	m.isNode = true
	w.addrs.remember(m.host.Addr())
	cfg := hyperdht.Config{Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), dhtPort), Mode: hyperdht.Persistent, Reachable: true, WallClock: func() time.Time { return m.host.Clock().Now() }}
	if n == 0 {
		addr := netip.AddrPortFrom(m.host.Addr(), dhtPort)
		w.bootstrap = []string{addr.String()}
		cfg.Bootstrap, cfg.PublicAddr = []string{}, addr
	}
	m.run = func() { m.join(cfg) }
	m.stop = func(done func()) { m.node.Close(done) }
	w.nodes = append(w.nodes, m)
	m.boot()
	return m
}

// relay boots a machine that relays connections whose ends cannot reach each other.
func (w *World) addRelay(name string) id.PublicKey {
	keys := id.KeyPairFromSeed(id.Seed(w.seedOf(name)))
	m := w.settle(name, open)
	m.isRelay = true
	ready := false
	m.run = func() {
		m.join(hyperdht.Config{})
		relay, err := m.node.ServeRelay(hyperdht.RelayConfig{Keys: keys}, func(error) { ready = true })
		if err != nil {
			panic(fmt.Sprintf("sim: %s: %v", name, err))
		}
		m.sizers = append(m.sizers, relay.Sizes)
	}
	m.stop = func(done func()) { m.node.Close(done) }
	m.boot()
	w.until(name+" can be found", startWithin, func() bool { return ready })
	w.names.byKey[keys.Public] = name
	return keys.Public
}

// usualInternet is the default link between public hosts.
func usualInternet(loss float64) simnet.Link {
	return simnet.Link{Delay: 10 * time.Millisecond, Spread: 40 * time.Millisecond, Jitter: 4 * time.Millisecond, Loss: loss}
}
