package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/ports/host"
)

// VerifyAddr tests whether datagrams to an address arrive at the server socket: it asks nodes to answer to the address's port, and
// calls done, in a later turn, with whether the answer of one has arrived, from a node that sees us at the address's host. While the
// node is not firewalled the test proves nothing, since the server socket has sent to the nodes before.
func (e *Endpoint) VerifyAddr(addr netip.AddrPort, done func(reached bool)) {
	v := &verification{e: e, addr: addr, probe: new(probe), done: done}
	v.pings = host.NewJoin(v.end)
	begun := v.pings.Add()
	e.standing.probes = append(e.standing.probes, v.probe)
	for n, asked := e.nodes.list.Latest(), 0; n != nil && asked < probeNodes && e.running(); n, asked = n.Older(), asked+1 {
		v.ask(n.Addr())
	}
	e.h.Defer(begun)
}

// verification is a test of an address.
type verification struct {
	e       *Endpoint
	addr    netip.AddrPort
	probe   *probe
	pings   *host.Join
	done    func(reached bool)
	reached bool
	over    bool
}

func (v *verification) ask(node netip.AddrPort) {
	ended := v.pings.Add()
	v.e.pingNAT(node, v.addr.Port(), func(r Reply, err error) {
		if err == nil && r.To == v.addr && slices.Contains(v.probe.hosts, r.From.Addr()) {
			v.reached = true
			v.end()
		}
		ended()
	})
}

func (v *verification) end() {
	if v.over {
		return
	}
	v.over = true
	s := &v.e.standing
	s.probes = slices.DeleteFunc(s.probes, func(p *probe) bool { return p == v.probe })
	v.done(v.reached)
}
