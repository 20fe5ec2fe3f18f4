package rpc

import (
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Fixed by the protocol, or what the other nodes do.
const (
	// DefaultPort is the first of defaultPorts ports that the reference implementation's server socket tries (hyperdht
	// index.js, dht-rpc lib/io.js), and where bootstrap nodes are looked for.
	DefaultPort  = 49737
	defaultPorts = 5

	// RequestTimeout is the timeout of one transmission (dht-rpc lib/io.js).
	RequestTimeout = 1000 * time.Millisecond
	// DefaultRetries of a request, QueryRetries of those of a lookup (dht-rpc lib/io.js, lib/query.js).
	DefaultRetries = 3
	QueryRetries   = 5

	// The congestion window: packets sent and not answered (dht-rpc lib/io.js). As there, an answer makes room at once. There
	// only new requests use it, and those that wait do so until the window drains; here they use it too, so that no host
	// gets more at a time than the reference implementation may send it.
	windowSlots   = 4
	windowMax     = 80
	drainInterval = 750 * time.Millisecond

	// TickInterval is the pace of maintenance (dht-rpc index.js).
	TickInterval = 5 * time.Second
	// sleepingInterval between two ticks means that the machine slept (dht-rpc index.js).
	sleepingInterval = 3 * TickInterval

	// In ticks (dht-rpc index.js).
	stableTicks              = 240 // 20 min of peace before an adaptive node tries to become persistent
	moreStableTicks          = 3 * stableTicks
	refreshTicks             = 60
	recentNode      kad.Tick = 12
	oldNode         kad.Tick = 360

	maxChecks        = 10 // nodes checked at a time because of down hints (dht-rpc index.js)
	maxSwaps         = 3  // full buckets that ping their oldest node at a time (dht-rpc index.js)
	downHintsPerTick = 50 // sent (dht-rpc index.js)
	maxPingDelay     = 10 * time.Second
	pingDelayExtra   = time.Second

	// MaxKnown is the number of nodes of an earlier run that a node starts with: with fewer than a bucket has, the bootstrap nodes are
	// asked, too.
	MaxKnown = kad.K - 4
	// enoughToEnter is the number of answers from which a lookup does not wait for bootstrap nodes that may be off.
	enoughToEnter = 3
	// Concurrency of a lookup, of background lookups, and of one that trusts its seeds (dht-rpc index.js,
	// lib/query.js).
	Concurrency           = 10
	backgroundConcurrency = 2
	slowConcurrency       = 3

	probeNodes   = 5 // asked to reach our server socket (dht-rpc index.js)
	probeReplies = 3 // of them must arrive, one if fewer were asked
)

// Our choice.
const (
	// maxCalls bounds requests that wait for an answer or for room in the window. The ids on the wire
	// have 16 bits; beyond a fraction of them answers would be mixed up.
	maxCalls = 16384
	// maxDelayedPings bounds the answers that wait for the delay that a remote asked for.
	maxDelayedPings = 1024
	// maxCandidates bounds the nodes one lookup remembers. An honest one meets a few hundred.
	maxCandidates = 2048
	// maxCloser bounds the closer nodes of one reply that are read: nodes send at most a bucket.
	maxCloser = kad.K
	// maxReferrers bounds the nodes that are notified that a node is down: the first ones that named it.
	maxReferrers = kad.K
	// minMoveSamples is the least number of nodes that must agree that our public address has moved.
	minMoveSamples = 2
	// askedNodes is the number of nodes that are asked. Three quarters of their answers must agree, so that a third of the DHT that
	// lies seldom moves us, and a quarter that lies seldom keeps us from noticing a move.
	askedNodes = 12
	// moveInterval is the least time between two rounds of asking whether our public address has moved: behind some NATs
	// answers differ all the time.
	moveInterval kad.Tick = 12
	// sampleInterval is the least time between two uses of the address probe.
	sampleInterval kad.Tick = 12
	// maxResponders bounds the responders of the address probe that are distinguished; it asks a handful.
	maxResponders = 64
	// retriesLimit bounds how often a request is sent again, whatever its caller wants.
	retriesLimit = 100
	// packetRoom fits all requests but those with a value or a token, of which there are few.
	packetRoom = 78
	// silentRequests without an answer between them, and silentAfter the last one, mean that no DHT node answers. A server
	// pings three nodes each three seconds, so that takes it half a minute; one dead node is not enough.
	silentRequests = 4
	silentAfter    = 20 * time.Second
	// A doubt asks doubtNodes once, however full the window is, and ends with the silence if none answers within doubtTimeout. Where half of all
	// packets are lost, one doubt in ten is wrong. One that takes doubtLimit has slept. The next one is not before a tick.
	doubtNodes   = 8
	doubtTimeout = 2 * time.Second
	doubtLimit   = 2 * doubtTimeout
	// implicitPort is the first of implicitPorts ports that the server socket tries where none is named. They stay the
	// same across restarts, and are below DefaultPort and the ports after it, where bootstrap nodes of this machine may
	// be about to start.
	implicitPort  = 49637
	implicitPorts = 5
	// freeTries bounds the ports that the system is asked for until one is not a bootstrap node's.
	freeTries = 16
	// maxSelf bounds the addresses that are remembered to be our own.
	maxSelf = 8
	// rejoinTicks is the time from an answer of a bootstrap node to the question to the next one, 2 min on average: one datagram of
	// 70 bytes. Each node asks each of the three public bootstrap nodes every 6 min; ten thousand nodes are 28 requests
	// per second for it.
	rejoinTicks = 24
	// silentTicks bounds the same where the last one asked was silent: a new client is to find its way within 5 min of a
	// bootstrap node's return, and the whole network has to have come back by then.
	silentTicks = 12
	// maxFormer bounds the nodes that are remembered after they have stopped answering: three buckets, more than the
	// largest private DHT that depends on them. The longest gone is forgotten first.
	maxFormer = 3 * kad.K
	// fewFormer of them are asked at a time where few nodes are known, one otherwise.
	fewFormer = 4
	// fewNodes known are too few to rely on: a NAT takes up to five answers to tell.
	fewNodes = 8
	// maxPacedHosts bounds the hosts whose requests are counted; the one that was heard the longest ago is forgotten.
	maxPacedHosts = 4096
)

// requestPace limits the answers to one host: 500 kB per second of the longest answers. Thousands of clients
// behind one address that start at the same time ask each node of a private DHT ten thousand requests in some minutes.
var requestPace = bound.Pace{Burst: 4096, Every: time.Second / 512}
