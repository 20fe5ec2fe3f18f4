package sim

import "time"

// Fixed by the protocol.
const (
	// dhtPort is where the nodes of the DHT listen (hyperdht index.js).
	dhtPort = 49737
	// recordsLive is how long a record of the DHT lives at the most that nobody announces or looks for again (xache: 4/3 of the
	// 20 minutes of hyperdht lib/persistent.js).
	recordsLive = 27 * time.Minute
	// refreshEvery is how often a node looks up somebody, to keep its table alive (dht-rpc index.js).
	refreshEvery = 5 * time.Minute
)

// Our choice.
const (
	// closeWithin bounds the end of a client or scraper in good order: five seconds are promised, and a slow machine
	// may take longer.
	closeWithin = 10 * time.Second
	// startWithin bounds how long software takes to be ready where nothing is wrong.
	startWithin = 2 * time.Minute
	// bootBatch is how many machines of the DHT boot at the same instant.
	bootBatch = 16
	// healWithin is how long after any disturbance everybody is scraped who is registered, as README.md promises: after faults,
	// moves, sleep and restarts.
	healWithin = 30 * time.Second
	// moveWithin is the same after the second of two changes of addresses within seconds.
	moveWithin = 10 * time.Second
	// announcedWithin is how long after a change of the DHT everybody can be looked up: a record that was lost with the nodes
	// that had it is announced again when its server's round of about five minutes (hyperdht lib/announcer.js) is over.
	announcedWithin = 6 * time.Minute
	// step is how often conditions are looked at that are too costly to be asked after every event.
	step = 100 * time.Millisecond
	// auditEvery is how often machines are counted through.
	auditEvery, auditLargeEvery = 10 * time.Second, 2 * time.Minute
	// lateness is how much later than its deadline something may end: a slow machine is busy with other things.
	lateness = 5 * time.Second
	// reserveBack is how long a connection may take to return to a direct path that works again: the time for which it keeps
	// away doubles with each time.
	reserveBack = 10 * time.Minute
	// scrapeWithin is the time-out of a scrape, Prometheus's usual 10 s less a margin.
	scrapeWithin = 9 * time.Second
	// scrapeMargin is how much later a scrape may be answered: a slow machine is busy with other things.
	scrapeMargin = time.Second

	// maxFailures bounds what a run reports: one mistake may show in every scrape.
	maxFailures = 40
	// maxTranscript bounds the transcript that is kept, in bytes. What comes later counts for the hash only.
	maxTranscript = 4 << 20

	// maxSockets is what one machine may have open: a server and a client socket, 256 for one punch of random ports at
	// a time (hyperdht lib/holepuncher.js), and some for sessions under way.
	maxSockets = 256 + 64
	// maxTimers is what one machine may have armed, and more for each peer that it serves.
	maxTimers, maxTimersPerPeer = 1200, 24

	// spareConnections are under way on a machine beside those that it has told of, connectionsPerClient more on a
	// scraper for each of its clients, and streamsPerConnection are for the first tries over each path.
	spareConnections, connectionsPerClient, streamsPerConnection = 16, 3, 4
	// closingTime is how long an ended connection may wait for the other side to end it too.
	closingTime = 20 * time.Second
	// underWay is by how much what a machine holds differs from one moment to the next.
	underWay = 8
	// timersEach is how many timers a peer takes, about.
	timersEach = 4

	// retryWindow and maxAttempts are the bound on retries: a backoff from one second to a minute whose waits are all the
	// shortest that they may be. What works starts the waits over, which costs attemptsPerRenewal.
	retryWindow                     = 10 * time.Minute
	maxAttempts, attemptsPerRenewal = 26, 7
	// retryMin and retryMax are between which waits grow (domain/params.go says the same; that it does is checked).
	retryMin, retryMax = time.Second, time.Minute
	// earlyEvery is how often somebody may try earlier because its machine has moved or woken (app/params.go,
	// movedPause), within settleWithin after it did, and earlyBurst how often at once (movedBurst).
	earlyEvery   = 14 * time.Second
	earlyBurst   = 2
	settleWithin = 2 * time.Minute
	// busyWait is the least wait after a side was busy only (app/params.go).
	busyWait = 2 * time.Second
	// missingMin is how long a client waits for its scraper's connection before it registers again (app/params.go).
	missingMin = 15 * time.Second
	// recentWait is the least wait, at the most, before a client is dialled again that was connected within recentFor
	// (app/params.go), and recentAttempts are so many within retryWindow.
	recentWait, recentFor = 15 * time.Second / 2, 15 * time.Minute
	recentAttempts        = int(retryWindow / recentWait)
	// never is later than any run lasts.
	never = time.Duration(1<<63 - 1)
	// renewSpread is the part of the interval by which renewals may come earlier, and stableAfter how long a connection
	// must have stood to start the waits over (app/params.go).
	renewSpread = 20
	stableAfter = time.Minute
	// nudgeTakes is how long it takes a scraper that hears from a client to find that their connection is dead.
	nudgeTakes = 4 * time.Second
)
