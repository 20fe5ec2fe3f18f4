package hyperdht

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/records"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on what peers may cost a node. Packages mux and muxrpc list the limits of channels and calls.
func Bounds() []bound.Bound {
	return slices.Concat(peeringBounds(), secret.Bounds(), udx.Bounds(), stream.Bounds(), nat.Bounds(), rpc.Bounds(), records.Bounds())
}

// peeringBounds lists the limits on callers, connections and punches.
func peeringBounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "hyperdht.handshakePace", What: "handshakes that are read and answered",
			Scope: bound.InAll, Limit: handshakePace.Limit(), Policy: bound.Wait,
			Reason:  "about a millisecond each; a restart with thousands of clients passes in seconds",
			Counter: "dhtprom_handshakes_read_total",
		},
		{
			Name: "hyperdht.maxWaitingCallers", What: "handshakes that wait for that, turn by turn between networks, addresses and the relays that name them",
			Scope: bound.InAll, Limit: bound.Count(maxWaitingCallers), Policy: bound.DropNewest,
			Reason:  "a second of them; callers send again each second",
			Counter: "dhtprom_handshakes_refused_total{reason=\"queue\"}",
		},
		{
			Name: "hyperdht.maxWaitingPerRelay", What: "of them, through one of the nodes that we announced to",
			Scope: bound.PerSender, Limit: bound.Count(maxWaitingPerRelay), Policy: bound.DropNewest,
			Reason:  "such a node can invent callers; honest ones come through others, too",
			Counter: "dhtprom_handshakes_refused_total{reason=\"queue\"}",
		},
		{
			Name: "hyperdht.callerPatience", What: "time that one waits",
			Scope: bound.PerAttempt, Limit: bound.Time(callerPatience), Policy: bound.DropNew,
			Reason:  "callers give up after four seconds",
			Counter: "dhtprom_handshakes_refused_total{reason=\"queue\"}",
		},
		{
			Name: "hyperdht.maxComputing", What: "messages of handshakes that are read and written off the loop, before a further one is read",
			Scope: bound.InAll, Limit: bound.Count(maxComputing), Policy: bound.Wait,
			Reason:  "work for all processors until the next turn; others wait where they are dropped by address and relay",
			Counter: "dhtprom_handshakes_read_total",
		},
		{
			Name: "hyperdht.AdmissionPatience", What: "time that a caller waits for the decision of an application that decides later",
			Scope: bound.PerAttempt, Limit: bound.Time(AdmissionPatience), Policy: bound.DropNew,
			Reason: "callers give up after four seconds",
		},
		{
			Name: "hyperdht.socketPace", What: "handshakes of a caller that is seen at its address, by us or by a node that we announced to; those whose connection opens do not count",
			Scope: bound.PerSocket, Limit: socketPace.Limit(), Policy: bound.DropNew,
			Reason:  "a process may have hundreds of clients on one socket",
			Counter: "dhtprom_handshakes_refused_total{reason=\"socket\"}",
		},
		{
			Name: "hyperdht.hostPace", What: "likewise",
			Scope: bound.PerAddress, Limit: hostPace.Limit(), Policy: bound.DropNew,
			Reason:  "an office or a carrier has thousands of clients behind one address",
			Counter: "dhtprom_handshakes_refused_total{reason=\"address\"}",
		},
		{
			Name: "hyperdht.networkPace", What: "likewise",
			Scope: bound.PerNetwork, Limit: networkPace.Limit(), Policy: bound.DropNew,
			Reason:  "twice an address",
			Counter: "dhtprom_handshakes_refused_total{reason=\"network\"}",
		},
		{
			Name: "hyperdht.relayedSocketPace", What: "likewise, beyond that, through one of the nodes that we announced to",
			Scope: bound.PerSocket, Limit: relayedSocketPace.Limit(), Policy: bound.DropNew,
			Reason:  "half; any of these nodes can name a caller without a reason, which must not keep it from coming through the others",
			Counter: "dhtprom_handshakes_refused_total{reason=\"socket\"}",
		},
		{
			Name: "hyperdht.relayedHostPace", What: "likewise",
			Scope: bound.PerAddress, Limit: relayedHostPace.Limit(), Policy: bound.DropNew,
			Reason:  "half",
			Counter: "dhtprom_handshakes_refused_total{reason=\"address\"}",
		},
		{
			Name: "hyperdht.relayedNetworkPace", What: "likewise",
			Scope: bound.PerNetwork, Limit: relayedNetworkPace.Limit(), Policy: bound.DropNew,
			Reason:  "half",
			Counter: "dhtprom_handshakes_refused_total{reason=\"network\"}",
		},
		{
			Name: "hyperdht.senderPace", What: "handshakes for callers that the sender may have invented",
			Scope: bound.PerSender, Limit: senderPace.Limit(), Policy: bound.DropNew,
			Reason:  "relays of an earlier run lead to us for seconds",
			Counter: "dhtprom_handshakes_refused_total{reason=\"sender\"}",
		},
		{
			Name: "hyperdht.unknownPace", What: "likewise",
			Scope: bound.InAll, Limit: unknownPace.Limit(), Policy: bound.DropNew,
			Reason:  "a few per cent of a core",
			Counter: "dhtprom_handshakes_refused_total{reason=\"relays\"}",
		},
		{
			Name: "hyperdht.maxPaced", What: "sockets, addresses, networks and senders whose pace is remembered, of each",
			Scope: bound.InAll, Limit: bound.Count(maxPaced), Policy: bound.DropOldest,
			Reason: "200 bytes each; one that is forgotten may burst again, below the limit in all",
		},
		{
			Name: "hyperdht.maxCallers", What: "callers without an open connection, shared between the relays they come through, networks, addresses and keys",
			Scope: bound.InAll, Limit: bound.Count(maxCallers), Policy: bound.DropFullest,
			Reason:  "each costs up to one socket and a few kilobytes",
			Counter: "dhtprom_handshakes_refused_total{reason=\"share\"}",
		},
		{
			Name: "hyperdht.keptKnown", What: "of them, kept for keys that have an alias or have shown a secret",
			Scope: bound.InAll, Limit: bound.Count(keptKnown), Policy: bound.DropFullest,
			Reason: "half a second of all clients that come back at once after a restart; they answer within a round trip",
		},
		{
			Name: "hyperdht.keptBoth", What: "of them, kept for such keys that have answered under the keys of the handshake",
			Scope: bound.InAll, Limit: bound.Count(keptBoth), Policy: bound.DropFullest,
			Reason: "what all clients need that come back at once after a restart; recorded handshakes do not count here",
		},
		{
			Name: "hyperdht.keptAnswered", What: "of them, kept for callers that have answered under the keys of the handshake",
			Scope: bound.InAll, Limit: bound.Count(keptAnswered), Policy: bound.DropFullest,
			Reason: "punching against a NAT with random ports takes 4 to 7 s; a flood that never follows up cannot shorten it",
		},
		{
			Name: "hyperdht.keptSeen", What: "of them, kept for callers that were seen at their address",
			Scope: bound.InAll, Limit: bound.Count(keptSeen), Policy: bound.DropFullest,
			Reason: "they answer within a round trip",
		},
		{
			Name: "hyperdht.keptNamed", What: "of them, kept for callers that the sender may have invented",
			Scope: bound.InAll, Limit: bound.Count(keptNamed), Policy: bound.DropFullest,
			Reason: "they answer within a round trip",
		},
		{
			Name: "hyperdht.maxEager", What: "callers that have not answered for which our NAT is classified, and a relay joined that they name and that is not in use",
			Scope: bound.InAll, Limit: bound.Count(maxEager), Policy: bound.Wait,
			Reason: "each costs five DHT requests and a dial; further ones wait for the answer, a round trip; one that may take nothing but a relay gives up then",
		},
		{
			Name: "hyperdht.maxEagerPerKey", What: "of them, whatever the limit in all, under a key that has an alias or has shown a secret",
			Scope: bound.PerKey, Limit: bound.Count(maxEagerPerKey), Policy: bound.Wait,
			Reason: "a client dials once at a time; recorded handshakes can be sent again",
		},
		{
			Name: "hyperdht.maxCallersPerKey", What: "callers of a server without an open connection, under a key that has an alias or has shown a secret",
			Scope: bound.PerKey, Limit: bound.Count(maxCallersPerKey), Policy: bound.DropOldest,
			Reason:  "a client dials a server once at a time; recorded handshakes can be sent again",
			Counter: "dhtprom_handshakes_refused_total{reason=\"share\"}",
		},
		{
			Name: "hyperdht.maxCallersOfKey", What: "callers of all servers of a node without an open connection, under such a key",
			Scope: bound.PerKey, Limit: bound.Count(maxCallersOfKey), Policy: bound.DropFullest,
			Reason:  "a scraper dials all clients of a node at once, and so does each member of its group; half of the room that is kept for such keys",
			Counter: "dhtprom_handshakes_refused_total{reason=\"share\"}",
		},
		{
			Name: "hyperdht.maxRead", What: "handshakes of such keys that are recognised when they come again, and count as a stranger's then",
			Scope: bound.InAll, Limit: bound.Count(maxRead), Policy: bound.DropOldest,
			Reason: "150 bytes each; three of each of 5,000 clients, which dial once in hours",
		},
		{
			Name: "hyperdht.openTimeout", What: "time from a path to the first packet under the keys of the handshake",
			Scope: bound.PerConnection, Limit: bound.Time(openTimeout), Policy: bound.End,
			Reason: "a healthy peer's first packet, retransmissions included, arrives well within this",
		},
		{
			Name: "hyperdht.maxRemembered", What: "settled callers whose retransmissions are recognised",
			Scope: bound.InAll, Limit: bound.Count(maxRemembered), Policy: bound.DropOldest,
			Reason: "ten seconds of handshakes; one of a forgotten caller costs its Diffie-Hellman operations again",
		},
		{
			Name: "hyperdht.maxRelayedAnswers", What: "routes on which one handshake waits for its answer",
			Scope: bound.PerAttempt, Limit: bound.Count(maxRelayedAnswers), Policy: bound.DropNew,
			Reason: "callers use three",
		},
		{
			Name: "hyperdht.maxCandidates", What: "relays of a server that wait to be tried",
			Scope: bound.PerAttempt, Limit: bound.Count(maxCandidates), Policy: bound.Ignore,
			Reason: "a lookup of an honest network finds twenty",
		},
		{
			Name: "hyperdht.maxKnownAddrs", What: "known addresses of a server that are dialled",
			Scope: bound.PerAttempt, Limit: bound.Count(maxKnownAddrs), Policy: bound.Ignore,
			Reason: "two addresses, whose names have one or two each",
		},
		{
			Name: "hyperdht.maxAddrs", What: "addresses of a peer that are looked at",
			Scope: bound.PerPacket, Limit: bound.Count(maxAddrs), Policy: bound.Ignore,
			Reason: "honest peers send a handful",
		},
		{
			Name: "hyperdht.maxLANTries", What: "private addresses of a server that are pinged",
			Scope: bound.PerAttempt, Limit: bound.Count(maxLANTries), Policy: bound.Ignore,
			Reason: "its interfaces, less the bridges of its containers",
		},
		{
			Name: "hyperdht.maxDirectWays", What: "direct ways that a dial tries at the same time",
			Scope: bound.PerAttempt, Limit: bound.Count(maxDirectWays), Policy: bound.Ignore,
			Reason: "a few addresses of a network and a few ports of a random NAT; probes can be forged from any port",
		},
		{
			Name: "hyperdht.maxStrangeWays", What: "hosts that a punching server has not named and that send probes",
			Scope: bound.PerAttempt, Limit: bound.Count(maxStrangeWays), Policy: bound.Ignore,
			Reason: "it may have moved; any host can send a byte, and gets the first packets of a stream that only the server can read",
		},
		{
			Name: "hyperdht.maxPendingSends", What: "messages queued before there is a path",
			Scope: bound.PerConnection, Limit: bound.Count(maxPendingSends), Policy: bound.End,
			Reason: "our own application fills it, not the peer",
		},
		{
			Name: "hyperdht.maxRoutes", What: "paths kept for dialling again",
			Scope: bound.InAll, Limit: bound.Count(maxRoutes), Policy: bound.Forget,
			Reason: "a path costs 100 bytes; without it the next dial punches again",
		},
		{
			Name: "hyperdht.findLimit", What: "time that a dial looks for a node that leads to the server",
			Scope: bound.PerAttempt, Limit: bound.Time(findLimit), Policy: bound.EndAttempt,
			Reason: "nodes that lie name one after the other that does not answer",
		},
		{
			Name: "hyperdht.wayLimit", What: "time that a dial looks for a way to a server that has answered",
			Scope: bound.PerAttempt, Limit: bound.Time(wayLimit), Policy: bound.EndAttempt,
			Reason: "guessing a port takes a minute; a server can ask for later tries without an end",
		},
		{
			Name: "hyperdht.searchLimit", What: "time that a direct path is looked for while a relay carries a connection",
			Scope: bound.PerConnection, Limit: bound.Time(searchLimit), Policy: bound.EndAttempt,
			Reason: "a node guesses ports for one peer at a time, and the others wait; the relay goes on",
		},
		{
			Name: "hyperdht.relayCacheSize", What: "keys whose relays are remembered",
			Scope: bound.InAll, Limit: bound.Count(relayCacheSize), Policy: bound.DropOldest,
			Reason: "as in the JavaScript",
		},
		{
			Name: "hyperdht.maxStranding", What: "nodes that led to a key and to no connection, which later dials of that key try last",
			Scope: bound.PerKey, Limit: bound.Count(maxStranding), Policy: bound.DropOldest,
			Reason: "candidates of two dials in an honest network; as many keys as there are whose relays are remembered",
		},
		{
			Name: "hyperdht.randomPunchLimit", What: "punches that guess ports",
			Scope: bound.InAll, Limit: bound.Count(randomPunchLimit), Policy: bound.RefuseNew,
			Reason:  "each sends 1,750 datagrams and may open 256 sockets; as in the JavaScript",
			Counter: "dhtprom_holepunch_later_total",
		},
		{
			Name: "hyperdht.maxQueuedPunches", What: "peers that wait for them in a queue",
			Scope: bound.InAll, Limit: bound.Count(maxQueuedPunches), Policy: bound.RefuseNew,
			Reason:  "100 bytes each; the last one waits for half an hour. A key has one place, and loses it 5 s after its retry time",
			Counter: "dhtprom_holepunch_later_total",
		},
		{
			Name: "hyperdht.maxQueuedUnknown", What: "of them, with keys that the application does not know; at most one of these goes before each known one",
			Scope: bound.InAll, Limit: bound.Count(maxQueuedUnknown), Policy: bound.RefuseNew,
			Reason:  "keys cost nothing; each place takes a handshake and two rounds",
			Counter: "dhtprom_holepunch_later_total",
		},
		{
			Name: "hyperdht.maxRetryAfter", What: "time after which a busy server has a dial come again; longer ones are ignored",
			Scope: bound.PerAttempt, Limit: bound.Time(maxRetryAfter), Policy: bound.Ignore,
			Reason: "a hostile server delays dials to itself only",
		},
		{
			Name: "hyperdht.defaultRelayPairs", What: "connections that a relay carries, and as many that wait for their other side",
			Scope: bound.InAll, Limit: bound.Count(defaultRelayPairs), Policy: bound.RefuseNew,
			Reason:  "two streams and the traffic of two peers each; an address with more than others gives its oldest; `--relay.max-pairs`",
			Counter: "dhtprom_relay_refusals_total",
		},
		{
			Name: "hyperdht.defaultRelayPairsPerKey", What: "connections that a relay carries, counted for the side with fewer",
			Scope: bound.PerKey, Limit: bound.Count(defaultRelayPairsPerKey), Policy: bound.RefuseNew,
			Reason:  "a client has one for each scraper, a scraper one for each client, and a second one while it looks for a direct path; `--relay.max-pairs-per-key`",
			Counter: "dhtprom_relay_refusals_total",
		},
		{
			Name: "hyperdht.relayWaitTime", What: "time that a relay waits for the other side",
			Scope: bound.PerAttempt, Limit: bound.Time(relayWaitTime), Policy: bound.EndAttempt,
			Reason:  "the sides give up after 15 s",
			Counter: "dhtprom_relay_refusals_total",
		},
		{
			Name: "hyperdht.relayPairIdle", What: "time that a relayed connection may carry nothing",
			Scope: bound.PerConnection, Limit: bound.Time(relayPairIdle), Policy: bound.End,
			Reason:  "its sides keep it alive every five seconds",
			Counter: "dhtprom_relay_refusals_total",
		},
		{
			Name: "hyperdht.relayIdleTime", What: "time that a client of a relay may be connected without asking for anything",
			Scope: bound.PerConnection, Limit: bound.Time(relayIdleTime), Policy: bound.CloseLimited,
			Reason: "it asks at once",
		},
		{
			Name: "hyperdht.maxRelayAnswers", What: "answers of a relay that wait for a client to acknowledge earlier ones, beside two for each connection that it has asked for",
			Scope: bound.PerConnection, Limit: bound.Count(maxRelayAnswers), Policy: bound.End,
			Reason: "relays in reserve end together when they carry nothing",
		},
		{
			Name: "hyperdht.maxRelayIdle", What: "clients of a relay that have asked for nothing",
			Scope: bound.InAll, Limit: bound.Count(maxRelayIdle), Policy: bound.DropFullest,
			Reason: "they ask at once",
		},
		{
			Name: "hyperdht.maxUnprovenMessage", What: "message of a peer that has proven nothing",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxUnprovenMessage), Policy: bound.End,
			Reason:  "a registration with three names of 4 KiB fits, which is answered with a reason; requests to a relay have 50 bytes",
			Counter: `dhtprom_unproven_connections_closed_total{reason="message"}`,
		},
		{
			Name: "hyperdht.maxMigrationCredit", What: "bytes over a relay that count as sent from the direct path's new address",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxMigrationCredit), Policy: bound.Wait,
			Reason: "a few full packets, of which one must be acknowledged from there",
		},
		{
			Name: "hyperdht.maxPunchAddrs", What: "addresses of a peer that are probed, all named in an authenticated round",
			Scope: bound.PerAttempt, Limit: bound.Count(maxPunchAddrs), Policy: bound.Ignore,
			Reason: "honest peers name one or two",
		},
		{
			Name: "hyperdht.punchRounds", What: "probes of one byte to each of them; to a host that has not echoed a token, two",
			Scope: bound.PerAttempt, Limit: bound.Count(punchRounds), Policy: bound.EndAttempt,
			Reason: "as in the JavaScript, one a second",
		},
		{
			Name: "hyperdht.randomProbes", What: "probes of one byte to ports of a host that has echoed a token",
			Scope: bound.PerAttempt, Limit: bound.Count(randomProbes), Policy: bound.EndAttempt,
			Reason: "as many as the JavaScript, which sends 50 a second; 100 here, and 200 where both peers have said in a round that they know this pace; a dialled server that is its own relay can echo for another host, which gets them then",
		},
		{
			Name: "hyperdht.maxScratch", What: "frame buffer kept between messages",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxScratch), Policy: bound.Forget,
			Reason: "one large message must not hold memory for the life of a connection",
		},
	}
}
