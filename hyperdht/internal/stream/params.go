package stream

import "time"

// Our choice; peers cannot tell.
const (
	// lingerTime is the time for which a cleanly closed stream repeats its last acknowledgement. The reference
	// gives up on an unanswered END after 13 s (spec/udx.md §18.1).
	lingerTime = 30 * time.Second
	// maxLingering bounds the closed streams remembered; the oldest go first.
	maxLingering = 1024
	// MaxConfined bounds what one stream of an unproven peer makes its node hold, in bytes of memory: packets received
	// out of order, packets sent and not acknowledged, what the layers above hold, and the objects themselves.
	MaxConfined = 64 << 10
	// maxConfinedTotal bounds that of all such streams together: a thousand at their most, six times as many of honest
	// peers, which hold ten kilobytes each for a round trip or two.
	maxConfinedTotal = 64 << 20
	// confinedReceive is the part of MaxConfined for received packets: an initial flight of ten packets with the first one lost.
	confinedReceive = 20 << 10
	// maxNarrow bounds the remembered hosts to which packets of the usual size get lost.
	maxNarrow = 64
	// narrowTime is the lifetime of such an entry. Each stream searches upwards from small packets, so that a path that has become wide costs some
	// round trips of small packets; one that is forgotten too early costs a connection. RFC 1191 and RFC 8899 try a larger
	// size after ten minutes, where that costs a packet. Addresses pass on to others within a day or so.
	narrowTime = 24 * time.Hour
	// streamMemory is the memory of an idle stream: machine, timer and table entries.
	streamMemory = 3 << 10
)
