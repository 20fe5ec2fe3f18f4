package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/bound"
)

// Fixed by the protocol or by what the original does.
const (
	// connectionKeepAlive is how long a connection may be silent before an empty message goes out
	// (hyperdht index.js).
	connectionKeepAlive = 5 * time.Second
	// sessionClearWait is how long an ended server session still answers retransmissions (lib/server.js).
	sessionClearWait = 10 * time.Second
	// prepunchTimeout ends server sessions that nobody follows up (lib/server.js).
	prepunchTimeout = 10 * time.Second
	// passiveTimeout is how long an open client waits for the server to come (lib/connect.js).
	passiveTimeout = 10 * time.Second
	// lowTTL lets a datagram open the near NAT and die before the far one (lib/holepuncher.js).
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
	// guessInterval paces the probes to random ports. It is half of the original's randomInterval, which the other side keeps
	// its sockets open by: as many probes, in half the time.
	guessInterval = 10 * time.Millisecond
	// retryLater, and up to as much again, passes before a punch that had to wait is tried again (lib/connect.js).
	retryLater = 10 * time.Second
	// minRandomPort is the lowest port that random probes go to (lib/holepuncher.js).
	minRandomPort = 1000
	// randomPunchLimit and randomPunchPause spare NATs and networks: so many at a time, and so long after one that was
	// lost. The original rests after one that was won, too (hyperdht index.js), which keeps the next peer waiting for nothing:
	// a won punch has sent a fraction of its probes.
	randomPunchLimit = 1
	randomPunchPause = 20 * time.Second
	// takeBackTime is how long a closed server's record may take to be taken back until the end of its node no longer waits for
	// it: as long as a node that closes waits for its servers.
	takeBackTime = 3 * time.Second
	// relayTimeout bounds connecting to a blind relay and being paired (lib/connect.js).
	relayTimeout = 15 * time.Second
	// remoteUnknownPause gives the server time to classify its NAT (lib/connect.js).
	remoteUnknownPause = time.Second
	// natSamples is how many answers auto sampling wants (lib/nat.js).
	natSamples = 4
	// natSkipNodes of the latest nodes are skipped when at least natSkipFrom are known (lib/nat.js).
	natSkipNodes = 5
	natSkipFrom  = 8
	// announceRelays is how many nodes a server announces to (lib/announcer.js).
	announceRelays = 3
	// announcePings and announcePause make the announcer's cycle of about five minutes (lib/announcer.js).
	announcePings = 100
	announcePause = 3 * time.Second
	// localValidation is how long a datagram to our own address may take (hyperdht index.js).
	localValidation = 500 * time.Millisecond
	// poolLinger keeps a pool socket after its last stream (lib/socket-pool.js).
	poolLinger = 3 * time.Second
	// connectParallel handshakes run at a time, one more when relays are known (lib/connect.js).
	connectParallel = 2
	// connectQueryRetries of the FIND_PEER query of a connect (lib/connect.js).
	connectQueryRetries = 3
	// relayCacheSize is how many keys the connecting side remembers relays of (hyperdht index.js).
	relayCacheSize = 512
)

// Chosen by us.
const (
	// decidingSamples is how many answers auto sampling wants where natSamples contradict each other: if two of four lie, six of
	// eight do not.
	decidingSamples = 8
	// silentIntervals is for how many keep-alive intervals an open connection may go without any packet from the peer. The
	// transport takes 13 s from the first unanswered packet; this makes it 15 s from the last one received, whatever is
	// under way.
	silentIntervals = 3
	// maxCallers bounds the callers that have no open connection yet, over all servers of a node. Each costs up to one
	// socket and a few kilobytes. keptNamed, keptSeen, keptAnswered, keptKnown and keptBoth are what no others take of it
	// from a class: honest callers answer within a round trip, and known keys are those that all came in before a restart.
	maxCallers   = 1024
	keptNamed    = 32
	keptSeen     = 96
	keptAnswered = 128
	keptKnown    = 256
	keptBoth     = 512
	// maxEager is how many callers that have proven nothing our NAT is classified for, and a relay joined that is not in use, before they do:
	// each costs five DHT requests, of which about a hundred a second leave, and a dial to the relay.
	maxEager = 32
	// maxEagerPerKey is how many of one known key that is done for whatever others hold.
	maxEagerPerKey = 2
	// maxCallersPerKey bounds those of one known key, which have answered and which have not. A client dials once at a
	// time; relays can keep its handshakes back and send them later. Those that have not answered share this by the relay,
	// network and address they come from.
	maxCallersPerKey = 8
	// maxWaitingCallers bounds the handshakes that wait to be read, one second's worth, and callerPatience how long:
	// callers send again each second, and give up after four.
	maxWaitingCallers = 512
	// maxWaitingPerRelay is the part of them that one relay may name.
	maxWaitingPerRelay = 384
	callerPatience     = 4 * time.Second
	// maxRead bounds the handshakes of known keys that are recognised when they are sent again: three of each of 5,000
	// clients.
	maxRead = 16384
	// maxPaced bounds the sockets, hosts and networks whose pace is remembered.
	maxPaced = 4096
	// openTimeout is how long a connection that came in may take to open, once it has a path: a healthy peer's first
	// packet, retransmissions included, arrives well within this.
	openTimeout = 15 * time.Second
	// maxRemembered bounds the settled callers whose retransmissions are recognised.
	maxRemembered = 4096
	// maxCandidates bounds the relays a connect keeps waiting while its slots are taken.
	maxCandidates = 64
	// maxStranding bounds the nodes remembered for one key that led to it and to no connection: as many as there are candidates
	// of two dials in an honest network.
	maxStranding = 16
	// maxPendingSends bounds the messages queued on a connection that has no path yet.
	maxPendingSends = 1024
	// maxRoutes bounds the paths that are kept for dialling again.
	maxRoutes = 4096
	// closeLinger is how long a closed connection waits for the other side to end too.
	closeLinger = 10 * time.Second
	// defaultRelayPairs and defaultRelayPairsPerKey bound what a blind relay carries unless told otherwise.
	defaultRelayPairs       = 1024
	defaultRelayPairsPerKey = 64
	// relayWaitTime is how long a token waits for its other side at a relay. Its side gives up after relayTimeout.
	relayWaitTime = relayTimeout + 5*time.Second
	// relayIdleTime is how long a client of a relay may be connected without a pair. It asks for one at once.
	relayIdleTime = relayTimeout + 5*time.Second
	// relayPairIdle is how long a relayed pair may carry nothing. Its sides keep their connection alive every five
	// seconds, and give it up after fifteen.
	relayPairIdle = time.Minute
	// reserveTraffic is how many packets a pair carries within relayPairIdle at most that is held in reserve: a question of each side
	// every askPause and its answer, and twice as many. One that carries a connection has forty, of its keep-alive alone.
	reserveTraffic = 24
	// relayUnsent is how much memory a relay's answers to one client may take, in bytes, before further ones wait for its
	// acknowledgements; relayBatch of those leave every relayAnswerPause, in a dozen packets. maxRelayAnswers may wait beside two
	// for each token.
	relayUnsent      = 16 << 10
	relayBatch       = 200
	relayAnswerPause = 50 * time.Millisecond
	maxRelayAnswers  = 64
	// maxRelayIdle bounds the clients of a relay that are connected without a pair.
	maxRelayIdle = 512
	// relayStandBy is how long a relay is kept after a direct path was found before it: for as long as the peer may
	// retransmit what it has sent over the relay.
	relayStandBy = 20 * time.Second
	// relayDefer is the delay before the relay is joined where a direct path was found within relayReserve: it is needed only
	// if that path fails. It is also the delay before the relay is joined again when it was lost, which doubles up to maxDefer.
	relayDefer = 5 * time.Second
	maxDefer   = 10 * time.Minute
	// relayDoubt is how long a relay in reserve has to answer where the peer says that it joins it again. It asks three times
	// meanwhile. With relayDefer after it, the relay is joined while the peer waits there.
	relayDoubt = 5 * time.Second
	// linkPatience is how long a relay may be silent whose connection is used for another path: its keep-alive comes every five
	// seconds.
	linkPatience = 7 * time.Second
	// askPause paces the questions on a way in reserve, and askAgain is the first interval, which doubles, until the first answer
	// on a relay, and while a relay carries the connection; askLater is the interval after a question whose answer on the direct
	// path is late, so that it is not taken for that to the next one. relayWarmLimit is how long a relay may give no answer.
	askPause       = 20 * time.Second
	askAgain       = time.Second
	askLater       = 3 * time.Second
	relayWarmLimit = 3*askPause + 5*time.Second
	// copyTime is how long packets leave on both ways after a timeout. A message on the way in reserve has copies sent, too, if for
	// quietTime nothing has come on the way in use; but not for longer than aloneTime: by then a keep-alive has shown whether the
	// way in use works in the other direction.
	copyTime  = 3 * time.Second
	quietTime = time.Second
	aloneTime = 10 * time.Second
	// maxStalls timeouts within stallWindow are as many as a path may have; and an answer may take twice as long as on the other
	// way and muchSlower longer, but not maxLate times in a row.
	maxStalls   = 3
	stallWindow = time.Minute
	maxLate     = 3
	muchSlower  = 100 * time.Millisecond
	// answerLimit is how long an answer on the way in reserve is waited for.
	answerLimit = 5 * time.Second
	// unknownRTT is what the direct path is taken to need before it has answered: most of those around the earth do with less.
	unknownRTT = 500 * time.Millisecond
	// returnStreak answers of the direct path in a row have the connection return to it, not earlier than minHold after it was
	// left, and twice as long each time, up to maxHold, until it has lasted for maxHold.
	returnStreak = 3
	minHold      = 10 * time.Second
	maxHold      = 10 * time.Minute
	// relayReserve is the delay before the relay is joined beside a direct way to an open peer: most answer within a few
	// round trips.
	relayReserve = 500 * time.Millisecond
	// maxDirectWays bounds the direct ways of a connection that are tried: whoever knows an address of the peer can forge
	// probes from any port of it.
	maxDirectWays = 6
	// validateInterval and maxValidations pace the heartbeats that validate direct ways of a relayed connection.
	validateInterval = 500 * time.Millisecond
	maxValidations   = 6
	// provePatience is the delay of the next punch round after a probe has arrived: most ways are validated within a round
	// trip.
	provePatience = 500 * time.Millisecond
	// maxStrangeWays bounds the ways to hosts that a punching peer has not named: it may have moved, or may come through
	// another address of its carrier.
	maxStrangeWays = 2
	// probeLimit is how long the address probe may take. The one in use ends sooner by itself.
	probeLimit = 10 * time.Second
	// busyPatience is how long a server that is busy with another random punch waits for a caller to ask again that does not know
	// retry times, which does so after one to two times retryLater.
	busyPatience = 2*retryLater + 5*time.Second
	// maxQueuedPunches bounds the places in the queue for random punches, and maxQueuedUnknown those of keys that the application
	// does not know. A place takes 100 bytes; the last of a full queue waits for half an hour.
	maxQueuedPunches = 512
	maxQueuedUnknown = 256
	// maxRetryAfter is the longest time after which a peer is asked to come again, and the longest that is accepted. A waiter whose
	// turn is later asks meanwhile, and keeps its place.
	maxRetryAfter = 2 * time.Minute
	// queueGrace is how long after that time a place is kept: a dial on a network that loses packets. queueLead is the part of it
	// for which those behind it in the queue wait.
	queueGrace = 5 * time.Second
	queueLead  = time.Second
	// minRetryAfter is the shortest such time: a question takes four datagrams, a punch hundreds. minRelayedRetry is that of waiters
	// whose connection a relay carries. retryEarly is how much before its turn a waiter is to ask: the budget does not lie idle where
	// punches take less time than estimated.
	minRetryAfter   = 250 * time.Millisecond
	minRelayedRetry = 2 * time.Second
	retryEarly      = 3 * time.Second
	// minRedial is the least time between two dials that a busy server can bring about.
	minRedial = 2 * time.Second
	// queuePatience is how long an attempt without a relay waits in the queue before it ends. It is shorter than prepunchTimeout, so
	// that a server holds no more for such a caller than for others.
	queuePatience = 6 * time.Second
	// firstEstimate is how long a random punch is taken to last before one has ended; leastEstimate and mostEstimate bound the
	// estimate. One that is lost takes up to 35 s, with randomPunchPause after it.
	firstEstimate = 2 * time.Second
	leastEstimate = time.Second
	mostEstimate  = 40 * time.Second
	// findLimit bounds the search for a node that leads to the server: nodes that lie can send a dial from one that does not
	// answer to the next. wayLimit bounds the search for a way to it, which takes a minute where NATs have to be guessed.
	findLimit = 5 * time.Minute
	wayLimit  = 2 * time.Minute
	// searchLimit bounds the search for a direct path while a relay carries the connection. A node punches with one random NAT
	// at a time, which takes up to a minute, and peers wait for their turn.
	searchLimit = 30 * time.Minute
	// verdictAge is how old a verdict on our NAT may be when a punch begins that had to wait: mappings drift with time and load.
	verdictAge = 30 * time.Second
	// driftMemory is how long our NAT is held for a random one after it has changed the address of a socket in use, and
	// maxDriftChecks how many sockets are looked at at a time after a punch that was lost.
	driftMemory    = 10 * time.Minute
	maxDriftChecks = 4
	// maxLANTries bounds the local addresses of a peer that are pinged: its interfaces, less the bridges of its containers.
	maxLANTries = 4
	// maxAddrs bounds the addresses of a peer that are looked at; honest peers send a handful.
	maxAddrs = 64
	// messageOverhead is what a datagram has beside its value, at most: header, address, id, target and lengths.
	messageOverhead = 80
	// maxMigrationCredit is how many bytes of what a peer has sent over a relay count as sent from its new address, which is
	// enough for a few full packets until one is acknowledged.
	maxMigrationCredit = 2400
	// maxPunchAddrs bounds the addresses of a peer that probes are sent to; honest peers name one or two.
	maxPunchAddrs = 8
	// maxUnprovenMessage is the longest message of a peer that has proven nothing, in bytes: a registration with three
	// names of 4,096 bytes fits, which is answered with a reason; requests to a relay have 50 bytes.
	maxUnprovenMessage = 16 << 10
	// connectionMemory is what a connection takes by itself, in bytes, with its application's objects and the channels on it,
	// whose buffers keep up to 4 KB.
	connectionMemory = 10 << 10
	// fastInterval is the time between two probes of a random punch where both peers know it: as many probes, at 6 kB a
	// second with headers.
	fastInterval = 5 * time.Millisecond
	// probePatience is how long the address probe may hold up the verdict on our NAT when two samples are there:
	// time for one retransmission and its answer. The other side waits for us.
	probePatience = time.Second
	// youngPings is how many rounds of pings follow the first cycle that finds fewer nodes than a bucket holds, 15 s; each
	// such cycle doubles them, up to announcePings. A node that enters a network which has just come back sees a part of
	// it, and announces to nodes that are not the nearest a minute later.
	youngPings = 5
	maxYoung   = 5
	// announceRetry paces announce cycles that found nobody, so that an unreachable DHT is not hammered.
	announceRetry = time.Second
)

// The paces of handshakes, chosen by us. Tokens come back when a connection opens, so that they bind callers which do
// not follow up, and honest ones only while their connections are being made.
var (
	// handshakePace is that of all together. Reading and answering one takes about a millisecond.
	handshakePace = bound.Pace{Burst: 512, Every: time.Second / 512}
	// socketPace, hostPace and networkPace are those of callers that are seen at their address. A process may have
	// hundreds of clients on one socket, and an office or carrier thousands behind one address.
	socketPace  = bound.Pace{Burst: 512, Every: time.Second / 16}
	hostPace    = bound.Pace{Burst: 1024, Every: time.Second / 64}
	networkPace = bound.Pace{Burst: 2048, Every: time.Second / 128}
	// relayedSocketPace, relayedHostPace and relayedNetworkPace are what a caller has beside those with each relay that names
	// it, half of them: another relay, which names it without a reason, cannot use these up.
	relayedSocketPace  = bound.Pace{Burst: 256, Every: time.Second / 8}
	relayedHostPace    = bound.Pace{Burst: 512, Every: time.Second / 32}
	relayedNetworkPace = bound.Pace{Burst: 1024, Every: time.Second / 64}
	// senderPace and unknownPace are those of senders that this node did not announce to, by host and in all: relays of
	// an earlier run of this program, for the seconds until its announcement is renewed.
	senderPace  = bound.Pace{Burst: 128, Every: time.Second / 16}
	unknownPace = bound.Pace{Burst: 256, Every: time.Second / 64}
)
