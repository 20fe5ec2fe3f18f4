package udp

import "time"

// Chosen by us.
const (
	// readBuffer is the receive buffer we ask the kernel for, in bytes; readBufferLeast is where we stop
	// halving it if the kernel refuses. A burst at 1 Gbit/s fills the larger one in 8 ms.
	readBuffer      = 1 << 20
	readBufferLeast = 64 << 10
	// writeBuffer is the send buffer: what a turn sends and the interface has not taken yet.
	writeBuffer = 1 << 20
	// maxDatagram is the largest datagram we receive; larger ones are dropped. Nothing in the protocol is
	// larger than an Ethernet frame.
	maxDatagram = 2048
	// readBatchFirst and readBatch are how many datagrams one read takes, for a socket that was quiet so
	// far and for a busy one. The buffers of a batch are the price, and hole punching opens 256 sockets.
	readBatchFirst = 2
	readBatch      = 32
	// writeBatch is how many datagrams one system call sends.
	writeBatch = 64
	// outMax and outBytesMax bound what waits for the turn's end; beyond, it leaves at once.
	outMax      = 512
	outBytesMax = 512 << 10
	// rounds is how many rounds of posted closures and due timers one holder of the loop runs before it
	// lets others have it.
	rounds = 8
	// documentationAddr stands for the internet where the kernel is asked for the route to it (RFC 5737).
	documentationAddr = "192.0.2.1:9"
	// lookupTimeout bounds a name lookup.
	lookupTimeout = 10 * time.Second
	// turnBudget is how long a turn may take before it is traced.
	turnBudget = time.Millisecond
	// errorPause slows a reader down whose socket fails every time.
	errorPause = 10 * time.Millisecond
	// errorsInARow is how many failures a reader takes for accidents.
	errorsInARow = 16

	// sleepCheckInterval is how often the host looks whether the machine has slept; sleepNoise is less than
	// anybody sleeps and more than two clocks differ by.
	sleepCheckInterval = time.Second
	sleepNoise         = 100 * time.Millisecond
)
