package udp

import "time"

// Chosen by this implementation.
const (
	// readBuffer is the requested size of the kernel's receive buffer, in bytes. If the kernel rejects it, it is
	// halved down to readBufferLeast. A burst at 1 Gbit/s fills the larger one in 8 ms.
	readBuffer      = 1 << 20
	readBufferLeast = 64 << 10
	// writeBuffer is the size of the kernel's send buffer, in bytes.
	writeBuffer = 1 << 20
	// maxDatagram is the size of the largest received datagram; larger ones are dropped. No datagram of the
	// protocol is larger than an Ethernet frame.
	maxDatagram = 2048
	// readBatchFirst and readBatch are the numbers of datagrams in one read, for a new socket and for a busy one.
	// A batch needs a buffer for each, and hole punching opens 256 sockets.
	readBatchFirst = 2
	readBatch      = 32
	// bulkSockets is the number of sockets of a host whose datagrams are coalesced, bulkBuffer the requested size of their receive
	// buffers in the kernel, which 20 peers at a time may fill, bulkBatch the number of messages in one read of them, and bulkSize the
	// size of a message in bytes, the largest of UDP.
	bulkSockets = 8
	bulkBuffer  = 4 << 20
	bulkBatch   = 8
	bulkSize    = 64 << 10
	// writeBatch is the number of messages that one system call sends, segments the number of datagrams in a message that all versions
	// of Linux accept, and headersSize is subtracted from the largest message.
	writeBatch  = 64
	segments    = 64
	headersSize = 128
	// outMax and outBytesMax bound the datagrams queued until the turn's end; at the limit they are sent at once.
	outMax      = 512
	outBytesMax = 512 << 10
	// rounds is the number of rounds of posted closures and due timers that one holder of the loop runs before it
	// releases the loop.
	rounds = 8
	// documentationAddr is the destination for looking up the route to the internet (RFC 5737).
	documentationAddr = "192.0.2.1:9"
	// addrsLifetime bounds the age of the list of the machine's addresses. A node looks for changes every five seconds.
	addrsLifetime = time.Second
	// lookupTimeout bounds a name lookup.
	lookupTimeout = 10 * time.Second
	// turnBudget is the duration above which a turn is traced.
	turnBudget = time.Millisecond
	// errorPause is the delay between reads of a socket that keeps failing.
	errorPause = 10 * time.Millisecond
	// errorsInARow is the number of successive failures without that delay.
	errorsInARow = 16

	// sleepCheckInterval is the interval of checks whether the machine has slept; sleepNoise is shorter than any
	// sleep and longer than the difference between readings of two clocks.
	sleepCheckInterval = time.Second
	sleepNoise         = 100 * time.Millisecond
)
