package kad

import "time"

// Fixed by the protocol.
const (
	// K is the size of a bucket and of a lookup's result (kademlia-routing-table index.js).
	K = 20
	// TokenRotation is the interval at which the token secrets rotate: ten drains of 750 ms (dht-rpc lib/io.js).
	TokenRotation = 7500 * time.Millisecond

	healthWindow      = 4   // samples that are kept (dht-rpc lib/health.js)
	offlineThreshold  = 2   // silent samples in a row until we are offline
	idleThreshold     = 4   // with fewer requests a sample says nothing
	degradedThreshold = 0.5 // share of timeouts above which a sample is degraded
)
