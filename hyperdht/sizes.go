package hyperdht

import "time"

// Unbounded is the most of what only the application bounds.
const Unbounded = -1

// Sizes tells how much the node holds in everything that grows with what others do, and how much of it there may be at
// most: a named limit, or the size of what bounds it. It is for those who look for leaks; names may change.
func (n *Node) Sizes(tell func(what string, held, most int)) {
	n.peers.sizes(tell)
	n.rpc.Sizes(tell)
	n.streams.Sizes(tell)
	n.store.Sizes(tell)
}

// Faults calls tell with each mistake of this package that shows in its states: an object that has been in a state for longer
// than the limit of that state and slack, or a transition that it must not make. It is for tests; the texts may change.
func (n *Node) Faults(slack time.Duration, tell func(what string)) {
	n.peers.faults(slack, tell)
	n.rpc.Faults(tell)
}

// sizes tells how much is held in everything that grows with what peers do, and how much that may be at most. What is
// bounded by something else that is held here is told with the size of that.
func (p *peering) sizes(tell func(what string, held, most int)) {
	sessions, messages := 0, 0
	for _, s := range p.servers.listening {
		for _, h := range s.sessions {
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
	tell("sessions of callers", sessions, in.held.Len()+in.waiting.Len()+in.remembering)
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
