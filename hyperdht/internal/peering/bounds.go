package peering

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on callers, connections and punches.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "peering.maxSessions", What: "handshakes that have not become a connection",
			Scope: bound.InAll, Limit: bound.Count(maxSessions), Policy: bound.RefuseNew,
			Reason:  "each costs a few Diffie-Hellman operations and up to one socket",
			Counter: "dhtprom_handshakes_refused_total",
		},
		{
			Name: "peering.maxRemembered", What: "rejected callers whose retransmissions are recognised",
			Scope: bound.InAll, Limit: bound.Count(maxRemembered), Policy: bound.Forget,
			Reason: "10 s of rejected handshakes; a forgotten one costs its Diffie-Hellman operations again",
		},
		{
			Name: "peering.maxRelayedAnswers", What: "routes on which one handshake waits for its answer",
			Scope: bound.PerAttempt, Limit: bound.Count(maxRelayedAnswers), Policy: bound.DropNew,
			Reason: "callers use three",
		},
		{
			Name: "peering.maxCandidates", What: "relays of a server that wait to be tried",
			Scope: bound.PerAttempt, Limit: bound.Count(maxCandidates), Policy: bound.Ignore,
			Reason: "a lookup of an honest network finds twenty",
		},
		{
			Name: "peering.maxAddrs", What: "addresses of a peer that are looked at",
			Scope: bound.PerPacket, Limit: bound.Count(maxAddrs), Policy: bound.Ignore,
			Reason: "honest peers send a handful",
		},
		{
			Name: "peering.maxPendingSends", What: "messages queued before there is a path",
			Scope: bound.PerConnection, Limit: bound.Count(maxPendingSends), Policy: bound.End,
			Reason: "our own application fills it, not the peer",
		},
		{
			Name: "peering.maxRoutes", What: "paths kept for dialling again",
			Scope: bound.InAll, Limit: bound.Count(maxRoutes), Policy: bound.Forget,
			Reason: "a path costs 100 bytes; without it the next dial punches again",
		},
		{
			Name: "peering.relayCacheSize", What: "keys whose relays are remembered",
			Scope: bound.InAll, Limit: bound.Count(relayCacheSize), Policy: bound.DropOldest,
			Reason: "as in the JavaScript",
		},
		{
			Name: "peering.randomPunchLimit", What: "punches that guess ports",
			Scope: bound.InAll, Limit: bound.Count(randomPunchLimit), Policy: bound.RefuseNew,
			Reason:  "each sends 1,750 datagrams and may open 256 sockets; as in the JavaScript",
			Counter: "dhtprom_holepunch_later_total",
		},
		{
			Name: "peering.defaultRelayPairs", What: "pairs of a relay, waiting ones included",
			Scope: bound.InAll, Limit: bound.Count(defaultRelayPairs), Policy: bound.RefuseNew,
			Reason: "two streams and the traffic of two peers each; --relay.max-pairs",
		},
		{
			Name: "peering.defaultRelayPairsPerKey", What: "pairs of a relay, waiting ones included",
			Scope: bound.PerKey, Limit: bound.Count(defaultRelayPairsPerKey), Policy: bound.RefuseNew,
			Reason: "no client needs more; --relay.max-pairs-per-key",
		},
		{
			Name: "peering.maxScratch", What: "frame buffer kept between messages",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxScratch), Policy: bound.Forget,
			Reason: "one large message must not hold memory for the life of a connection",
		},
	}
}
