package hyperdht

import "time"

// Unbounded is the limit of sizes that only the application bounds.
const Unbounded = -1

// Sizes calls tell with the size of each collection that grows with the actions of peers, and with its limit: a
// constant, or the size of a collection that bounds it. It is for leak tests; names may change.
func (n *Node) Sizes(tell func(what string, held, most int)) {
	n.peers.sizes(tell)
	n.rpc.Sizes(tell)
	n.streams.Sizes(tell)
	n.store.Sizes(tell)
}

// Faults calls tell with each bug of this package that its states reveal: an object that has been in a state for longer
// than the limit of that state and slack, or a forbidden transition. It is for tests; the texts may change.
func (n *Node) Faults(slack time.Duration, tell func(what string)) {
	n.peers.faults(slack, tell)
	n.rpc.Faults(tell)
	n.streams.Faults(tell)
}

// sizes calls tell with the size and limit of each collection that grows with the actions of peers. The limit may be the size
// of another collection.
func (p *peering) sizes(tell func(what string, held, most int)) {
	sessions, messages := 0, 0
	for _, s := range p.servers.listening {
		for _, h := range s.incoming {
			if h != nil {
				sessions++
			}
		}
		messages += len(s.byMessage)
	}
	tell("connections", p.connections.len(), Unbounded)
	in := p.intake
	tell("callers", in.held.Len(), maxCallers)
	tell("callers that wait", in.waiting.Len(), maxWaitingCallers)
	tell("callers that are remembered", in.remembering, maxRemembered)
	tell("computations for callers", in.computing, maxComputing+maxCallers)
	tell("sessions of callers", sessions, in.held.Len()+in.waiting.Len()+in.remembering+in.computing)
	tell("paces of callers", in.paces(), 7*maxPaced)
	tell("first messages", messages, sessions)
	tell("states that are not final", len(p.account.live), 4*(p.connections.len()+sessions)+len(p.servers.listening))
	tell("servers", len(p.servers.byTarget), len(p.servers.listening))
	tell("random punches", p.punches.running, randomPunchLimit)
	tell("waiting random punches", p.punchQueue.size(), maxQueuedPunches)
	tell("sockets for punching", len(p.pool.sockets), Unbounded)
	tell("routes", len(p.routes), maxRoutes)
	paths := 0
	for _, l := range p.relayLinks {
		paths += len(l.paths)
	}
	tell("connections to relays", len(p.relayLinks), paths)
	tell("paths over relays", paths, p.connections.len()+sessions)
	tell("keys with stranding relays", len(p.hints.stranding.addrs), min(len(p.hints.stranding.order), relayCacheSize))
	tell("relays of keys", len(p.hints.known.addrs), min(len(p.hints.known.order), relayCacheSize))
	tell("own addresses being checked", len(p.local.waiting), len(p.host.Addrs()))
}

// Sizes is Node.Sizes for a relay.
func (r *RelayServer) Sizes(tell func(what string, held, most int)) {
	tell("relayed pairs", r.active.Len(), r.cfg.MaxPairs)
	tell("waiting pairs", r.waiting.Len(), r.cfg.MaxPairs)
	tell("tokens of pairs", len(r.pairs), r.active.Len()+r.waiting.Len())
	tell("keys with relayed pairs", len(r.perKey), 2*len(r.pairs))
	tell("clients of the relay", r.stats.Sessions, r.idle.Len()+2*len(r.pairs))
	tell("clients of the relay without a pair", r.idle.Len(), maxRelayIdle)
}
