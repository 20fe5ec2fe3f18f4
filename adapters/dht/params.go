package dht

import "time"

// Fixed by the protocol (dht-prom-alias-rpc and dht-prom-client, index.js and lib/encodings.js).
const (
	protocolAlias   = "register-alias"
	methodAlias     = "alias"
	protocolMetrics = "prometheus-metrics"
	methodMetrics   = "metrics"

	// The supported versions. A request of another major or a higher minor version is rejected; a minor version of 0 is
	// accepted, though the JavaScript cannot send it.
	majorVersion        = 1
	minorVersion        = 1
	metricsReplyVersion = 0
)

// Additions and limits of this implementation.
const (
	// methodLeave withdraws a registration; methodPing requests an empty answer.
	methodLeave = "leave"
	methodPing  = "ping"
	// methodReleased is an event of a scraper that no longer has an alias of the client.
	methodReleased = "released"
	// methodTargets and methodTargetsCommit register a set; the content between them comes in events methodTargetsData.
	methodTargets       = "targets"
	methodTargetsData   = "targets-data"
	methodTargetsCommit = "targets-commit"

	// setPiece is the length of the pieces of a set's content in bytes, and setPieces how many are sent in one turn. Answers on the same
	// connection are sent between them.
	setPiece  = 16 << 10
	setPieces = 4
	// setResends is the number of times that the content is sent again because the scraper's set has changed meanwhile.
	setResends = 2
	// maxSet bounds the content of a set that is kept until its commit, in bytes: 5,000 targets of 1,600 bytes each.
	maxSet = 8 << 20
	// maxSets bounds that of all clients of a process.
	maxSets = 8 * maxSet
	// maxSetTime bounds the time from the first piece of a content to its commit: clients give up as long after their request (app
	// setTimeout).
	maxSetTime = time.Minute
	// maxProofs bounds the proofs of former keys in a content: versions without sets have that many targets in a client.
	maxProofs = 256
	// heldSetTimeout limits the wait for the first answer to the registration of a set on a held connection; after it the scraper is
	// dialled. It is a write to a slow disk, and the round trips of a slow path that a dial would take, too.
	heldSetTimeout = 2 * time.Second

	// DefaultMaxName is the length of the longest name in a registration that is validated, in bytes. It is far above the
	// limits of domain, so that their errors give the reason; it keeps megabytes out of events and logs.
	DefaultMaxName = 4096
	// maxMessage bounds the messages that are sent with a rejection, and those received from a peer.
	maxMessage = 1024

	// publicAddrEvery is the time between lookups of the name of the node's public address, and publicAddrRetry while it has none, and for
	// publicAddrHurry lookups after a move: the name follows later.
	publicAddrEvery = 5 * time.Minute
	publicAddrRetry = 10 * time.Second
	publicAddrHurry = 12

	// mappingFirst is the time from the start to the first decision about a port mapping, and mappingEvery the longest between two.
	mappingFirst = 250 * time.Millisecond
	mappingEvery = 10 * time.Second
	// mappingPatience is the time after which a node whose NAT cannot be classified asks for a mapping.
	mappingPatience = 30 * time.Second
	// mappingLosses is the number of lost punches after which a node with a NAT that can be punched asks for a mapping: one is often the fault
	// of the other side.
	mappingLosses = 2
	// mappingTries is the number of verifications of a mapping, mappingRetry the time between two, and mappingRest the time until a
	// router that forwards nothing is asked again.
	mappingTries = 3
	mappingRetry = 10 * time.Second
	mappingRest  = time.Hour

	// maxGoodbyes bounds the goodbyes on one connection: a scraper accepts a burst of 32 requests (app requestBurst).
	maxGoodbyes = 24

	// maxGoodbyeDials bounds the concurrent dials for goodbyes: a process with 250 targets at 16 scrapers dials 176
	// connections in the 1.5 s it has for goodbyes.
	maxGoodbyeDials = 32

	// metricsLinger limits the wait of a registered client for the scraper to open a metrics channel on the same
	// connection. A scraper that wants one does so immediately; this leaves room for slow links.
	metricsLinger = 5 * time.Second
	// aliasLinger limits how long a scraper keeps a connection after its registration channel was closed, until it opens a
	// metrics channel or the client closes the connection.
	aliasLinger = 10 * time.Second
	// maxUnread bounds the answers that a scraper has not read, over all of its connections, in bytes of memory: a page of
	// the maximum size, which takes 24 MB, and room for the next one where pages are of the usual size.
	maxUnread = 32 << 20
	// maxUnreadTotal bounds those of all scrapers of a process.
	maxUnreadTotal = 4 * maxUnread
	// answerStall limits the time without an acknowledgement from a scraper while another one finds no room. A connection
	// without any packet for 15 s is closed anyway.
	answerStall = 15 * time.Second
	// answerStarve limits the wait of a scraper with nothing unread for others that read slowly: the longest scrape timeout.
	answerStarve = 5 * time.Minute
	// maxWaitingAnswers bounds the requests on a connection that wait for room: a scraper has at most 64 in progress for one
	// client, and a process may serve hundreds of clients to one scraper.
	maxWaitingAnswers = 64
	// firstAnswer is the assumed memory of the first answer, in bytes: more than most pages.
	firstAnswer = 1 << 20
	// answerRetry is the interval at which waiting requests are checked for room.
	answerRetry = 50 * time.Millisecond
	// saveNodesAfter is the time from the start to the first save of the known DHT nodes, and saveNodesEvery the interval
	// afterwards. They are saved on close, too.
	saveNodesAfter = time.Minute
	saveNodesEvery = 10 * time.Minute
	// closeGrace limits the wait on close for servers to be unannounced and connections to close cleanly. The last data has
	// then been acknowledged, or retransmitted a few times.
	closeGrace = 3 * time.Second
)
