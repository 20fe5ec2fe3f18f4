package stun

import "time"

// Fixed by the protocol.
const (
	// firstTimeout before a request is repeated; it doubles each time (RFC 8489, section 6.2.1).
	firstTimeout = 500 * time.Millisecond
	// defaultPort of a STUN server over UDP (RFC 8489, section 8).
	defaultPort = 3478
	headerSize  = 20
	magicCookie = 0x2112a442
)

// Our choice.
const (
	// transmissions of a request. RFC 8489 has seven, over 40 s; a peer that waits for our NAT's kind gives up
	// long before.
	transmissions = 3
	// lastTimeout is how long the last transmission is waited for: longer than any round trip.
	lastTimeout = time.Second
	// probeTimeout bounds a probe as a whole, lookups of names included.
	probeTimeout = 5 * time.Second
	// maxServers bounds the servers of a client; each costs up to two requests per probe.
	maxServers = 16
	// maxTransactions bounds the requests that wait for answers. A scraper that is dialled by a thousand clients
	// at once has as many sockets to ask for.
	maxTransactions = 4096
	// maxMessage bounds what is looked at: the guaranteed size of RFC 8489, section 6.1, is smaller.
	maxMessage = 1280
	// resolveAge is how long an address is used before its name is looked up again, resolvePause how long after
	// a failure, or when a server is silent.
	resolveAge   = time.Hour
	resolvePause = time.Minute

	// rateWindow, and how many answers one source, and all of them, get in it. A thousand clients behind one
	// NAT that start at once, two requests each, are served by their retransmissions.
	rateWindow = time.Second
	sourceRate = 200
	totalRate  = 5000
	maxSources = 1024 // told apart in a window; further ones get nothing
	maxUnknown = 4    // attributes named in a refusal
	maxName    = 255  // bytes of a server's name
)
