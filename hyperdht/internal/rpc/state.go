package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
)

// updateState finds out whether the node is reachable and may become persistent, and makes it so
// (dht-rpc index.js, _updateNetworkState). With onlyFirewall it stops short of persistence. It calls done,
// not before it returns unless nothing is to be found out, with whether anything has come of it.
func (e *Endpoint) updateState(onlyFirewall bool, done func(changed bool)) {
	if e.closed || !e.ephemeral || onlyFirewall && !e.firewalled {
		done(false)
		return
	}
	addr := e.nat.Addr()
	if !onlyFirewall {
		e.stableTicks = moreStableTicks
		if e.forcePersistent {
			e.stableTicks = stableTicks // wants it more
		}
		e.checkedHost = addr.Addr()
	}
	if !addr.Addr().IsValid() || addr.Port() == 0 {
		done(false)
		return
	}
	if !e.firewalled {
		done(e.becomeReachable(onlyFirewall, addr, e.nat))
		return
	}
	e.probeFirewall(func(sampler *nat.Sampler, reachable bool) {
		done(reachable && !e.closed && !e.suspended && e.becomeReachable(onlyFirewall, addr, sampler))
	})
}

// becomeReachable takes the consequences of a successful probe. Addr is what the main socket's samples
// said before it, sampler what the probe found.
func (e *Endpoint) becomeReachable(onlyFirewall bool, addr netip.AddrPort, sampler *nat.Sampler) bool {
	if e.firewalled {
		e.firewalled = false
		e.h.Trace(Event{Kind: EventReachable})
		if e.cfg.OnReachable != nil {
			e.cfg.OnReachable()
		}
	}
	// Something else may have changed while the probe ran.
	if !e.ephemeral || addr != e.nat.Addr() {
		return false
	}
	if sampler.Host() != addr.Addr() || sampler.Port() == 0 {
		return false
	}
	if !onlyFirewall {
		e.ephemeral = false
	}
	if sampler != e.nat {
		e.resample(sampler)
	}
	e.renumber(id.NodeIDOf(sampler.Addr()))
	if !e.ephemeral {
		e.h.Trace(Event{Kind: EventPersistent, ID: e.table.Self()})
		if e.cfg.OnPersistent != nil {
			e.cfg.OnPersistent()
		}
	}
	return true
}

// renumber arranges the table around another id.
func (e *Endpoint) renumber(self id.NodeID) {
	if e.table.Self() == self {
		return
	}
	old := e.table.All()
	e.table = kad.NewTable(self, kad.K)
	for _, n := range old {
		if n.ID == self || !e.table.Add(n) {
			e.nodes.Remove(n)
		}
	}
	if e.bootstrapped {
		e.refresh()
	}
}

// probe notes which hosts reach the server socket while it runs.
type probe struct {
	hosts []netip.Addr
}

const maxProbeHosts = 256 // our choice: the nodes asked are far fewer, the rest is somebody else's traffic

func (p *probe) heard(from netip.Addr) {
	if len(p.hosts) < maxProbeHosts && !slices.Contains(p.hosts, from) {
		p.hosts = append(p.hosts, from)
	}
}

// probeFirewall asks nodes to answer to our server socket (dht-rpc index.js, _checkIfFirewalled). It
// calls done with where they saw us and whether the socket is reachable: enough of them reached it, and
// our address is the same on both sockets, with the port that is bound.
func (e *Endpoint) probeFirewall(done func(sampler *nat.Sampler, reachable bool)) {
	var nodes []netip.AddrPort
	for n := e.nodes.Latest(); n != nil && len(nodes) < probeNodes; n = n.Older() {
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
	if len(nodes) == 0 || e.closed || e.suspended {
		done(sampler, false)
		return
	}
	p := new(probe)
	e.probes = append(e.probes, p)
	var replies []Reply
	missing := len(nodes)
	for _, node := range nodes {
		e.pingNAT(node, func(r Reply, err error) {
			if err == nil {
				replies = append(replies, r)
			}
			if missing--; missing == 0 {
				e.probes = slices.DeleteFunc(e.probes, func(q *probe) bool { return q == p })
				done(sampler, e.reached(p, replies, len(nodes), sampler))
			}
		})
	}
}

func (e *Endpoint) reached(p *probe, replies []Reply, asked int, sampler *nat.Sampler) bool {
	if e.server == nil {
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
	// A NAT that maps the server port to another one is not good enough: nobody would know it.
	return sampler.Host().IsValid() && sampler.Host() == e.nat.Host() &&
		sampler.Port() == e.server.LocalAddr().Port()
}
