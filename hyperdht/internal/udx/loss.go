package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// rackState follows the most recently sent packet that has arrived: whatever left clearly before it and
// has not arrived is lost (RFC 8985).
type rackState struct {
	order      uint64 // of that packet's transmission; 0 before there is one
	rtt        time.Duration
	reordering bool // the path was seen to reorder
}

func (r *rackState) acked(order uint64, rtt time.Duration) {
	if order > r.order {
		r.order, r.rtt = order, rtt
	}
}

// reorderWindow is how much later than expected a packet may be. Without a sign of reordering, three
// packets above a hole are proof enough, as in the days of duplicate acks.
func (m *Machine) reorderWindow() time.Duration {
	if !m.rack.reordering && (m.state != open || m.sacked >= 3) {
		return 0
	}
	return min(m.rtt.smallest/4, m.rtt.smoothed)
}

// detectLosses marks packets lost, or arms the timer that will.
func (m *Machine) detectLosses(now host.Instant, s *ackSample) {
	m.timers.reorder = never
	window := m.reorderWindow()
	var next *packet
	for p := m.flight.head; p != nil && p.order < m.rack.order; p = next {
		next = p.next // in the order sent
		if deadline := p.sent.Add(m.rack.rtt + window); now.Before(deadline) {
			m.timers.reorder = deadline
			break
		}
		m.markLost(p, s)
	}
	if s.lost > 0 && m.state == open {
		m.state = recovering
		m.recoveryPoint = m.sent
		m.stats.Recoveries++
	}
}

// markLost takes a packet out of flight. A lost probe says that it was too large, not that the path is
// full, so it does not count (§11).
func (m *Machine) markLost(p *packet, s *ackSample) {
	m.flight.remove(p)
	m.inFlight -= p.size()
	m.inFlightPayload -= p.payload()
	m.lost.add(p.seq)
	if p.probe {
		p.probe = false
		m.mtu.lost()
	} else {
		s.lost += p.size()
	}
}

// updateRecovery ends a recovery once everything sent before it has arrived.
func (m *Machine) updateRecovery() {
	if m.state != open && !m.acked.Before(m.recoveryPoint) {
		m.state = open
	}
}

// onReorderTimeout finds the packets whose time has run out.
func (m *Machine) onReorderTimeout(now host.Instant) {
	s := ackSample{priorInFlight: m.inFlight, before: m.state, mss: m.mss()}
	m.detectLosses(now, &s)
	s.recovery = m.state
	m.takeSample(&s)
	m.bbr.setCwnd(&s)
}

// onTailProbe makes the peer answer when the end of a flight may be lost: with new data, or with the
// highest packet again. It ignores window and congestion control: it is one packet (§9.5).
func (m *Machine) onTailProbe(now host.Instant) {
	if m.probed || m.state != open || m.flight.empty() {
		return
	}
	m.probed = true
	var p *packet
	if m.sent != m.next && int(m.sent-m.acked) < maxOutstanding {
		p = m.ring.at(m.sent)
	} else {
		for s := m.sent; p == nil; {
			s--
			p = m.ring.at(s)
		}
	}
	if !m.mayLeave(p) {
		return
	}
	m.stats.TailProbes++
	if p.seq != m.sent {
		if p.flying {
			m.inFlight -= p.size()
			m.inFlightPayload -= p.payload()
		}
		if p.probe {
			p.probe = false
			m.mtu.lost()
		}
	}
	m.send(now, p)
	m.timers.rto = now.Add(m.rtt.rto)
}

// onTimeout is the expiry of the retransmission timer (§9.3). The interval does not grow beyond
// twice the timeout, so that an unreachable peer is given up after 13 s as its upper layers expect.
func (m *Machine) onTimeout(now host.Instant) {
	m.expiries++
	m.stats.Timeouts++
	if m.expiries >= maxExpiries && !m.persistent {
		if m.onlyEndMissing() {
			m.close(nil)
		} else {
			m.close(ErrTimeout)
		}
		return
	}
	before := m.state
	m.state, m.recoveryPoint = timedOut, m.sent
	m.timers.reorder, m.timers.tail = never, never
	var s ackSample
	var next *packet
	for p := m.flight.head; p != nil; p = next {
		next = p.next
		if p.seq == m.acked || !now.Before(p.sent.Add(m.rack.rtt+m.reorderWindow())) {
			m.markLost(p, &s)
		}
	}
	m.suspectSize()
	m.bbr.onTimeout(m.inFlight, m.mss(), before)
	m.timers.paceNext = min(m.timers.paceNext, now)
	m.timers.rto = now.Add(2 * m.rtt.rto)
}

// onlyEndMissing reports whether the peer has ended, and has acknowledged all but our bare END. It has
// most likely closed, and its last ack was lost: peers keep no TIME_WAIT. That is no failure (§18.2). It
// is decided only when everything was tried: a peer that is alive behind a bad path and never got our
// END would wait for it for ever.
func (m *Machine) onlyEndMissing() bool {
	return m.endReported && m.bareEnd && m.acked+1 == m.next
}
