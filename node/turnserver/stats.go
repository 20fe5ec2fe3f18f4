package turnserver

import "sync/atomic"

// Stats are the counters of a server. They may be read at any time.
type Stats struct {
	Connections   atomic.Int64  // of clients over TCP or TLS, now
	Allocations   atomic.Int64  // now
	Allocated     atomic.Uint64 // since the start
	Unauthorized  atomic.Uint64 // requests with unknown or expired credentials
	Refused       atomic.Uint64 // allocations beyond a limit
	Crowded       atomic.Uint64 // connections closed for others, before they had allocated
	Forbidden     atomic.Uint64 // requests for peers that are not public, or beyond the permissions or channels of a client
	Throttled     atomic.Uint64 // datagrams dropped because of the bandwidth
	Sent          atomic.Uint64 // datagrams to peers
	SentBytes     atomic.Uint64
	Received      atomic.Uint64 // datagrams from peers
	ReceivedBytes atomic.Uint64
}
