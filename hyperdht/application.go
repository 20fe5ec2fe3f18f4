package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// application implements rpc.Application for a Node.
type application Node

// Attach implements [rpc.Application].
func (a *application) Attach(e *rpc.Endpoint, s host.Socket) {
	a.door.Messages = e
	a.door.Attach(s)
}

// OwnRequest implements [rpc.Application].
func (a *application) OwnRequest(command uint64, target id.Target) bool {
	return a.peers.ownRequest(command, target)
}

// Request answers the application's commands.
func (a *application) Request(r *rpc.Request) {
	switch r.Command {
	case wire.CmdPeerHandshake:
		a.peers.receiveHandshake(r)
		return
	case wire.CmdPeerHolepunch:
		a.peers.receiveHolepunch(r)
		return
	}
	self, persistent := a.rpc.ID()
	if !persistent {
		r.Unknown()
		return
	}
	(*Node)(a).serve(r, self)
}

// Event forwards events that concern the application, connections and servers.
func (a *application) Event(v rpc.Event) {
	n := (*Node)(a)
	switch v.Kind {
	case rpc.EventReady:
		n.ready = true
		call(n.cfg.OnReady)
	case rpc.EventPersistent:
		call(n.cfg.OnPersistent)
	case rpc.EventReachable:
		n.moved(MoveIntoReach)
	case rpc.EventUnreachable:
		n.addr = netip.AddrPort{}
		n.moved(MoveElsewhere)
	case rpc.EventElsewhere:
		n.moved(MoveElsewhere)
	case rpc.EventInterfaces, rpc.EventAwake:
		n.peers.networkChanged()
		n.moved(MoveElsewhere)
	case rpc.EventJoined:
		n.peers.networkChanged()
	case rpc.EventNetwork:
		n.networkJudged(v.Online)
	case rpc.EventReach:
		if !n.life.ending() {
			n.onReach.run(v.Online)
		}
	case rpc.EventAddress:
		n.seenAt(v.Addr)
		if n.cfg.OnAddress != nil {
			n.cfg.OnAddress(v.Addr)
		}
	}
}

// networkJudged is called when the judgement of the network, or the network itself, has changed.
func (n *Node) networkJudged(online bool) {
	if online {
		n.peers.online()
	}
	if online && n.offline {
		n.moved(MoveElsewhere) // not when a network that was degraded answers well again: peers were reached all the time
	}
	n.offline = !online
	if n.cfg.OnNetwork != nil {
		n.cfg.OnNetwork(online)
	}
}
