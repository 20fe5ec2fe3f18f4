package client

import "time"

const (
	// callTimeout bounds a transaction, and each part of a list.
	callTimeout = 5 * time.Second
	// maxCalls bounds the transactions and lists under way, and maxWaiting those that wait for them.
	maxCalls   = 64
	maxWaiting = 4096
	// firstPause and lastPause bound the pause before a request is sent again, which doubles.
	firstPause, lastPause = 20 * time.Millisecond, 500 * time.Millisecond

	// pageSize is the number of keys in a part of a list.
	pageSize = 500
	// listRestarts bounds how often a list begins again because its revision was compacted.
	listRestarts = 3

	// watchTimeout bounds the wait for a watch to begin.
	watchTimeout = 5 * time.Second

	// connectTimeout bounds the wait for a connection, and reconnectPause the pause after a failed one.
	connectTimeout, reconnectPause = 3 * time.Second, 2 * time.Second
	// aliveEvery is the interval of pings on a silent connection, the least that gRPC has; aliveTimeout bounds the wait for an answer,
	// and for the acknowledgement of anything sent.
	aliveEvery, aliveTimeout = 10 * time.Second, 5 * time.Second

	// maxMessage bounds a request in bytes: more than kv.MaxBytes, with conditions and framing.
	maxMessage = 2 << 20
	// maxPassword bounds a password file in bytes.
	maxPassword = 4096
)
