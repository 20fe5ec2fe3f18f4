package rpc

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Endpoint is a DHT node below its applications. Everything about it happens on its host's loop.
type Endpoint struct {
	h   host.Host
	cfg Config

	// What every datagram needs lies together: a program with thousands of nodes waits for memory more than it computes.
	server, client                  host.Socket // nil while suspended
	adaptive, forcePersistent       bool
	ephemeral, firewalled           bool
	bootstrapped, suspended, closed bool
	online, degraded                bool
	deadlineArmed, drainArmed       bool
	sending                         bool // queued requests are sent at the end of the turn
	tick                            kad.Tick
	askedAt                         kad.Tick // when others were last asked whether our public address has moved
	probes                          []*probe
	nodes                           kad.List
	nat                             *nat.Sampler
	table                           kad.Table
	calls                           callTable
	window                          window
	drained                         host.Instant // when the window was last drained
	deadlineAt                      host.Instant
	out                             []byte // the answer being built
	swaps                           int    // buckets being checked
	stats                           Stats
	pace                            pace
	answers                         pace // see MayAnswer

	tokens   kad.Tokens
	health   kad.Health
	deadline host.Timer
	drain    host.Timer
	queue    queue
	response wire.Response // that has arrived
	reply    Reply         // that a query is looking at
	delayed  []*delayedPing

	serverPort, clientPort uint16 // as bound before, to be taken again
	ticker                 host.Timer
	lastTick               host.Instant
	refreshTicks           int
	lonelyWait             int // ticks between two looks for more nodes, and those since the last
	lonelyTicks            int
	stableTicks            int
	downHints              int        // sent in this tick
	checkedHost            netip.Addr // our public host when the network state was last updated
	checks                 int        // nodes being checked
	knownHost              netip.Addr // the last one that the samples agreed on; they may disagree now
	whenBootstrapped       []func()
	known                  []netip.AddrPort // of an earlier run, until bootstrapped
	waking                 bool             // from a long sleep, and nobody has answered yet
	unnamed                []netip.AddrPort
	interfaces             []netip.Addr
	askings                int    // rounds of asking whether our public address has moved
	cancelAsking           func() // ends what the last one asks of the address probe
	sampling               sampling
	rejoin                 rejoin
	reach                  reach
	self                   []netip.AddrPort // that were asked and turned out to be our own
	adaptiveTimeout        *adaptiveTimeout
}

// New binds the sockets and starts to bootstrap at the end of the turn.
func New(h host.Host, cfg Config) (*Endpoint, error) {
	e := &Endpoint{
		h: h, cfg: cfg,
		nat:       new(nat.Sampler),
		ephemeral: true, firewalled: true, online: true,
		drained: h.Now(), lastTick: h.Now(),
		interfaces: h.Addrs(),
	}
	e.pace.init(h.Now())
	e.answers.init(h.Now())
	e.adaptive = cfg.Mode == Adaptive
	e.forcePersistent = cfg.Mode == Persistent
	if cfg.Firewalled != nil {
		e.firewalled = *cfg.Firewalled
	}
	if preset := cfg.PublicAddr; preset.IsValid() {
		if !isUsable(preset) || preset.Addr().IsUnspecified() {
			return nil, fmt.Errorf("rpc: public address %v: want an IPv4 address with a port", preset)
		}
		e.adaptive, e.forcePersistent, e.firewalled = false, true, false
		e.nat.Add(preset, netip.AddrPort{})
	}
	if cfg.AdaptiveTimeout {
		e.adaptiveTimeout = new(adaptiveTimeout)
	}
	e.stableTicks = stableTicks
	var seed [2 + 4 + 4 + 32]byte
	if _, err := io.ReadFull(h.Rand(), seed[:]); err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	e.calls.next = binary.LittleEndian.Uint16(seed[:])
	// Ticks start at random, so that nodes started together do not act together.
	e.tick = kad.Tick(100 - binary.LittleEndian.Uint32(seed[2:])%50)
	e.refreshTicks = refreshTicks - int(binary.LittleEndian.Uint32(seed[6:])%(refreshTicks/2))
	e.table = kad.NewTable(id.NodeID(seed[10:]), kad.K)

	if err := e.bind(); err != nil {
		return nil, err
	}
	e.scheduleRejoin(rejoinTicks)
	e.setKnown(cfg.Nodes)
	e.ticker = h.AfterFunc(TickInterval, e.onTick)
	h.Defer(e.start)
	return e, nil
}

// bind opens both sockets (dht-rpc lib/io.js, _bindSockets).
func (e *Endpoint) bind() error {
	addr := e.cfg.Listen.Addr()
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	server, err := e.bindServer(addr)
	if err != nil {
		return fmt.Errorf("rpc: server socket: %w", err)
	}
	var client host.Socket
	if e.clientPort != 0 {
		client, err = e.h.OpenSocket(netip.AddrPortFrom(addr, e.clientPort))
	}
	if client == nil {
		client, err = e.openFree(addr)
	}
	if err != nil {
		server.Close()
		return fmt.Errorf("rpc: client socket: %w", err)
	}
	e.server, e.client = server, client
	e.serverPort, e.clientPort = server.LocalAddr().Port(), client.LocalAddr().Port()
	server.OnReceive(func(from netip.AddrPort, b []byte) { e.datagram(server, from, b) })
	client.OnReceive(func(from netip.AddrPort, b []byte) { e.datagram(client, from, b) })
	return nil
}

// bindServer opens the server socket. An explicit port is that port or an error; without one the port from before, one of
// a few that others may have seen this node at, or any that is free.
func (e *Endpoint) bindServer(addr netip.Addr) (host.Socket, error) {
	exact := e.cfg.Listen.Port()
	if exact == 0 && e.cfg.PublicAddr.IsValid() {
		exact = e.cfg.PublicAddr.Port()
	}
	if exact != 0 {
		at := netip.AddrPortFrom(addr, exact)
		s, err := e.h.OpenSocket(at)
		if err != nil {
			return nil, &ListenError{Addr: at, Err: err}
		}
		return s, nil
	}
	if e.serverPort != 0 {
		if s, err := e.h.OpenSocket(netip.AddrPortFrom(addr, e.serverPort)); err == nil {
			return s, nil
		}
	}
	for port := uint16(implicitPort); port < implicitPort+implicitPorts; port++ {
		if e.reserved(port) {
			continue
		}
		if s, err := e.h.OpenSocket(netip.AddrPortFrom(addr, port)); err == nil {
			return s, nil
		}
	}
	s, err := e.openFree(addr)
	if err != nil {
		return nil, &ListenError{Addr: netip.AddrPortFrom(addr, 0), Err: err}
	}
	return s, nil
}

// openFree opens a socket on any port but those of bootstrap nodes. The system gives such a port at random, and hardly
// ever twice.
func (e *Endpoint) openFree(addr netip.Addr) (s host.Socket, err error) {
	for range freeTries {
		last := s
		s, err = e.h.OpenSocket(netip.AddrPortFrom(addr, 0))
		if last != nil {
			last.Close() // not earlier, or it might be given again
		}
		if err != nil || !e.reserved(s.LocalAddr().Port()) {
			return s, err
		}
	}
	return s, nil
}

// reserved reports whether a port is that of a bootstrap node, which may be about to start on this machine.
func (e *Endpoint) reserved(port uint16) bool {
	return port >= DefaultPort && port < DefaultPort+defaultPorts ||
		slices.ContainsFunc(e.cfg.Bootstrap, func(b Bootstrap) bool { return b.Port == port })
}

// Close ends everything. Calls and queries that wait fail with ErrClosed. Closing twice is harmless.
func (e *Endpoint) Close() {
	if e.closed {
		return
	}
	e.closed = true
	e.ticker.Stop()
	e.shut(ErrClosed)
}

// Suspend closes the sockets and fails what waits with ErrSuspended. Requests made meanwhile wait until
// Resume.
func (e *Endpoint) Suspend() {
	if e.suspended || e.closed {
		return
	}
	e.suspended = true
	e.ticker.Stop()
	e.shut(ErrSuspended)
	e.window = window{}
}

// shut ends the calls and closes the sockets.
func (e *Endpoint) shut(err error) {
	e.queue = queue{} // before what ends makes room for it
	e.endSampling()
	e.endAsking()
	e.abortAll(err)
	for _, t := range []host.Timer{e.deadline, e.drain} {
		if t != nil {
			t.Stop()
		}
	}
	e.deadlineArmed, e.drainArmed = false, false
	for _, p := range e.delayed {
		p.timer.Stop()
	}
	e.delayed = nil
	if e.server != nil {
		e.server.Close()
		e.client.Close()
		e.server, e.client = nil, nil
	}
}

// Resume binds the sockets again, on the same ports if they are free, and finds out what has become of
// the network. If that fails the endpoint stays suspended.
func (e *Endpoint) Resume() error {
	if !e.suspended || e.closed {
		return nil
	}
	if err := e.bind(); err != nil {
		return err
	}
	e.suspended = false
	e.lastTick = e.h.Now()
	e.ticker.Reset(TickInterval)
	e.wakeUp()
	e.sendHeld()
	e.interfaces = e.h.Addrs()
	e.refresh()
	return nil
}

// sendHeld sends the requests that were made while suspended, oldest first.
func (e *Endpoint) sendHeld() {
	for _, c := range e.waiting() {
		if !c.held {
			continue
		}
		c.held = false
		if c.socket == nil {
			c.socket = e.Socket()
		}
		e.send(c)
	}
}

// Socket is the main socket: the client socket while firewalled, else the server socket. Like the others
// it is nil while suspended or closed.
func (e *Endpoint) Socket() host.Socket {
	if e.firewalled {
		return e.client
	}
	return e.server
}

// ServerSocket is the socket on the well-known port.
func (e *Endpoint) ServerSocket() host.Socket { return e.server }

// ClientSocket is the socket that requests leave from while firewalled.
func (e *Endpoint) ClientSocket() host.Socket { return e.client }

// ID is our node id. It reports false while ephemeral: then nobody may know us by it.
func (e *Endpoint) ID() (id.NodeID, bool) { return e.table.Self(), !e.ephemeral }

// TableID is the id that the routing table is arranged around, which is random while ephemeral.
func (e *Endpoint) TableID() id.NodeID { return e.table.Self() }

// Ephemeral reports whether the node is in nobody's routing table.
func (e *Endpoint) Ephemeral() bool { return e.ephemeral }

// Firewalled reports whether the server socket is unreachable, as far as known.
func (e *Endpoint) Firewalled() bool { return e.firewalled }

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
func (e *Endpoint) Suspended() bool { return e.suspended }

// Closed reports whether the endpoint was closed.
func (e *Endpoint) Closed() bool { return e.closed }

// Alone reports whether there are no bootstrap nodes: the network is one that others enter by this node.
func (e *Endpoint) Alone() bool { return len(e.cfg.Bootstrap) == 0 }

// Self lists the addresses that were asked as those of other nodes, and are this node's own.
func (e *Endpoint) Self() []netip.AddrPort { return slices.Clone(e.self) }

// Online reports whether the network answers.
func (e *Endpoint) Online() bool { return e.online }

// Degraded reports whether most requests time out.
func (e *Endpoint) Degraded() bool { return e.degraded }

// Addr is our public address as others see it: not valid while unknown, with port 0 if the port differs
// from remote to remote.
func (e *Endpoint) Addr() netip.AddrPort { return e.nat.Addr() }

// Samples are what Addr was concluded from, the oldest first.
func (e *Endpoint) Samples() []nat.Sample { return e.nat.Samples() }

// Host is our public host, not valid while unknown.
func (e *Endpoint) Host() netip.Addr { return e.nat.Host() }

// Port is our public port, 0 while unknown or different from remote to remote.
func (e *Endpoint) Port() uint16 { return e.nat.Port() }

// RemoteAddr is where anybody can reach our server socket. It reports false if nobody can, or if the
// public port is not the bound one.
func (e *Endpoint) RemoteAddr() (netip.AddrPort, bool) {
	if e.firewalled || e.server == nil || !e.nat.Host().IsValid() {
		return netip.AddrPort{}, false
	}
	port := e.server.LocalAddr().Port()
	if port != e.nat.Port() {
		return netip.AddrPort{}, false
	}
	return e.nat.Addr(), true
}

// Nodes lists the known nodes, those heard from last first.
func (e *Endpoint) Nodes() []netip.AddrPort {
	list := make([]netip.AddrPort, 0, e.nodes.Len())
	for n := e.nodes.Latest(); n != nil; n = n.Older() {
		list = append(list, n.Addr())
	}
	return list
}

// Len is the number of known nodes.
func (e *Endpoint) Len() int { return e.nodes.Len() }

// Closest lists up to k known nodes near a target, in the order in which they are told to others.
func (e *Endpoint) Closest(target id.Target, k int) []netip.AddrPort {
	nodes := e.table.AppendClosest(make([]*kad.Node, 0, max(k, 0)), target, k)
	list := make([]netip.AddrPort, len(nodes))
	for i, n := range nodes {
		list[i] = n.Addr()
	}
	return list
}

// AddNode adds a node that is believed to exist.
func (e *Endpoint) AddNode(addr netip.AddrPort) {
	if !isUsable(addr) {
		return
	}
	if node := id.NodeIDOf(addr); !e.addNode(node, addr, netip.AddrPort{}) {
		e.bucketFull(node, addr, netip.AddrPort{})
	}
}

// isUsable reports whether addr can be the address of a node.
func isUsable(addr netip.AddrPort) bool { return addr.Addr().Is4() && addr.Port() != 0 }

// random draws a number in [0, n).
func (e *Endpoint) random(n int) int {
	var b [8]byte
	if _, err := io.ReadFull(e.h.Rand(), b[:]); err != nil {
		panic("rpc: no randomness: " + err.Error())
	}
	return int(binary.LittleEndian.Uint64(b[:]) % uint64(n))
}
