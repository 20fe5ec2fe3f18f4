package udx

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// BlackHoleError ends a stream whose path has begun to swallow its packets while smaller ones pass, as when a tunnel has
// come into the way without notice. Outstanding packets cannot be split again, since a number stands for a packet: another
// stream has to carry the data, which begins with small packets.
type BlackHoleError struct {
	Size int // of the packets that are lost, all headers included
}

// Error implements error.
func (e *BlackHoleError) Error() string {
	return fmt.Sprintf("udx: packets of %d bytes do not arrive any more, while smaller ones do", e.Size)
}

// Narrow reports whether the packets were no larger than those that streams begin with: then the next one has to begin with
// smaller ones.
func (e *BlackHoleError) Narrow() bool { return e.Size <= baseMTU }

// blackHole finds out whether the oldest packet is lost for its size (RFC 8899, section 4.3). The retransmission timeout brings
// the suspicion; then the packet is repeated with a heartbeat behind it, which is small and is answered at once. If the heartbeat is
// answered 6 times and the packet never, the stream ends with a BlackHoleError. The states are those of blackHoleTable.
//
// A queue that others keep nearly full has room for small packets only, too, but not so often in a row.
//
// Not every packet from the peer is an answer. Messages and repeated data leave without anything having arrived there, and
// what comes sooner than a round trip, as those of late have been, may have left before. Where a path has become so slow that
// each packet is repeated before it is acknowledged, no round trip is measured: the first suspect that is acknowledged after all
// shows how late answers may be, and the next ones wait as long.
//
// The reference takes 13 s for it, with silence from its peer.
type blackHole struct {
	state blackHoleState
	tries uint8         // heartbeats that were answered
	seq   Seq           // of the suspect
	first host.Instant  // when the first heartbeat left
	asked host.Instant  // asking: when the last one did
	took  time.Duration // from the first heartbeat to its answer, where nothing else has measured the round trip
}

func (h *blackHole) become(next blackHoleState, faults *states.Faults) {
	blackHoleTable.Become(&h.state, next, faults)
}

// end drops the suspicion, if there is one.
func (h *blackHole) end(faults *states.Faults) {
	if h.state != blackHoleWatching {
		h.become(blackHoleWatching, faults)
	}
	*h = blackHole{}
}

// suspectSize begins to look for a black hole if the oldest packet is large. A stream without any answer yet has
// nothing to learn from that, and one whose remote changes is about to have another path.
func (m *Machine) suspectSize() {
	p := m.out.ring.at(m.out.acked)
	if p == nil || p.size() <= narrowMTU || m.loss.persistent || m.path.changing {
		return
	}
	if m.hole.seq != p.seq {
		m.hole.end(m.faults)
	}
	if m.hole.state == blackHoleWatching {
		m.hole = blackHole{seq: p.seq}
	}
	if m.hole.state != blackHoleDue {
		m.hole.become(blackHoleDue, m.faults)
	}
	m.timers.hole = never
}

// askSize sends the heartbeat once the suspect has left again.
func (m *Machine) askSize(now host.Instant) {
	if m.hole.state != blackHoleDue {
		return
	}
	if p := m.out.ring.at(m.hole.seq); p != nil && p.flying && p.sent == now {
		m.hole.become(blackHoleAsking, m.faults)
		m.hole.asked = now
		if m.hole.first == 0 {
			m.hole.first = now
		}
		m.sendHeartbeat()
	}
}

// passSize handles the arrival of a packet of some size at the peer: the path carries others of that size.
func (m *Machine) passSize(now host.Instant, size int) {
	if m.hole.state == blackHoleWatching {
		return
	}
	if suspect := m.out.ring.at(m.hole.seq); suspect == nil || size >= suspect.size() {
		if m.hole.tries > 0 { // what answered was no answer
			m.rtt.unmeasured = max(m.rtt.unmeasured, now.Sub(m.hole.first))
		}
		m.hole.end(m.faults)
		m.timers.hole = never
	}
}

// answerSize handles a packet that may answer the heartbeat. repeated reports that the peer has sent it before.
func (m *Machine) answerSize(now host.Instant, p *Packet, repeated bool) {
	switch {
	case m.hole.state == blackHoleWatching:
		return
	case m.out.acked != m.hole.seq:
		m.hole.end(m.faults)
		return
	case m.hole.state != blackHoleAsking || p.Flags&FlagMessage != 0 || repeated || now.Sub(m.hole.asked) < m.answerTime():
		return
	}
	if m.hole.took == 0 {
		m.hole.took = now.Sub(m.hole.asked)
	}
	suspect := m.out.ring.at(m.hole.seq)
	if int(m.window.size) < suspect.payload() { // it may have arrived, and found no room
		m.hole.end(m.faults)
		return
	}
	if m.hole.tries++; m.hole.tries == blackHoleTries {
		m.stats.BlackHoles++
		m.sendDestroy() // or the peer would wait for what does not arrive
		m.close(&BlackHoleError{Size: suspect.size()})
		return
	}
	m.hole.become(blackHolePausing, m.faults)
	m.timers.hole = now.Add(blackHolePause)
}

// answerTime is the least time of an answer to a heartbeat: what comes sooner may have left before the heartbeat came.
func (m *Machine) answerTime() time.Duration {
	if m.rtt.known {
		return max(m.rtt.smallest, m.rtt.smoothed-2*m.rtt.variance, m.rtt.unmeasured)
	}
	return max(m.hole.took, m.rtt.unmeasured)
}

// repeatSuspect has the suspect leave again.
func (m *Machine) repeatSuspect() {
	p := m.out.ring.at(m.hole.seq)
	if m.hole.state != blackHolePausing || p == nil || p.seq != m.hole.seq {
		return
	}
	m.hole.become(blackHoleDue, m.faults)
	if p.flying {
		var s ackSample
		m.markLost(p, &s)
	}
}
