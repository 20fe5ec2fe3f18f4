package rpc

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Endpoint is a DHT node below its applications. Everything about it happens on its host's loop.
//
// What every datagram needs lies together, in the order of the fields, and each value begins with it: a program with thousands
// of nodes waits for memory more than it computes.
type Endpoint struct {
	h            host.Host
	app          Application
	life         lifeState
	bootstrapped bool
	sockets      sockets
	standing     standing
	nodes        population
	calls        calls
	answering    answering
	address      address
	network      network

	queries          QueryStats
	upkeep           upkeep
	rejoin           rejoin
	whenBootstrapped []func()
	faults           states.Faults
	cfg              Config
}

// New binds the sockets and starts to bootstrap at the end of the turn.
func New(h host.Host, cfg Config) (*Endpoint, error) {
	e := &Endpoint{h: h, app: cfg.App, cfg: cfg}
	if e.app == nil {
		e.app = noApplication{}
	}
	now := h.Now()
	e.standing = standing{adaptive: cfg.Mode == Adaptive, forced: cfg.Mode == Persistent, stableTicks: stableTicks}
	e.network = network{condition: condition{online: true}, interfaces: h.Addrs()}
	e.address.sampler = new(nat.Sampler)
	e.answering.init(now)
	e.calls.init(h, cfg.AdaptiveTimeout, &e.faults, e.late)
	e.nodes.filter, e.nodes.idOf = cfg.FilterNode, cfg.NodeID
	if e.nodes.idOf == nil {
		e.nodes.idOf = id.NodeIDOf
	}
	if cfg.Firewalled != nil && !*cfg.Firewalled {
		e.standing.access = reachable
	}
	if preset := cfg.PublicAddr; preset.IsValid() {
		if err := checkPublicAddr(preset); err != nil {
			return nil, err
		}
		e.standing.adaptive, e.standing.forced, e.standing.access = false, true, reachable
		e.address.preset, e.address.known = true, &preset
		e.address.sampler.Add(preset, netip.AddrPort{})
	}
	var seed [2 + 4 + 4 + 32]byte
	host.Draw(h.Rand(), seed[:])
	e.calls.table.next = binary.LittleEndian.Uint16(seed[:])
	// Ticks start at random, so that nodes started together do not act together.
	e.nodes.tick = kad.Tick(100 - binary.LittleEndian.Uint32(seed[2:])%50)
	e.upkeep.refreshTicks = refreshTicks - int(binary.LittleEndian.Uint32(seed[6:])%(refreshTicks/2))
	e.nodes.table = kad.NewTable(id.NodeID(seed[10:]), kad.K)

	if err := e.bind(); err != nil {
		return nil, err
	}
	e.rejoin.schedule(rejoinTicks, e.random)
	e.nodes.setKnown(cfg.Nodes, cfg.Bootstrap)
	e.upkeep.begin(h, e.onTick)
	h.Defer(e.start)
	return e, nil
}

// bind opens both sockets and has the application take what arrives there.
func (e *Endpoint) bind() error {
	if err := e.sockets.bind(e.h, &e.cfg); err != nil {
		return err
	}
	e.app.Attach(e, e.sockets.server)
	e.app.Attach(e, e.sockets.client)
	return nil
}

// Close closes the endpoint. Pending calls and queries fail with ErrClosed. Repeated calls have no effect.
func (e *Endpoint) Close() {
	if e.Closed() {
		return
	}
	e.become(lifeClosed)
	e.shut(ErrClosed)
}

// Suspend closes the sockets. Pending calls and queries fail with ErrSuspended. Later requests wait until
// Resume.
func (e *Endpoint) Suspend() {
	if !e.running() {
		return
	}
	e.become(lifeSuspended)
	e.calls.pause()
	e.shut(ErrSuspended)
}

func (e *Endpoint) become(next lifeState) { lifeTable.Become(&e.life, next, &e.faults) }

func (e *Endpoint) running() bool { return e.life == lifeRunning }

// shut ends what is under way and closes the sockets.
func (e *Endpoint) shut(err error) {
	e.upkeep.ticker.Stop()
	e.address.close()
	e.calls.abortAll(err)
	e.answering.close()
	e.sockets.close()
}

// Resume binds the sockets again, on the same ports if they are free, and finds out what has become of
// the network. If that fails the endpoint stays suspended.
func (e *Endpoint) Resume() error {
	if !e.Suspended() {
		return nil
	}
	if err := e.bind(); err != nil {
		return err
	}
	e.become(lifeRunning)
	e.calls.resume()
	e.upkeep.begin(e.h, e.onTick)
	e.wakeUp()
	e.calls.sendHeld(e.Socket())
	e.network.interfaces = e.h.Addrs()
	e.refresh()
	return nil
}

// Socket is the main socket: the client socket while firewalled, else the server socket. Like the others
// it is nil while suspended or closed.
func (e *Endpoint) Socket() host.Socket {
	return e.sockets.main(e.Firewalled())
}

// ServerSocket is the socket on the well-known port.
func (e *Endpoint) ServerSocket() host.Socket { return e.sockets.server }

// ClientSocket is the socket that requests leave from while firewalled.
func (e *Endpoint) ClientSocket() host.Socket { return e.sockets.client }

// ID returns our node id. It reports false while ephemeral: then the id must not be sent.
func (e *Endpoint) ID() (id.NodeID, bool) { return e.nodes.table.Self(), !e.Ephemeral() }

// TableID is the id that the routing table is arranged around, which is random while ephemeral.
func (e *Endpoint) TableID() id.NodeID { return e.nodes.table.Self() }

// Ephemeral reports whether the node is ephemeral: other nodes do not add it to their tables.
func (e *Endpoint) Ephemeral() bool { return e.standing.role == ephemeral }

// Firewalled reports whether the server socket is unreachable, as far as known.
func (e *Endpoint) Firewalled() bool { return e.standing.access == firewalled }

// Bootstrapped reports whether bootstrapping has ended.
func (e *Endpoint) Bootstrapped() bool { return e.bootstrapped }

// WhenBootstrapped calls f when bootstrapping has ended, well or not: now, or in the turn in which it ends.
func (e *Endpoint) WhenBootstrapped(f func()) {
	if e.bootstrapped {
		f()
		return
	}
	e.whenBootstrapped = append(e.whenBootstrapped, f)
}

// Suspended reports whether the endpoint is suspended.
func (e *Endpoint) Suspended() bool { return e.life == lifeSuspended }

// Closed reports whether the endpoint was closed.
func (e *Endpoint) Closed() bool { return e.life == lifeClosed }

// Alone reports whether there are no bootstrap nodes: the network is one that others enter by this node.
func (e *Endpoint) Alone() bool { return len(e.cfg.Bootstrap) == 0 }

// Self lists the addresses that were asked as those of other nodes, and are this node's own.
func (e *Endpoint) Self() []netip.AddrPort { return slices.Clone(e.nodes.self) }

// Online reports whether the network answers.
func (e *Endpoint) Online() bool { return e.network.online }

// Degraded reports whether most requests time out.
func (e *Endpoint) Degraded() bool { return e.network.degraded }

// Addr is our public address, as set or as others see it: not valid while unknown, with port 0 if the port differs
// from remote to remote.
func (e *Endpoint) Addr() netip.AddrPort { return e.address.addr() }

// Samples returns our addresses as others see them, the oldest first. Addr follows from them unless it is set.
func (e *Endpoint) Samples() []nat.Sample { return e.address.sampler.Samples() }

// Host is our public host, not valid while unknown.
func (e *Endpoint) Host() netip.Addr { return e.Addr().Addr() }

// Port is our public port, 0 while unknown or different from remote to remote.
func (e *Endpoint) Port() uint16 { return e.Addr().Port() }

// RemoteAddr returns the public address of our server socket. It reports false if it is not reachable, or if the
// port that others see is not the bound one.
func (e *Endpoint) RemoteAddr() (netip.AddrPort, bool) {
	if e.Firewalled() || !e.sockets.isOpen() || !e.Addr().IsValid() {
		return netip.AddrPort{}, false
	}
	if e.address.known == nil && e.Port() != e.sockets.server.LocalAddr().Port() {
		return netip.AddrPort{}, false
	}
	return e.Addr(), true
}

// Nodes lists the known nodes, those heard from last first.
func (e *Endpoint) Nodes() []netip.AddrPort { return e.nodes.addrs() }

// Len is the number of known nodes.
func (e *Endpoint) Len() int { return e.nodes.list.Len() }

// Closest lists up to k known nodes near a target, in the order in which answers name them.
func (e *Endpoint) Closest(target id.Target, k int) []netip.AddrPort {
	return e.nodes.table.AppendAddrs(make([]netip.AddrPort, 0, max(k, 0)), target, k)
}

// AddNode adds a node that is believed to exist.
func (e *Endpoint) AddNode(addr netip.AddrPort) {
	if !isUsable(addr) {
		return
	}
	e.meet(e.nodes.idOf(addr), addr, netip.AddrPort{})
}

// isUsable reports whether addr can be the address of a node.
func isUsable(addr netip.AddrPort) bool { return addr.Addr().Is4() && addr.Port() != 0 }
