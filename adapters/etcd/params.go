package etcd

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/kv"
)

const (
	defaultPrefix = "/dhtprom/"
	defaultTTL    = 5 * time.Second
	// marginShare is the part of a lease's time-to-live that a leader leaves unused: it covers clocks that differ by 1 %, and delays.
	marginShare = 5
	// pause is the time between attempts of what is part of a write, and longPause that of the rest.
	pause     = 200 * time.Millisecond
	longPause = time.Second
	// patience is the time for which a change waits for a store that cannot be reached: peers wait for an answer.
	patience = 4 * time.Second
	// readPatience is the time for which Load waits: some attempts that each end without an answer.
	readPatience = 15 * time.Second
	// leaveTime bounds the time of Leave.
	leaveTime = 3 * time.Second
	// maxQueue bounds the changes that wait for the store, far above the limits of the use cases.
	maxQueue = 1 << 16
	// decodeStep is the number of records that Load decodes in a turn: some milliseconds.
	decodeStep = 1000
	// maxOps and maxSize bound the operations of a write, which also has a fence, and the bytes of their keys and values.
	maxOps  = kv.MaxOps - 4
	maxSize = kv.MaxBytes - 16<<10
	// maxFences bounds the fences under a lease.
	maxFences = 1000
	// chunkSize is the size at which a chunk of a change ends, and maxChunks the largest number of chunks. One transaction removes them.
	chunkSize = 256 << 10
	maxChunks = maxOps - 1
)
