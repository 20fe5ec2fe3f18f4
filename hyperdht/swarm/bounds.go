package swarm

import "github.com/dhtprom/dhtprom/ports/bound"

// Bounds lists the limits on what the peers of a swarm may cost.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "swarm.defaultMaxPeers", What: "connections of a swarm at which peers found under topics are no longer dialled (default)",
			Scope: bound.InAll, Limit: bound.Count(defaultMaxPeers), Policy: bound.Wait,
			Reason: "hyperswarm's number; the program may set another one",
		},
		{
			Name: "swarm.defaultMaxParallel", What: "dials of a swarm at a time (default)",
			Scope: bound.InAll, Limit: bound.Count(defaultMaxParallel), Policy: bound.Wait,
			Reason: "hyperswarm's number; found keys need not exist, and each takes a lookup",
		},
		{
			Name: "swarm.defaultMaxIncoming", What: "connections of a swarm from the dials of others (default)",
			Scope: bound.InAll, Limit: bound.Count(defaultMaxIncoming), Policy: bound.DropNew,
			Reason: "four times as many as a peer dials; hyperswarm has no limit",
		},
		{
			Name: "swarm.maxTopics", What: "topics of a swarm",
			Scope: bound.InAll, Limit: bound.Count(maxTopics), Policy: bound.RefuseNew,
			Reason: "each is looked up and announced every ten minutes",
		},
		{
			Name: "swarm.maxKnown", What: "peers of a swarm that are remembered because of a lookup",
			Scope: bound.InAll, Limit: bound.Count(maxKnown), Policy: bound.Ignore,
			Reason: "half a kilobyte each; DHT nodes can invent them",
		},
		{
			Name: "swarm.maxFound", What: "keys taken from a lookup of a topic",
			Scope: bound.PerAttempt, Limit: bound.Count(maxFound), Policy: bound.Ignore,
			Reason: "twenty nodes are nearest to a topic, and each answers with up to twenty records",
		},
		{
			Name: "swarm.maxRelayAddrs", What: "addresses taken from the record of a peer",
			Scope: bound.PerPacket, Limit: bound.Count(maxRelayAddrs), Policy: bound.Ignore,
			Reason: "a server announces itself through three nodes",
		},
		{
			Name: "swarm.dialLimit", What: "dial of a swarm to a peer",
			Scope: bound.PerAttempt, Limit: bound.Time(dialLimit), Policy: bound.EndAttempt,
			Reason: "a punch that guesses ports takes a minute, and may wait two for its turn",
		},
		{
			Name: "swarm.maxAttempts", What: "attempts in a row to connect to a peer, until it is found again",
			Scope: bound.PerKey, Limit: bound.Count(maxAttempts + 1), Policy: bound.EndAttempt,
			Reason: "hyperswarm's number; peers that JoinPeer has named are dialled each ten minutes",
		},
	}
}
