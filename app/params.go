package app

import "time"

// Our choice.
const (
	// connectTimeout bounds a dial: hole punching takes up to 35 s where one of the NATs is random.
	connectTimeout = 45 * time.Second
	// channelTimeout bounds how long a connected client may take to open the metrics channel. The JavaScript
	// opens it in the same turn as the connection and waits for the other side for ever.
	channelTimeout = 10 * time.Second
	// probeTimeout bounds the sign of life that is asked of an open connection whose client registers.
	probeTimeout = 3 * time.Second
	// registerTimeout bounds the wait for the answer once a registration's connection is up: the channel to
	// open and the scraper's disk.
	registerTimeout = 10 * time.Second
	// closeTimeout bounds the end of a client or scraper, inside the five seconds that a program may take to stop.
	closeTimeout = 4 * time.Second
	// leaveTimeout bounds the goodbye, so that the node below still has its time to unannounce itself.
	leaveTimeout = 1500 * time.Millisecond

	// collectTimeout bounds one collection at the client. It is longer than any scrape timeout in use; the
	// scraper hangs up long before.
	collectTimeout = time.Minute
	// maxCollections bounds how many run at once, shared out to the client's scrapers: each asks for one at a time,
	// so more means that a source is slow. maxWaitingCollections of each may wait for them to end.
	maxCollections        = 8
	maxWaitingCollections = 64
	// maxScrapers bounds the scrapers of one client. Two is usual, for availability or for two owners.
	maxScrapers = 16
	// maxClients bounds the clients of one group: each is a server on the DHT, announced every few minutes, and has a
	// connection per scraper.
	maxClients = 256
	// groupStart is how many clients of a group begin to listen at the same time: each asks a dozen DHT nodes.
	groupStart = 8

	// announcePatience is how long a registration waits for the client's announcement, without which no scraper finds
	// the client. An attempt of the announcer that finds nothing takes six seconds.
	announcePatience = 10 * time.Second

	// sessionPatience is how long a client waits for its scraper's connection to come back, with up to sessionSpread more,
	// before it registers again: a scraper that lives dials those whom it knows sooner. Unless a connection lasts, the
	// wait doubles each time, up to the interval of renewals.
	sessionPatience = 15 * time.Second
	sessionSpread   = 10 * time.Second
	// staleAttempt is how old a dial is that began before the news that the way there has changed. A younger one may
	// have it.
	staleAttempt = 2 * time.Second

	// busyWait, and up to as much again, passes before a side is tried again that was busy and has given no time: a random
	// punch takes 4 to 7 s where it is won. retrySpread spreads the dials at times that were given.
	busyWait    = 2 * time.Second
	retrySpread = 500 * time.Millisecond

	// recentWait is the longest wait before a client is dialled again that was connected within recentFor; half of it is the
	// shortest of the longest ones. Prometheus scrapes as often, and an owner who repairs a line looks at the next scrape.
	recentWait = 15 * time.Second
	recentFor  = 15 * time.Minute
	// stableAfter is how long a connection must have lasted to make the next wait short again.
	stableAfter = time.Minute

	// takeoverWait, and up to takeoverSpread more, is how long a relay carries a connection before another direct path is looked
	// for, and takeoverWait how long the old one must be silent: while it carries anything, the transport judges which of the two is
	// better, and returns after ten seconds at the earliest. The waits between further tries double from searchWaitMin to
	// searchWaitMax; a direct path that has lasted for as long makes them short again.
	takeoverWait   = 30 * time.Second
	takeoverSpread = 10 * time.Second
	searchWaitMin  = time.Minute
	searchWaitMax  = 15 * time.Minute
	// maxSessionLinks bounds the connections of a session: the one in use, the second one that is dialled where a relay has
	// taken over, and the one before, until the requests on it have ended.
	maxSessionLinks = 3

	// renewSpread is the part of the interval over which renewals are spread.
	renewSpread = 20
	// movedSpread spreads the registrations of clients that move at the same time.
	movedSpread = time.Second
	// movedPause is the time between two repetitions because of moves where moves go on, and movedBurst how many are made at once
	// before: an interface that comes up is one move, and the route that goes over to it seconds later is another one.
	movedPause = 15 * time.Second
	movedBurst = 2

	// maxSessionRequests bounds the scrapes that may wait on one client: Prometheus sends one at a time, two of
	// them in pairs for availability.
	maxSessionRequests = 64

	// Limits on the registration service, which anybody who knows the scraper's key can reach.
	aliasFirstRequest = 30 * time.Second // a connection that asks nothing in this time is closed
	aliasIdle         = 3 * time.Minute  // likewise between requests; JavaScript clients pool theirs for two minutes
	maxRefusals       = 3                // wrong secrets on one connection before it is closed
	requestBurst      = 32               // requests at once on one connection
	requestEvery      = time.Second      // and one more each second
	maxPendingWrites  = 4096             // registrations on their way to the disk

	// maxInstances bounds the client processes that are remembered for an alias; the one silent for longest is forgotten.
	// A rolling restart has two, a copied seed rarely more than a few.
	maxInstances = 4

	// expiryGrace is the least time that an alias has after a start of the scraper: several dials with backoff, and the
	// time that a machine without a clock takes to set it.
	expiryGrace = 15 * time.Minute
	// clockNoise is how far wall and steady time may drift apart before shown times follow.
	clockNoise = time.Second

	// targetsDelay gathers changes to the targets file; a swarm that starts together writes it a few times,
	// not a thousand times.
	targetsDelay = 100 * time.Millisecond

	// minRegisterInterval and maxRegisterInterval bound the setting. A day is far beyond the default expiry of three
	// hours, so only a typing error or a misunderstanding is above it.
	minRegisterInterval = time.Second
	maxRegisterInterval = 24 * time.Hour
	// minExpiry and minCheckInterval keep typing errors out of the alias table.
	minExpiry        = time.Second
	minCheckInterval = 100 * time.Millisecond

	// logBurst events of a kind are logged, then one per logEvery: all clients come at once after a power cut, and 5,000
	// of them that register once an hour are 1.4 events of each kind a second.
	logBurst = 500
	logEvery = 500 * time.Millisecond
	// logPeerBurst of them, then one per logPeerEvery, are of one peer: what happens once tells as much as what happens
	// often.
	logPeerBurst = 10
	logPeerEvery = time.Minute
	// logStrangerBurst and logStrangerEvery are for the kinds that anybody can cause who has a key of this node, under as
	// many keys as they like, and for failures of this machine that every registration meets.
	logStrangerBurst = 20
	logStrangerEvery = 10 * time.Second
	// maxLogPeers bounds the peers whose lines are counted for one kind. Those beyond share the pace of the kind.
	maxLogPeers = 1024
	// logSummary is how often a line says what was left out.
	logSummary = time.Minute
)
