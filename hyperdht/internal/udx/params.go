package udx

import "time"

// Fixed by the protocol, or by what every deployed peer does (libudx as shipped in udx-native 1.21.3).
const (
	// HeaderSize is the length of every packet header.
	HeaderSize = 20

	magic   = 0xff
	version = 1

	// MaxDatagram is the most a peer reads of one datagram; anything longer would be cut (§1.3).
	MaxDatagram = 2048
	// MaxMessage is the longest unordered message that fits a datagram. Those above the path MTU are
	// fragmented or lost.
	MaxMessage = MaxDatagram - HeaderSize

	// MaxSACKBlocks is the most blocks that the reference puts into one packet (§1.1).
	MaxSACKBlocks = 50
	blockSize     = 8

	// questionSize is the length of a question's number.
	questionSize = 4

	// DefaultWindow is the send window before the peer's first packet, and what the reference advertises.
	DefaultWindow = 4 << 20

	// MTU sizes count the IP and UDP headers, as the reference does.
	baseMTU      = 1200
	maxMTU       = 1500
	mtuStep      = 32
	mtuAttempts  = 3
	overheadIPv4 = 20 + 8
	overheadIPv6 = 40 + 8

	minRTO     = 1000 * time.Millisecond
	maxRTO     = 30000 * time.Millisecond
	initialRTO = 1000 * time.Millisecond
	// maxExpiries consecutive timeouts without progress close the stream: 13 s at the smallest RTO.
	maxExpiries = 7

	// An RTT sample beyond this and beyond five deviations comes from a machine that slept (§9.2).
	rttOutlier = 5000 * time.Millisecond
	// minRTTWindow is the lifetime of the smallest RTT of RACK.
	minRTTWindow = 300 * time.Second

	// A sender reports back-pressure above this much unacked data, plus what may be in flight (§10).
	highWater = 256 << 10
)

// Our choice.
const (
	// DefaultReceiveBuffer is advertised while the reader keeps up; equal to the reference's.
	DefaultReceiveBuffer = DefaultWindow
	// windowSlack is accepted beyond the advertised window, because probes and retransmissions are not
	// bound by it (§7).
	windowSlack = 64 << 10
	// minWindow is the smallest window advertised but 0: older senders round less down to nothing
	// without probing and would stall (§7).
	minWindow = 1500
	// maxGapped is the most bytes beyond a gap that do not count in the window.
	maxGapped = DefaultReceiveBuffer
	// maxReorder bounds how far above the next expected packet one is kept. 4 MiB in packets of the
	// smallest size are 7944.
	maxReorder = 8192
	// maxOutstanding bounds the sent and unacked packets, so that tiny packets cannot take memory that
	// the byte limits do not see. Staying within maxReorder, a peer of this kind keeps all of them.
	maxOutstanding = maxReorder
	// maxMergedAcks is the most packets of one turn that may share an acknowledgement. The reference's sender
	// was seen to be at ease with 8 to 32 (§6).
	maxMergedAcks = 32
	// lowBlocks is the number of the lowest blocks that each acknowledgement of more blocks than fit names: repairs arrive there.
	lowBlocks = 10
	// newsRepeats is the number of acknowledgements that name what is new, since they get lost.
	newsRepeats = 3
	// probeDelay is added to the tail-loss timer for the peer's ack merging, probeFloor keeps it above
	// the jitter of real timers.
	probeDelay = 2 * time.Millisecond
	probeFloor = 5 * time.Millisecond
	// shortRTT is the round trip up to which one tail-loss probe without an answer shows that a path is bad: the timeout takes a hundred of them.
	shortRTT = 10 * time.Millisecond
	// keepWider is the number of recoveries that a wider reordering window is kept for (RFC 8985), widestReorder bounds its growth; the smoothed
	// round trip does, too.
	keepWider     = 16
	widestReorder = 64
	// badLosses is the fewest losses in a second by which a path is held for bad.
	badLosses = 8
	// narrowMTU is the first MTU of streams where packets of the base MTU get lost: every host takes it (RFC 791).
	narrowMTU = 576
	// blackHoleTries is the number of losses of a large packet in a row, blackHolePause apart and with small ones arriving meanwhile,
	// until it is held for too large: one in a thousand streams that come to a timeout, where a third of all packets is lost.
	blackHoleTries = 6
	blackHolePause = 150 * time.Millisecond
	// drainSlack is the distance below the mark to which the queue must fall before writers are called back, so that
	// they are not woken for each packet.
	drainSlack = 64 << 10
	// paceWake is the shortest sleep of the pacer: real timers are not finer.
	paceWake = time.Millisecond
	// paceCredit and paceBurst bound what may leave at once after idling: two sleeps' worth, and never
	// more than the default receive buffer of a socket holds.
	paceCredit = 2 * paceWake
	paceBurst  = 192 << 10
	// sendRingKept and poolKept are what stays allocated when a stream idles and in a pool.
	sendRingKept = 16
	poolKept     = 1024
)
