package dht

import "time"

// Fixed by the protocol (dht-prom-alias-rpc and dht-prom-client, index.js and lib/encodings.js).
const (
	protocolAlias   = "register-alias"
	methodAlias     = "alias"
	protocolMetrics = "prometheus-metrics"
	methodMetrics   = "metrics"

	// The versions that are spoken. A request of another major or a higher minor version is refused; a minor
	// version of 0 is accepted, though the JavaScript cannot send it.
	majorVersion        = 1
	minorVersion        = 1
	metricsReplyVersion = 0
)

// Our choice.
const (
	// methodLeave takes a registration back; methodPing asks for nothing but an answer.
	methodLeave = "leave"
	methodPing  = "ping"
	// methodReleased is an event of a scraper: it has no alias of the client any more.
	methodReleased = "released"

	// DefaultMaxName is the longest name in a registration that is looked at, in bytes. It is far above what
	// the rules of domain allow, so that those give the reason; it keeps megabytes out of events and logs.
	DefaultMaxName = 4096
	// maxMessage bounds the messages that go out with a refusal, and those that are taken from a peer.
	maxMessage = 1024

	// maxGoodbyes bounds the goodbyes on one connection: a scraper takes 32 requests at once on each (app requestBurst).
	maxGoodbyes = 24

	// maxGoodbyeDials bounds the connections for goodbyes that are being made: a process with 250 targets at 16 scrapers has
	// 176 to make in the 1.5 s that it takes for them.
	maxGoodbyeDials = 32

	// metricsLinger is how long a registering client waits for the scraper to open a metrics channel on the
	// same connection. A scraper that wants one does so at once; this leaves room for slow links.
	metricsLinger = 5 * time.Second
	// aliasLinger is how long a scraper keeps a connection whose registration channel was closed, for a metrics
	// channel of its own or for the client to end it.
	aliasLinger = 10 * time.Second
	// maxUnread bounds the answers of a scraper that it has not read, over all of its connections, in bytes of memory: a
	// page in full, which takes 24 MB, and room for another one to be under way where pages are of the usual size.
	maxUnread = 32 << 20
	// maxUnreadTotal bounds those of all scrapers of a process.
	maxUnreadTotal = 4 * maxUnread
	// answerStall is how long a scraper may acknowledge nothing while another one finds no room. A connection over which nothing
	// comes for 15 s is given up anyway.
	answerStall = 15 * time.Second
	// answerStarve is how long a scraper that holds nothing waits for others that read slowly: the longest scrape there is.
	answerStarve = 5 * time.Minute
	// maxWaitingAnswers bounds the requests on a connection that wait for that: a scraper has 64 of one client under way at
	// most, and a process may serve hundreds of them to one scraper.
	maxWaitingAnswers = 64
	// firstAnswer is what the first answer is assumed to take, in bytes: more than most pages.
	firstAnswer = 1 << 20
	// answerRetry is how soon a waiting request sees that answers were read.
	answerRetry = 50 * time.Millisecond
	// saveNodesAfter is how long after the start the known DHT nodes are kept for the first time, and saveNodesEvery how often
	// afterwards. They are kept at the end, too.
	saveNodesAfter = time.Minute
	saveNodesEvery = 10 * time.Minute
	// closeGrace bounds how long closing the transport waits for servers to be unannounced and connections to
	// end cleanly. What was sent last has then been acknowledged, or sent again a few times.
	closeGrace = 3 * time.Second
)
