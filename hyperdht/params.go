package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/bound"
)

// Fixed by the protocol or by the reference implementation.
const (
	// connectionKeepAlive is the interval of silence after which a connection sends an empty message, by default
	// (hyperdht index.js).
	connectionKeepAlive = 5 * time.Second
	// sessionClearWait is the time for which an ended incoming attempt still answers retransmissions (lib/server.js). It is longer while its
	// connection waits to open.
	sessionClearWait = 10 * time.Second
	// prepunchTimeout ends incoming attempts whose callers send nothing more (lib/server.js).
	prepunchTimeout = 10 * time.Second
	// passiveTimeout bounds the wait of an open client for the server's packets (lib/connect.js).
	passiveTimeout = 10 * time.Second
	// lowTTL lets a datagram open the near NAT and expire before the far one (lib/holepuncher.js).
	lowTTL = 5
	// maxReopens bounds the pool sockets tried for a stable mapping (lib/holepuncher.js).
	maxReopens = 3
	// punchRounds and punchInterval pace consistent punching (lib/holepuncher.js).
	punchRounds   = 10
	punchInterval = time.Second
	// randomProbes, randomInterval, birthdaySockets and birthdayPause pace punching where one NAT is random
	// (lib/holepuncher.js).
	randomProbes    = 1750
	randomInterval  = 20 * time.Millisecond
	birthdaySockets = 256
	birthdayPause   = 100 * time.Millisecond
	// punchLimit and guessLimit bound the two: twice what they take, for hosts whose timers are late.
	punchLimit = 2 * (punchRounds + 1) * punchInterval
	guessLimit = 2 * (randomProbes*randomInterval + birthdayPause)
	// guessInterval paces the probes to random ports. It is half of the reference implementation's randomInterval, by which the
	// other side keeps its sockets open: as many probes, in half the time.
	guessInterval = 10 * time.Millisecond
	// retryLater, and up to as much again, passes before a punch that had to wait is tried again (lib/connect.js).
	retryLater = 10 * time.Second
	// minRandomPort is the lowest port that random probes go to (lib/holepuncher.js).
	minRandomPort = 1000
	// randomPunchLimit and randomPunchPause limit the load on NATs and networks: so many punches at a time, and so long a pause
	// after one that was lost. The reference implementation also pauses after one that was won (hyperdht index.js), which delays
	// the next peer needlessly: a won punch has sent a fraction of its probes.
	randomPunchLimit = 1
	randomPunchPause = 20 * time.Second
	// takeBackTime bounds unannouncing of a closed server's record: later, a node that closes no longer waits for it. It is the
	// time for which a closing node waits for its servers.
	takeBackTime = 3 * time.Second
	// relayTimeout bounds connecting to a blind relay and being paired (lib/connect.js).
	relayTimeout = 15 * time.Second
	// remoteUnknownPause gives the server time to classify its NAT (lib/connect.js).
	remoteUnknownPause = time.Second
	// natSamples is the number of answers that auto sampling gathers (lib/nat.js).
	natSamples = 4
	// natSkipNodes of the latest nodes are skipped when at least natSkipFrom are known (lib/nat.js).
	natSkipNodes = 5
	natSkipFrom  = 8
	// announceRelays is the number of nodes to which a server announces (lib/announcer.js).
	announceRelays = 3
	// announcePings and announcePause make the announcer's cycle of about five minutes (lib/announcer.js).
	announcePings = 100
	announcePause = 3 * time.Second
	// localValidation is the time limit of a datagram to our own address (hyperdht index.js).
	localValidation = 500 * time.Millisecond
	// poolLinger keeps a pool socket after its last stream (lib/socket-pool.js).
	poolLinger = 3 * time.Second
	// connectParallel is the number of handshakes that run at a time, one more if relays are known (lib/connect.js).
	connectParallel = 2
	// connectQueryRetries is the number of repetitions of the FIND_PEER query of a dial (lib/connect.js).
	connectQueryRetries = 3
	// relayCacheSize is the number of keys whose relays the dialling side remembers (hyperdht index.js).
	relayCacheSize = 512
)

// Chosen by us.
const (
	// decidingSamples is the number of answers that auto sampling gathers if natSamples of them contradict each other: if two of
	// four lie, six of eight do not.
	decidingSamples = 8
	// silentIntervals is the number of keep-alive intervals without a packet of the peer after which an open connection is closed.
	// The transport takes 13 s from the first unanswered packet; this limit is 15 s from the last one received, whatever is
	// under way.
	silentIntervals = 3
	// lastHidden is the number of packets in the middle of a message with which a supposed frame ends, until the connection does. One is chance
	// in one of a thousand messages of 16 MiB, two in one of two million.
	lastHidden = 2
	// handshakesPerTurn is the number of handshakes that are read before other work has its turn, and handshakesPause the time until
	// further ones: together above handshakePace.
	handshakesPerTurn = 4
	handshakesPause   = time.Millisecond
	// maxComputing is the number of messages of callers that are read and written off the loop at a time, and above which no further caller
	// is read: enough for the workers of a host until the next turn. Those that are admitted are answered all the same, of which there are
	// maxCallers.
	maxComputing = 16
	// keepAliveSlots is the number of slots of a keep-alive interval: ten in a second. keepAliveSlack is longer than a retransmission
	// of the peer's message takes.
	keepAliveSlots = 50
	keepAliveSlack = 300 * time.Millisecond
	// maxCallers bounds the callers that have no open connection yet, over all servers of a node. Each costs up to one
	// socket and a few kilobytes. keptNamed, keptSeen, keptAnswered, keptKnown and keptBoth are the parts of it reserved for each
	// class: honest callers answer within a round trip, and after a restart all known keys come in at once.
	maxCallers   = 1024
	keptNamed    = 32
	keptSeen     = 96
	keptAnswered = 128
	keptKnown    = 256
	keptBoth     = 512
	// maxEager bounds the unproven callers for which our NAT is classified and an unused relay joined in advance:
	// each costs five DHT requests, of which about a hundred a second leave, and a dial to the relay.
	maxEager = 32
	// maxEagerPerKey is the number of callers of one known key that get this regardless of maxEager.
	maxEagerPerKey = 2
	// maxCallersPerKey bounds the callers of one known key at one server, separately those that have answered and those that have
	// not. A client dials a server once at a time; relays can hold its handshakes back and send them later. Callers that have not
	// answered share this by their relay, network and address. maxCallersOfKey bounds them at all servers of a node together: a
	// node may have a server for each of many clients, all of which a scraper, or each member of a group, dials at once.
	maxCallersPerKey = 8
	maxCallersOfKey  = 128
	// maxWaitingCallers bounds the handshakes that wait to be read, one second's worth, and callerPatience their wait:
	// callers send again each second, and give up after four.
	maxWaitingCallers = 512
	// maxWaitingPerRelay is the part of them that one relay may name.
	maxWaitingPerRelay = 384
	callerPatience     = 4 * time.Second
	// duplicateGrace is the time for which a pool waits for the connection that a peer dials, after the peer has destroyed the dial
	// of this node in its favour. That one was under way, and takes a round trip or a punch to open.
	duplicateGrace = 3 * time.Second
	// AdmissionPatience bounds the wait for the decision of ListenOptions.AdmitLater: callers give up after as long.
	AdmissionPatience = 4 * time.Second
	// maxRead bounds the handshakes of known keys that are remembered to recognise repetitions: three of each of 5,000
	// clients.
	maxRead = 16384
	// maxPaced bounds the sockets, hosts and networks whose pace is remembered.
	maxPaced = 4096
	// openTimeout bounds the time from the first path of an incoming connection until it opens: a healthy peer's first
	// packet, retransmissions included, arrives well within this.
	openTimeout = 15 * time.Second
	// maxRemembered bounds the settled callers whose retransmissions are recognised.
	maxRemembered = 4096
	// knownHeadStart is the time that known addresses of a server have to answer before the DHT is searched as well: a round trip, with
	// one repetition on most networks.
	knownHeadStart = 800 * time.Millisecond
	// maxKnownAddrs bounds the known addresses that a dial tries.
	maxKnownAddrs = 4
	// maxCandidates bounds the relays that a dial queues while its slots are taken.
	maxCandidates = 64
	// maxStranding bounds the nodes remembered for one key that led to it and to no connection: as many as there are candidates
	// of two dials in an honest network.
	maxStranding = 16
	// maxPendingSends bounds the messages queued on a connection that has no path yet.
	maxPendingSends = 1024
	// maxRoutes bounds the paths that are kept for dialling again.
	maxRoutes = 4096
	// closeLinger bounds the wait of a closed connection for the end of the other side's direction.
	closeLinger = 10 * time.Second
	// defaultRelayPairs and defaultRelayPairsPerKey are the default bounds of a blind relay.
	defaultRelayPairs       = 1024
	defaultRelayPairsPerKey = 64
	// relayWaitTime bounds the wait of a token for its other side at a relay. Its side gives up after relayTimeout.
	relayWaitTime = relayTimeout + 5*time.Second
	// relayIdleTime bounds the connection of a relay's client without a pair. Honest clients ask for one at once.
	relayIdleTime = relayTimeout + 5*time.Second
	// relayPairIdle bounds the silence of a relayed pair. Its sides send keep-alives every five
	// seconds, and close their connection after fifteen.
	relayPairIdle = time.Minute
	// reserveTraffic is the most packets within relayPairIdle of a pair that is held in reserve: a question of each side
	// every askPause and its answer, doubled. One that carries a connection has thirty-six, of its keep-alive alone.
	reserveTraffic = 24
	// relayUnsent is the memory of a relay's unacknowledged answers to one client, in bytes, from which further ones
	// wait; relayBatch of those leave every relayAnswerPause, in a dozen packets. maxRelayAnswers may wait in addition to two
	// for each token.
	relayUnsent      = 16 << 10
	relayBatch       = 200
	relayAnswerPause = 50 * time.Millisecond
	maxRelayAnswers  = 64
	// maxRelayIdle bounds the clients of a relay that are connected without a pair.
	maxRelayIdle = 512
	// relayStandBy is the time for which a relay is kept after a direct path was found before it: as long as the peer may
	// retransmit packets that it has sent over the relay.
	relayStandBy = 20 * time.Second
	// relayDefer is the delay before the relay is joined if a direct path was found within relayReserve: it is needed only
	// if that path fails. It is also the delay before a lost relay is joined again, which doubles up to maxDefer.
	relayDefer = 5 * time.Second
	maxDefer   = 10 * time.Minute
	// relayDoubt is the time in which a relay in reserve has to answer when the peer reports that it joins it again. Three
	// questions are sent meanwhile. With relayDefer after it, the relay is joined while the peer waits there.
	relayDoubt = 5 * time.Second
	// linkPatience is the longest silence of a relay whose connection is reused for another path: its keep-alive comes every five
	// seconds.
	linkPatience = 7 * time.Second
	// askPause paces the questions on a way in reserve, and askAgain is the first interval, which doubles, until the first answer
	// on a relay, and while a relay carries the connection; askLater is the interval after a question whose answer on the direct
	// path is late, so that it is not taken for that to the next one. relayWarmLimit is the time without an answer after which a
	// relay is given up.
	askPause       = 20 * time.Second
	askAgain       = time.Second
	askLater       = 3 * time.Second
	relayWarmLimit = 3*askPause + 5*time.Second
	// copyTime is the time for which packets leave on both ways after a timeout. A message on the way in reserve triggers copies, too,
	// if nothing has come on the way in use for quietTime; but not for longer than aloneTime: the next keep-alive, or its answer, shows whether
	// the way in use works in the other direction.
	copyTime  = 3 * time.Second
	quietTime = time.Second
	aloneTime = 4 * time.Second
	// A path is left after maxStalls stalls within stallWindow, or after maxLate more answers that took more than twice the round trip of
	// the other way and muchSlower than answers in time.
	maxStalls   = 3
	stallWindow = time.Minute
	maxLate     = 3
	muchSlower  = 100 * time.Millisecond
	// answerLimit bounds the wait for an answer on the way in reserve.
	answerLimit = 5 * time.Second
	// unknownRTT is the assumed round trip of a direct path that has not answered: most paths around the earth are faster.
	unknownRTT = 500 * time.Millisecond
	// returnStreak answers of the direct path in a row make the connection return to it, not earlier than minHold after it was
	// left. The hold doubles each time, up to maxHold, until the path has lasted for maxHold.
	returnStreak = 3
	minHold      = 10 * time.Second
	maxHold      = 10 * time.Minute
	// relayReserve is the delay before the relay is joined beside a direct way to an open peer: most answer within a few
	// round trips.
	relayReserve = 500 * time.Millisecond
	// maxDirectWays bounds the direct ways of a connection that are tried: an attacker that knows an address of the peer can
	// forge probes from any port of it.
	maxDirectWays = 6
	// validateInterval and maxValidations pace the heartbeats that validate direct ways of a relayed connection.
	validateInterval = 500 * time.Millisecond
	maxValidations   = 6
	// guessGap is a time between two probes of a guess that no busy machine takes: it has slept.
	guessGap = time.Second
	// provePatience is the delay of the next punch round after a probe has arrived: most ways are validated within a round
	// trip.
	provePatience = 500 * time.Millisecond
	// maxStrangeWays bounds the ways to hosts that a punching peer has not named: it may have moved, or may come through
	// another address of its carrier.
	maxStrangeWays = 2
	// probeLimit bounds an address probe. The one in use ends sooner by itself.
	probeLimit = 10 * time.Second
	// busyPatience bounds the wait of a server that is busy with another random punch for the next request of a caller without
	// retry times, which repeats it after one to two times retryLater.
	busyPatience = 2*retryLater + 5*time.Second
	// maxQueuedPunches bounds the places in the queue for random punches, and maxQueuedUnknown those of keys that the application
	// does not know. A place takes 100 bytes; the last of a full queue waits for half an hour.
	maxQueuedPunches = 512
	maxQueuedUnknown = 256
	// maxRetryAfter is the longest retry time that is sent or accepted. A waiter whose turn is later asks
	// meanwhile, and keeps its place.
	maxRetryAfter = 2 * time.Minute
	// queueGrace is the time for which a place is kept after its retry time: a dial on a network that loses packets. queueLead is
	// the part of it for which later places in the queue wait.
	queueGrace = 5 * time.Second
	queueLead  = time.Second
	// minRetryAfter is the shortest retry time: a question takes four datagrams, a punch hundreds. minRelayedRetry is that of waiters
	// whose connection a relay carries. retryEarly is the time before its turn at which a waiter asks: the budget is not left idle if
	// punches take less time than estimated.
	minRetryAfter   = 250 * time.Millisecond
	minRelayedRetry = 2 * time.Second
	retryEarly      = 3 * time.Second
	// minRedial is the least time between two dials that a busy server can cause.
	minRedial = 2 * time.Second
	// queuePatience bounds the wait of an attempt without a relay in the queue. It is shorter than prepunchTimeout, so
	// that a server holds no more for such a caller than for others.
	queuePatience = 6 * time.Second
	// firstEstimate is the estimated duration of a random punch before the first has ended; leastEstimate and mostEstimate bound the
	// estimate. A lost punch takes up to 35 s, with randomPunchPause after it.
	firstEstimate = 2 * time.Second
	leastEstimate = time.Second
	mostEstimate  = 40 * time.Second
	// findLimit bounds the search for a node that leads to the server: lying nodes can send a dial from one silent node
	// to the next. wayLimit bounds the search for a way to it, which takes a minute if ports have to be guessed.
	findLimit = 5 * time.Minute
	wayLimit  = 2 * time.Minute
	// searchLimit bounds the search for a direct path while a relay carries the connection. A node punches with one random NAT
	// at a time, which takes up to a minute, and peers wait for their turn.
	searchLimit = 30 * time.Minute
	// verdictAge is the greatest age of a verdict on our NAT at the start of a delayed punch: mappings drift with time and load.
	verdictAge = 30 * time.Second
	// driftMemory is the time for which our NAT counts as random after it has changed the address of a socket in use, and
	// maxDriftChecks bounds the sockets that are checked at a time after lost punches.
	driftMemory    = 10 * time.Minute
	maxDriftChecks = 4
	// maxLANTries bounds the local addresses of a peer that are pinged: its interfaces, less the bridges of its containers.
	maxLANTries = 4
	// maxAddrs bounds the addresses of a peer that are read; honest peers send a handful.
	maxAddrs = 64
	// messageOverhead is the most that a datagram contains beside its value: header, address, id, target and lengths.
	messageOverhead = 80
	// maxMigrationCredit bounds the bytes received over a relay that count as received from the peer's new address:
	// enough for a few full packets until one is acknowledged.
	maxMigrationCredit = 2400
	// maxPunchAddrs bounds the addresses of a peer to which probes are sent; honest peers name one or two.
	maxPunchAddrs = 8
	// maxUnprovenMessage is the longest message of an unproven peer, in bytes: a registration with three
	// names of 4,096 bytes fits, which is answered with a reason; requests to a relay have 50 bytes.
	maxUnprovenMessage = 16 << 10
	// connectionMemory is the memory of a connection itself, in bytes, with its application's objects and the channels on it,
	// whose buffers keep up to 4 KB.
	connectionMemory = 10 << 10
	// fastInterval is the time between two probes of a random punch if both peers support it: as many probes, at 6 kB a
	// second with headers.
	fastInterval = 5 * time.Millisecond
	// probePatience bounds the time for which the address probe may delay the verdict on our NAT when there are two samples:
	// one retransmission and its answer. The other side waits for us.
	probePatience = time.Second
	// youngPings is the number of rounds of pings after the first cycle that finds fewer nodes than a bucket holds, 15 s; each
	// such cycle doubles them, up to announcePings. A node that enters a network which has just come back sees a part of
	// it, and announces to nodes that a minute later are not the nearest.
	youngPings = 5
	maxYoung   = 5
	// announceRetry paces announce cycles that found no node, so that an unreachable DHT is not hammered.
	announceRetry = time.Second
)

// The paces of handshakes, chosen by us. Tokens are returned when a connection opens, so that they limit callers that do
// not follow up, and honest ones only until their connections open.
var (
	// handshakePace is the pace of all handshakes together. Reading and answering one takes about a millisecond.
	handshakePace = bound.Pace{Burst: 512, Every: time.Second / 512}
	// socketPace, hostPace and networkPace limit callers that are seen at their address. A process may have
	// hundreds of clients on one socket, and an office or carrier thousands behind one address.
	socketPace  = bound.Pace{Burst: 512, Every: time.Second / 16}
	hostPace    = bound.Pace{Burst: 1024, Every: time.Second / 64}
	networkPace = bound.Pace{Burst: 2048, Every: time.Second / 128}
	// relayedSocketPace, relayedHostPace and relayedNetworkPace are the reserve of a caller with each relay that names
	// it, half of the above: another relay, which names it without a reason, cannot use these up.
	relayedSocketPace  = bound.Pace{Burst: 256, Every: time.Second / 8}
	relayedHostPace    = bound.Pace{Burst: 512, Every: time.Second / 32}
	relayedNetworkPace = bound.Pace{Burst: 1024, Every: time.Second / 64}
	// senderPace and unknownPace limit senders to which this node did not announce, by host and in all: relays of
	// an earlier run of this program, for the seconds until its announcement is renewed.
	senderPace  = bound.Pace{Burst: 128, Every: time.Second / 16}
	unknownPace = bound.Pace{Burst: 256, Every: time.Second / 64}
)
