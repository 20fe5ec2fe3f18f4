package rpc

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on DHT requests and lookups.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "rpc.maxCalls", What: "requests that wait for an answer or for room",
			Scope: bound.InAll, Limit: bound.Count(maxCalls), Policy: bound.AnswerFail,
			Reason: "request ids have 16 bits; beyond a fraction of them answers would be mixed up",
		},
		{
			Name: "rpc.maxDelayedPings", What: "answers that wait for the delay that their request asked for",
			Scope: bound.InAll, Limit: bound.Count(maxDelayedPings), Policy: bound.DropNew,
			Reason:  "each costs a timer",
			Counter: "dhtprom_dht_dropped_datagrams_total",
		},
		{
			Name: "rpc.maxPingDelay", What: "delay that a request may ask for",
			Scope: bound.PerPacket, Limit: bound.Time(maxPingDelay), Policy: bound.Ignore,
			Reason: "as in the JavaScript",
		},
		{
			Name: "rpc.maxCandidates", What: "nodes that a lookup remembers",
			Scope: bound.PerAttempt, Limit: bound.Count(maxCandidates), Policy: bound.Ignore,
			Reason: "an honest lookup meets a few hundred",
		},
		{
			Name: "rpc.maxCloser", What: "closer nodes of one answer that are looked at",
			Scope: bound.PerPacket, Limit: bound.Count(maxCloser), Policy: bound.Ignore,
			Reason: "honest nodes send a bucket at most",
		},
		{
			Name: "rpc.maxReferrers", What: "nodes that are notified that a node is down",
			Scope: bound.PerAttempt, Limit: bound.Count(maxReferrers), Policy: bound.Ignore,
			Reason: "the first nodes that named it",
		},
		{
			Name: "rpc.maxChecks", What: "nodes checked at a time because another node reports them down",
			Scope: bound.InAll, Limit: bound.Count(maxChecks), Policy: bound.DropNew,
			Reason: "as in the JavaScript",
		},
		{
			Name: "rpc.maxSwaps", What: "full buckets that ping their oldest node at a time",
			Scope: bound.InAll, Limit: bound.Count(maxSwaps), Policy: bound.DropNew,
			Reason: "as in the JavaScript",
		},
		{
			Name: "rpc.maxResponders", What: "address probe responders that are distinguished",
			Scope: bound.PerAttempt, Limit: bound.Count(maxResponders), Policy: bound.Ignore,
			Reason: "a probe asks a handful",
		},
		{
			Name: "rpc.requestPace", What: "DHT requests that are answered, each with one datagram, and as many for servers of this node",
			Scope: bound.PerSender, Limit: requestPace.Limit(), Policy: bound.DropNew,
			Reason:  "500 kB per second for a victim whose address is forged; thousands of clients behind one address ask a node ten thousand in some minutes",
			Counter: "dhtprom_dht_dropped_datagrams_total",
		},
		{
			Name: "rpc.maxPacedHosts", What: "hosts whose requests are counted",
			Scope: bound.InAll, Limit: bound.Count(maxPacedHosts), Policy: bound.DropOldest,
			Reason: "none while all together keep to the pace of one",
		},
		{
			Name: "rpc.maxProbeHosts", What: "hosts noted while the firewall is probed",
			Scope: bound.PerAttempt, Limit: bound.Count(maxProbeHosts), Policy: bound.Ignore,
			Reason: "the nodes asked are far fewer",
		},
		{
			Name: "rpc.maxFormer", What: "nodes remembered after they have stopped answering",
			Scope: bound.InAll, Limit: bound.Count(maxFormer), Policy: bound.DropOldest,
			Reason: "more than the largest private DHT that depends on them",
		},
		{
			Name: "rpc.maxSelf", What: "addresses of this node that it was given as those of others",
			Scope: bound.InAll, Limit: bound.Count(maxSelf), Policy: bound.Ignore,
			Reason: "a bootstrap list has a handful",
		},
	}
}
