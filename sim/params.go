package sim

import "time"

// Fixed by the protocol.
const (
	// dhtPort is the port of DHT nodes (hyperdht index.js).
	dhtPort = 49737
	// recordsLive is the longest lifetime of a DHT record that is neither announced again nor looked up (xache: 4/3 of the
	// 20 minutes of hyperdht lib/persistent.js).
	recordsLive = 27 * time.Minute
	// refreshEvery is the interval at which a node looks up a random target, to keep its table alive (dht-rpc index.js).
	refreshEvery = 5 * time.Minute
)

// Our choice.
const (
	// closeWithin bounds a clean stop of a client or scraper: five seconds are promised, and a slow machine may take
	// longer.
	closeWithin = 10 * time.Second
	// startWithin bounds the start of software without faults.
	startWithin = 2 * time.Minute
	// bootBatch is the number of DHT machines that boot at the same instant.
	bootBatch = 16
	// healWithin bounds the time after any disturbance until every registered alias is scraped, as README.md promises:
	// after faults, moves, sleep and restarts.
	healWithin = 30 * time.Second
	// moveWithin is the same after the second of two changes of addresses within seconds.
	moveWithin = 10 * time.Second
	// announcedWithin bounds the time after a change of the DHT until all servers can be looked up: a record lost with its
	// nodes is announced again in its server's next round, about five minutes later (hyperdht lib/announcer.js).
	announcedWithin = 6 * time.Minute
	// step is the interval at which conditions are checked that are too costly to check after every event.
	step = 100 * time.Millisecond
	// lanes is the number of lanes of a net that has some: several for each processor, so that one which has finished its lanes finds
	// another to run, and few enough that each has events in each stretch.
	lanes = 16
	// auditEvery is the interval of audits of all machines, auditLargeEvery that of large worlds.
	auditEvery, auditLargeEvery = 10 * time.Second, 2 * time.Minute
	// repeatedFor bounds the time for which a dial repeats its first message: at known addresses for most of a second, at a node that led to the
	// server before, and twice in a lookup and at the three nodes to which the server announces, two at a time (hyperdht/find.go). Each
	// step ends after four packets, a second each. The longest of 15,000 dials in runs of the scenario swarms took 24.1 s.
	repeatedFor = time.Second + (1+2*(1+2))*4*time.Second
	// formerAsked bounds the nodes that have left and that a node without bootstrap nodes asks within ten minutes: four at a
	// time, each 3 to 5 minutes (hyperdht/internal/rpc/params.go, fewFormer and rejoinTicks).
	formerAsked = 4 * 4
	// lateness is the margin for deadlines on slow machines.
	lateness = 5 * time.Second
	// reserveBack bounds the time in which a connection returns to a direct path that works again: the time for which it
	// stays away doubles with each failure.
	reserveBack = 10 * time.Minute
	// scrapeWithin is the timeout of a scrape, Prometheus's usual 10 s less a margin.
	scrapeWithin = 9 * time.Second
	// scrapeMargin is the margin for the answer to a scrape from a slow machine.
	scrapeMargin = time.Second

	// maxFailures bounds the reported failures: one mistake may show in every scrape.
	maxFailures = 40
	// maxTranscript bounds the transcript that is kept, in bytes. Later lines count for the hash only.
	maxTranscript = 4 << 20

	// maxSockets bounds the open sockets of one machine: a server and a client socket, 256 for one punch of random ports at
	// a time (hyperdht lib/holepuncher.js), and some for sessions in progress.
	maxSockets = 256 + 64
	// maxTimers bounds the armed timers of one machine, maxTimersPerPeer those for each peer that it serves.
	maxTimers, maxTimersPerPeer = 1200, 24

	// spareConnections bounds the connections in progress on a machine beside those reported by events,
	// connectionsPerClient further ones of a scraper for each of its clients, and streamsPerConnection the first tries over
	// each path.
	spareConnections, connectionsPerClient, streamsPerConnection = 16, 3, 4
	// closingTime bounds the time for which an ended connection waits for the other side to end it too.
	closingTime = 20 * time.Second
	// underWay is the tolerance for resources that come and go from one moment to the next.
	underWay = 8
	// recounts is the number of times that what exceeds that is counted again, recountAfter the time in between: a lookup
	// ends within a few seconds.
	recounts, recountAfter = 3, 7 * time.Second
	// timersEach is the approximate number of timers per peer.
	timersEach = 4

	// retryWindow and maxAttempts bound retries: a backoff from one second to a minute with the shortest waits allowed. A
	// success restarts the waits, which costs attemptsPerRenewal.
	retryWindow                     = 10 * time.Minute
	maxAttempts, attemptsPerRenewal = 26, 7
	// knownRetryMax bounds them where the scraper's address is known (app/params.go).
	knownRetryMax = 15 * time.Second
	// unfoundMax bounds the wait of a client that its scraper cannot dial, without a connection of it (app/params.go).
	unfoundMax = 8 * time.Second
	// retryMin and retryMax bound the waits (the values of domain/params.go; a test compares them).
	retryMin, retryMax = time.Second, time.Minute
	// earlyEvery is the interval of early retries after a machine has moved or woken (app/params.go, movedPause), within
	// settleWithin of that, and earlyBurst their number at once (movedBurst).
	earlyEvery   = 14 * time.Second
	earlyBurst   = 2
	settleWithin = 2 * time.Minute
	// busyWait is the least wait after a peer that was only busy (app/params.go).
	busyWait = 2 * time.Second
	// missingMin is the time for which a client waits for its scraper's connection before it registers again
	// (app/params.go).
	missingMin = 15 * time.Second
	// elsewhereMin is missingMin where another member of the scraper's group is to connect (app/params.go).
	elsewhereMin = 45 * time.Second
	// recentWait bounds the least wait before a client that was connected within recentFor is dialled again
	// (app/params.go), and recentAttempts is the number of such dials within retryWindow.
	recentWait, recentFor = 15 * time.Second / 2, 15 * time.Minute
	recentAttempts        = int(retryWindow / recentWait)
	// never is later than any run lasts.
	never = time.Duration(1<<63 - 1)
	// renewSpread is the part of the interval by which renewals may come earlier, and stableAfter the age at which a
	// connection restarts the waits (app/params.go).
	renewSpread = 20
	stableAfter = time.Minute
	// nudgeTakes is the time in which a scraper that receives a message of a client finds their old connection dead. Where that gave no sign of
	// life, the next one has to be ready as soon, or is replaced at once, too (app/session.go, probe and hurry).
	nudgeTakes  = 4 * time.Second
	aSignOfLife = "a sign of life"
)
