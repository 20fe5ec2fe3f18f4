package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/ports/host"
)

// standing owns the role of a node in the network: whether it is persistent, whether its server socket is reachable,
// and the time of the next attempt to be both.
type standing struct {
	role             role
	access           access
	declared         bool // reachable at the known address, and for no other reason
	adaptive, forced bool // of Mode: may become persistent, is to be
	probes           []*probe
	stableTicks      int        // until the next try
	checkedHost      netip.Addr // our public host at the last one
}

// reachedBy notes a host whose datagram has arrived at the server socket.
func (s *standing) reachedBy(from netip.Addr) {
	for _, p := range s.probes {
		p.heard(from)
	}
}

// due counts a tick, and reports whether an attempt is due; host is our public host.
//
// The reference implementation leaves a node that was to be persistent and failed at the start as it is for good.
func (s *standing) due(host netip.Addr) bool {
	if !s.adaptive && !s.forced || s.role == persistent {
		return false
	}
	if s.stableTicks--; s.stableTicks > 0 {
		return false
	}
	if s.checkedHost == host {
		s.stableTicks = moreStableTicks // the same network as last time
		return false
	}
	return true
}

// tried records an attempt.
func (s *standing) tried(host netip.Addr) {
	s.stableTicks = moreStableTicks
	if s.forced {
		s.stableTicks = stableTicks // wants it more
	}
	s.checkedHost = host
}

// unsettle postpones the next attempt because the network may have changed.
func (s *standing) unsettle() { s.stableTicks, s.checkedHost = moreStableTicks, netip.Addr{} }

// readdress makes the next attempt count although the network may be the same: the last one was with another address.
func (s *standing) readdress() { s.checkedHost = netip.Addr{} }

// retry makes a node that is to be persistent try with the next tick.
func (s *standing) retry() {
	if s.forced && s.role == ephemeral {
		s.stableTicks, s.checkedHost = 0, netip.Addr{}
	}
}

func (e *Endpoint) becomeRole(next role) { roleTable.Become(&e.standing.role, next, &e.faults) }

func (e *Endpoint) becomeEphemeral() {
	e.becomeRole(ephemeral)
	e.tell(Event{Kind: EventEphemeral})
}

// goal is the state that a node may change to if it proves reachable.
type goal bool

const (
	reachability goal = false // not firewalled, but ephemeral (the reference implementation's onlyFirewall)
	persistence  goal = true
)

// updateState tests whether the node is reachable and may become persistent, and changes its state accordingly
// (dht-rpc index.js, _updateNetworkState). It calls done, before it returns only if there is nothing to test, with
// whether the state has changed.
func (e *Endpoint) updateState(g goal, done func(changed bool)) {
	if e.Closed() || !e.Ephemeral() || g == reachability && !e.Firewalled() {
		done(false)
		return
	}
	addr := e.address.sampler.Addr()
	if g == persistence {
		e.standing.tried(addr.Addr())
	}
	if !addr.Addr().IsValid() || addr.Port() == 0 || addr != e.Addr() {
		done(false)
		return
	}
	if !e.Firewalled() {
		done(e.becomeReachable(g, addr, e.address.sampler))
		return
	}
	e.probeFirewall(func(sampler *nat.Sampler, reached bool) {
		done(reached && e.running() && e.becomeReachable(g, addr, sampler))
	})
}

// becomeReachable takes the consequences of a successful probe. Addr is what the main socket's samples
// said before it, sampler what the probe found.
func (e *Endpoint) becomeReachable(g goal, addr netip.AddrPort, sampler *nat.Sampler) bool {
	if e.Firewalled() {
		accessTable.Become(&e.standing.access, reachable, &e.faults)
		e.tell(Event{Kind: EventReachable})
	}
	// Something else may have changed while the probe ran.
	if !e.Ephemeral() || addr != e.address.sampler.Addr() {
		return false
	}
	if sampler.Host() != addr.Addr() || sampler.Port() == 0 {
		return false
	}
	if g == persistence {
		e.becomeRole(persistent)
	}
	if sampler != e.address.sampler {
		e.resample(sampler)
	}
	e.renumber(id.NodeIDOf(sampler.Addr()))
	if !e.Ephemeral() {
		e.tell(Event{Kind: EventPersistent, ID: e.TableID()})
	}
	return true
}

// renumber arranges the table around another id.
func (e *Endpoint) renumber(self id.NodeID) {
	if e.nodes.renumber(self) && e.bootstrapped {
		e.refresh()
	}
}

// probe notes which hosts reach the server socket while it runs.
type probe struct {
	hosts []netip.Addr
}

const maxProbeHosts = 256 // our choice: the nodes asked are far fewer, the rest is unrelated traffic

func (p *probe) heard(from netip.Addr) {
	if len(p.hosts) < maxProbeHosts && !slices.Contains(p.hosts, from) {
		p.hosts = append(p.hosts, from)
	}
}

// probeFirewall asks nodes to answer to our server socket (dht-rpc index.js, _checkIfFirewalled). It
// calls done with where they saw us and whether the socket is reachable: enough of them reached it, and
// our address is the same on both sockets, with the port that is bound.
func (e *Endpoint) probeFirewall(done func(sampler *nat.Sampler, reached bool)) {
	var nodes []netip.AddrPort
	for n := e.nodes.list.Latest(); n != nil && len(nodes) < probeNodes; n = n.Older() {
		nodes = append(nodes, n.Addr())
	}
	ask := func() { e.probeBy(nodes, done) }
	if len(nodes) >= probeNodes {
		ask()
		return
	}
	e.resolve(nil, func(addr netip.AddrPort) { nodes = append(nodes, addr) }, ask)
}

func (e *Endpoint) probeBy(nodes []netip.AddrPort, done func(*nat.Sampler, bool)) {
	sampler := new(nat.Sampler)
	if len(nodes) == 0 || !e.running() {
		done(sampler, false)
		return
	}
	p := new(probe)
	e.standing.probes = append(e.standing.probes, p)
	var replies []Reply
	pings := host.NewJoin(func() {
		e.standing.probes = slices.DeleteFunc(e.standing.probes, func(q *probe) bool { return q == p })
		done(sampler, e.reached(p, replies, len(nodes), sampler))
	})
	for _, node := range nodes {
		ended := pings.Add()
		e.pingNAT(node, e.serverPort(), func(r Reply, err error) {
			if err == nil {
				replies = append(replies, r)
			}
			ended()
		})
	}
}

// serverPort is the port of the server socket, 0 without one.
func (e *Endpoint) serverPort() uint16 {
	if !e.sockets.isOpen() {
		return 0
	}
	return e.sockets.server.LocalAddr().Port()
}

func (e *Endpoint) reached(p *probe, replies []Reply, asked int, sampler *nat.Sampler) bool {
	if !e.sockets.isOpen() {
		return false
	}
	count := 0
	for _, r := range replies {
		if slices.Contains(p.hosts, r.From.Addr()) {
			count++
			sampler.Add(r.To, r.From)
		}
	}
	need := probeReplies
	if asked < probeNodes {
		need = 1
	}
	if count < need {
		return false
	}
	// A NAT that maps the server port to another one does not suffice: no peer would know that port.
	return sampler.Host().IsValid() && sampler.Host() == e.address.sampler.Host() &&
		sampler.Port() == e.sockets.server.LocalAddr().Port()
}
