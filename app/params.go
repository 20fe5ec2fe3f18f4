package app

import "time"

// Our choice.
const (
	// connectTimeout bounds a dial: hole punching takes up to 35 s where one of the NATs is random.
	connectTimeout = 45 * time.Second
	// channelTimeout bounds the wait for a connected client to open the metrics channel. The JavaScript opens it in the same turn
	// as the connection and waits for the other side indefinitely.
	channelTimeout = 10 * time.Second
	// probeTimeout bounds the probe of an open connection whose client registers.
	probeTimeout = 3 * time.Second
	// registerTimeout bounds the wait for the answer once a registration's connection is up: the channel to
	// open and the scraper's disk.
	registerTimeout = 10 * time.Second
	// setTimeout bounds it for a set: a megabyte over a slow uplink.
	setTimeout = time.Minute
	// closeTimeout bounds the shutdown of a client or scraper, inside the five seconds that a program may take to stop.
	closeTimeout = 4 * time.Second
	// leaveTimeout bounds the goodbye, so that the node below still has time to unannounce.
	leaveTimeout = 1500 * time.Millisecond

	// textTimeout bounds the collection of a text whose request has no time: longer than any scrape timeout in use.
	textTimeout = time.Minute
	// maxCollections bounds concurrent collections of texts, divided among the client's scrapers: each requests one at a time, so more
	// means a slow source, or scrapers that gave up, which those who request text cannot tell. maxWaitingCollections of each scraper
	// may wait, of either kind.
	maxCollections        = 8
	maxWaitingCollections = 64
	// maxScrapes bounds the concurrent collections for one scraper that can cancel them: the exporter gets one request at a time. The
	// others wait, each for its own time: those of a pair of Prometheus servers, and of people who look.
	maxScrapes = 1
	// maxProbes bounds those with parameters, each of which is a target of its own to the exporter, divided among the client's scrapers.
	maxProbes = 32
	// maxPage bounds the page that Scraper.Scrape returns, in bytes: as much as a client sends unless it is configured otherwise.
	maxPage = 64 << 20
	// maxScrapers bounds the scrapers of one client. Two is usual, for availability or for two owners.
	maxScrapers = 16
	// maxSingles bounds the targets that are registered each by itself: each is a server on the DHT, announced every few minutes, with a
	// connection per scraper. singleStarts is the number of them that start to listen at a time: each queries a dozen DHT nodes.
	maxSingles   = 256
	singleStarts = 8

	// announcePatience is the longest wait of a registration for the client's announcement, without which no scraper finds the
	// client. A failed attempt of the announcer takes six seconds.
	announcePatience = 10 * time.Second

	// sessionPatience is the wait for the scraper's connection to come back, with up to sessionSpread more, before the client
	// registers again: a running scraper dials the clients that it knows sooner. Unless a connection lasts, the wait doubles each
	// time, up to the interval of renewals.
	sessionPatience = 15 * time.Second
	sessionSpread   = 10 * time.Second
	// knownRetryMax bounds the wait between registrations with a scraper at a known address: it may be the only way, since the scraper does
	// not find the client.
	knownRetryMax = 15 * time.Second
	// elsewherePatience is the wait for the connection of another member of the scraper's group, with up to sessionSpread more; it doubles
	// while none comes. The member must have missed the client (missAfter), and have reported that (surveyEvery).
	elsewherePatience = 45 * time.Second
	// unfoundMax bounds the wait for the scraper's connection of a client that no DHT node leads to, and that its scraper cannot dial; up to
	// unfoundSpread more spreads such clients.
	unfoundMax    = 8 * time.Second
	unfoundSpread = 5 * time.Second
	// movedPatience bounds the wait for the answer to a registration, of one alias, after a move of this machine.
	movedPatience = 3 * time.Second
	// staleAttempt is the age of a dial that began before news of a changed path. A younger one may already use the new path.
	staleAttempt = 2 * time.Second

	// busyWait, and up to as much again, is the wait before the next dial of a side that was busy and named no time: a random
	// punch takes 4 to 7 s if it succeeds. retrySpread spreads the dials at named times.
	busyWait    = 2 * time.Second
	retrySpread = 500 * time.Millisecond

	// recentWait is the longest wait before the next dial of a client that was connected within recentFor; half of it is the
	// shortest of the longest ones. Prometheus scrapes as often, and after a repair the operator watches the next scrape.
	recentWait = 15 * time.Second
	recentFor  = 15 * time.Minute
	// stableAfter is the time that a connection must last to reset the next wait.
	stableAfter = time.Minute

	// takeoverWait, and up to takeoverSpread more, is the time that a relay carries a connection before another direct path is
	// searched, and takeoverWait the time that the old one must be silent: while it carries anything, the transport judges which
	// of the two is better, and returns after ten seconds at the earliest. The waits between further attempts double from
	// searchWaitMin to searchWaitMax; a direct path that has lasted for as long resets them.
	takeoverWait   = 30 * time.Second
	takeoverSpread = 10 * time.Second
	searchWaitMin  = time.Minute
	searchWaitMax  = 15 * time.Minute
	// maxSessionLinks bounds the connections of a session: the one in use, the second one that is dialled where a relay has taken
	// over, and the previous one, until the requests on it have ended.
	maxSessionLinks = 3

	// renewSpread is the part of the interval over which renewals are spread.
	renewSpread = 20
	// changePause is the time from a change of a client's targets to its registration, and between two of them: changes that come one
	// after the other are registered together.
	changePause = time.Second
	// movedSpread spreads the registrations of clients that move at the same time.
	movedSpread = time.Second
	// movedPause is the time between repetitions because of moves where moves go on, and movedBurst the number of immediate
	// repetitions: an interface that comes up is one move, and the route that moves to it seconds later is another one.
	movedPause = 15 * time.Second
	movedBurst = 2

	// maxSessionRequests bounds the scrapes that may wait on one client, a site of 5,000 targets that are scraped every 15 s and take 3 s
	// each, and maxTargetRequests those for one target: Prometheus sends one at a time, two of them in pairs for availability.
	maxSessionRequests = 1024
	maxTargetRequests  = 64

	// Limits on the registration service, which is open to any peer that knows the scraper's key.
	aliasFirstRequest = 30 * time.Second // a connection without a request in this time is closed
	aliasIdle         = 3 * time.Minute  // likewise between requests; JavaScript clients pool connections for two minutes
	maxRefusals       = 3                // wrong secrets on one connection before it is closed
	requestBurst      = 32               // requests at once on one connection
	requestEvery      = time.Second      // and one more each second
	setBurst          = 32               // requests of sets at once on the connection of a session
	setEvery          = requestEvery / 4 // and one more in that time: a set that changes all the time takes two in changePause
	maxPendingWrites  = 4096             // registrations being written

	// maxInstances bounds the client processes that are remembered for an alias; the one silent for longest is removed. A rolling
	// restart has two, a copied seed rarely more than a few.
	maxInstances = 4

	// renewedShare is the share of its lifetime after which a target is renewed when others of its set change: a client whose targets change
	// all the time registers changes only.
	renewedShare = 4
	// expiryGrace is the least remaining lifetime of an alias after a start of the scraper: several dials with backoff, and the
	// time that a machine without a battery-backed clock takes to set it.
	expiryGrace = 15 * time.Minute
	// clockNoise is the drift between wall and steady time at which displayed times are corrected.
	clockNoise = time.Second

	// targetsDelay batches changes to the targets file. It doubles, up to targetsEvery, while one write follows another: a swarm that
	// starts together writes the file a few times, not a thousand times.
	targetsDelay = 100 * time.Millisecond
	targetsEvery = 3200 * time.Millisecond

	// minRegisterInterval and maxRegisterInterval bound the setting. A day is far beyond the default expiry of three hours, so
	// only a typing error or a misunderstanding exceeds it.
	minRegisterInterval = time.Second
	maxRegisterInterval = 24 * time.Hour
	// minExpiry and minCheckInterval keep typing errors out of the alias table.
	minExpiry        = time.Second
	minCheckInterval = 100 * time.Millisecond

	// logBurst events of a kind are logged, then one per logEvery: all clients come at once after a power cut, and 5,000 of them
	// that register once an hour are 1.4 events of each kind a second.
	logBurst = 500
	logEvery = 500 * time.Millisecond
	// logPeerBurst of them, then one per logPeerEvery, are of one peer: repetitions add no information.
	logPeerBurst = 10
	logPeerEvery = time.Minute
	// logStrangerBurst and logStrangerEvery are for the kinds that any peer with a key of this node can cause, under any number
	// of keys of its own, and for failures of this machine that affect every registration.
	logStrangerBurst = 20
	logStrangerEvery = 10 * time.Second
	// maxLogPeers bounds the peers whose lines are counted for one kind. Those beyond share the pace of the kind.
	maxLogPeers = 1024
	// logSummary is the interval of the lines with the number of suppressed lines.
	logSummary = time.Minute
)
