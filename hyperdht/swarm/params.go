package swarm

import "time"

// Numbers of hyperswarm (index.js, lib/peer-discovery.js, lib/peer-info.js, lib/retry-timer.js).
const (
	defaultMaxPeers    = 64
	defaultMaxParallel = 3

	// refreshInterval and refreshJitter are the time from the end of a refresh of a topic to the next one.
	refreshInterval = 10 * time.Minute
	refreshJitter   = 2 * time.Minute

	// lastingConnection is the duration from which a connection resets the count of attempts.
	lastingConnection = 15 * time.Second
	// maxAttempts is the number of attempts after which a peer is only dialled when it is found again, or each hopelessWait if
	// JoinPeer has named it.
	maxAttempts = 3
)

// Waits before dials, in the order of failures; up to retryJitter is added (hyperswarm lib/retry-timer.js, whose waits end up to a
// third earlier or later, since it looks at the peers of a kind together).
const (
	shortWait    = time.Second
	mediumWait   = 5 * time.Second
	longWait     = 15 * time.Second
	hopelessWait = 10 * time.Minute
	// retryJitter is the largest share of a wait that is added at random.
	retryJitter = 4 // a quarter
)

// Chosen by us.
const (
	// youngRefresh is the time from the first refresh of a topic to the second one, up to half of which is added at random. Peers
	// that join at the same time look each other up before either is announced; hyperswarm's wait for the next refresh then.
	youngRefresh = 15 * time.Second
	// failedRefresh is the wait after a failed refresh; it doubles with each further one, up to refreshInterval.
	failedRefresh = 5 * time.Second

	// dialLimit bounds a dial: a punch that guesses ports takes a minute, and waits up to two for its turn.
	dialLimit = 4 * time.Minute
	// settling is the time after the opening of a connection in which another one with the same peer may be the result of a dial that
	// began before. Later it is a sign that the peer has lost the first one.
	settling = 5 * time.Second
	// withdrawLimit bounds the wait for the removal of records.
	withdrawLimit = 10 * time.Second

	defaultMaxIncoming = 256
	// maxTopics bounds the topics of a swarm: each costs a lookup and twenty requests each ten minutes.
	maxTopics = 1024
	// maxKnown bounds the peers that a swarm remembers, where they were found under topics.
	maxKnown = 4096
	// maxFound bounds the keys that are taken from one lookup: twenty of each of the twenty nodes nearest to a topic.
	maxFound = 400
	// maxRelayAddrs bounds the addresses taken from a record.
	maxRelayAddrs = 3
)
