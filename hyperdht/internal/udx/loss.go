package udx

import (
	"math"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// lossDetection finds out which packets are lost: by RACK, by tail-loss probes, and by the retransmission timeout.
type lossDetection struct {
	rack          rackState
	transmissions uint64       // of packets, so far
	heardAt       host.Instant // when the last packet of the peer came
	state         recoveryState
	recoveryPoint Seq
	expiries      int32  // of the retransmission timer, without progress between them
	stalls        uint32 // see Machine.Stalls
	probes        uint8  // tail-loss probes since the last acknowledgement
	persistent    bool   // does not give up, however many there are
	hiding        bool   // see hide
	after         afterTimeout
	share         lossShare
	hidden        Seq
}

// afterTimeout is the state since the last timeout; see heard.
type afterTimeout uint8

const (
	notDue  afterTimeout = iota // an acknowledgement, or what was sent again was sent once more; or there was no timeout
	unheard                     // nothing
	isBack                      // a packet of the peer, after a silence
)

// stamp notes the transmission of a packet.
func (l *lossDetection) stamp(now host.Instant, p *packet) {
	l.transmissions++
	p.sent, p.order = now, l.transmissions
	p.transmits++
}

// beginRecovery begins a recovery, which ends when everything before point is acknowledged.
func (l *lossDetection) beginRecovery(state recoveryState, point Seq, faults *states.Faults) {
	recoveryTable.Become(&l.state, state, faults)
	l.recoveryPoint = point
}

// endRecovery ends a recovery once everything sent before it has arrived.
func (l *lossDetection) endRecovery(acked Seq, faults *states.Faults) {
	if l.state != open && !acked.Before(l.recoveryPoint) {
		recoveryTable.Become(&l.state, open, faults)
	}
}

// progress starts the count of timeouts again.
func (l *lossDetection) progress() { l.expiries, l.after = 0, notDue }

// hide marks the rates of what was sent before next: the peer has received more than it can name at once, so that it will seem to take the
// time for it that it takes to name it.
func (l *lossDetection) hide(next Seq) { l.hiding, l.hidden = true, next }

// hides reports whether that is so, after everything before acked was acknowledged.
func (l *lossDetection) hides(acked Seq) bool {
	l.hiding = l.hiding && acked.Before(l.hidden)
	return l.hiding
}

// probe counts a tail-loss probe. The second one means that the first was not answered, which says that a short path has lost packets;
// on a longer one, another may be needed, since round trips grow by more than that.
func (l *lossDetection) probe(short bool) {
	enough := uint8(3)
	if short {
		enough = 2
	}
	if l.probes++; l.probes == enough {
		l.stalls++
	}
}

// expire counts a timeout, and reports whether it was the last one.
func (l *lossDetection) expire() bool {
	l.expiries++
	l.stalls++
	l.after = unheard
	return l.expiries >= maxExpiries && !l.persistent
}

func (l *lossDetection) persist(on bool) {
	if l.persistent && !on {
		l.expiries = min(l.expiries, maxExpiries-3)
	}
	l.persistent = on
}

// judge counts a second of heavy losses as a stall: tail-loss probes repair them before the timer expires.
func (l *lossDetection) judge(now host.Instant) {
	if l.share.bad(now) {
		l.stalls++
	}
}

// lossShare counts packets that were lost and that arrived in a second.
type lossShare struct {
	second        uint32
	lost, arrived int16
}

// add counts packets.
func (l *lossShare) add(lost, arrived int16) {
	l.lost += lost
	l.arrived += arrived
	if max(l.lost, l.arrived) == math.MaxInt16 {
		l.lost, l.arrived = l.lost/2, l.arrived/2
	}
}

// bad reports whether a second has ended in which more than a third of the packets, and at least badLosses, were lost. Congestion loses as
// many, but not for as long: the congestion controller sends no more than arrives.
func (l *lossShare) bad(now host.Instant) bool {
	second := uint32(now / host.Instant(time.Second))
	if second == l.second {
		return false
	}
	bad := l.lost >= badLosses && l.lost > l.arrived/2
	*l = lossShare{second: second}
	return bad
}

// rackState follows the most recently sent packet that has arrived: whatever left clearly before it and
// has not arrived is lost (RFC 8985).
type rackState struct {
	order      uint64 // of that packet's transmission; 0 before there is one
	rtt        time.Duration
	fack       Seq  // after the highest acked packet
	reordering bool // the path was seen to reorder
	// wider is the number of quarters of the smallest round trip that the reordering window has grown by, since packets were held for
	// lost that were late: by one in a recovery, as widened notes. It shrinks by one after keep recoveries without such a packet.
	wider   uint8
	keep    uint8
	widened bool
}

// acked takes a packet that has arrived. The acknowledgement of one that is late was that of an earlier transmission.
func (r *rackState) acked(p *packet, took time.Duration, late bool) {
	if !late && p.order > r.order {
		r.order, r.rtt = p.order, took
	}
	if r.fack.Before(p.seq + 1) {
		r.fack = p.seq + 1
	} else if p.transmits == 1 && p.seq+1 != r.fack {
		r.reordering = true
	}
}

// widen widens the reordering window after a packet was held for lost that was late (RFC 8985, section 6.2, with the time of the
// acknowledgement in place of a DSACK).
func (r *rackState) widen() {
	if !r.widened {
		r.wider = min(r.wider+1, widestReorder)
	}
	r.reordering, r.widened, r.keep = true, true, keepWider
}

// recover begins a recovery.
func (r *rackState) recover() {
	r.widened = false
	if r.keep > 0 {
		if r.keep--; r.keep == 0 && r.wider > 0 {
			r.wider, r.keep = r.wider-1, keepWider
		}
	}
}

// reorderWindow is the most that a packet may be later than expected. Without a sign of reordering, three
// packets above a hole are proof enough, as in the days of duplicate acks.
func (m *Machine) reorderWindow() time.Duration {
	if !m.loss.rack.reordering && (m.loss.state != open || m.out.sacked >= 3) {
		return 0
	}
	return min(m.rtt.smallest/4*time.Duration(1+m.loss.rack.wider), m.rtt.smoothed)
}

// detectLosses marks packets lost, or arms the timer that will.
func (m *Machine) detectLosses(now host.Instant, s *ackSample) {
	m.timers.reorder = never
	window := m.reorderWindow()
	var next *packet
	for p := m.out.flight.head; p != nil && p.order < m.loss.rack.order; p = next {
		next = p.next // in the order sent
		if deadline := p.sent.Add(m.loss.rack.rtt + window); now.Before(deadline) {
			m.timers.reorder = deadline
			break
		}
		m.markLost(p, s)
		m.loss.share.add(1, 0)
	}
	m.loss.judge(now)
	if s.lost > 0 && m.loss.state == open {
		m.loss.beginRecovery(recovering, m.out.sent, m.faults)
		m.loss.rack.recover()
		m.stats.Recoveries++
	}
}

// markLost takes a packet out of flight. A lost probe says that it was too large, not that the path is
// full, so it does not count (§11).
func (m *Machine) markLost(p *packet, s *ackSample) {
	m.out.lose(p)
	if p.probe {
		p.probe = false
		m.mtu.lost(m.faults)
	} else {
		s.lost += p.size()
	}
}

// onReorderTimeout finds the packets whose time has run out.
func (m *Machine) onReorderTimeout(now host.Instant) {
	s := ackSample{priorInFlight: m.out.flight.bytes, before: m.loss.state, mss: m.mss()}
	m.detectLosses(now, &s)
	s.recovery = m.loss.state
	m.rate.complete(&s, m.out.flight.bytes)
	m.bbr.setCwnd(&s)
}

// onTailProbe makes the peer answer when the end of a flight may be lost: with new data, or with the
// highest packet again. It ignores window and congestion control: it is one packet (§9.5).
func (m *Machine) onTailProbe(now host.Instant) {
	if !m.mayProbe() {
		return
	}
	m.loss.probe(m.rtt.short())
	p := m.out.newest()
	if !m.path.allows(p) {
		return
	}
	m.stats.TailProbes++
	if p.seq != m.out.sent {
		if p.flying {
			m.out.flight.remove(p)
		}
		if p.probe {
			p.probe = false
			m.mtu.lost(m.faults)
		}
	}
	m.send(now, p)
	if m.loss.probes == 1 {
		m.timers.rto = now.Add(m.rtt.rto)
	}
	m.armTail(now)
}

// onTimeout is the expiry of the retransmission timer (§9.3). The interval does not grow beyond
// twice the timeout, so that an unreachable peer is given up after 13 s as its upper layers expect.
func (m *Machine) onTimeout(now host.Instant) {
	m.stats.Timeouts++
	if m.loss.expire() {
		if m.onlyEndMissing() {
			m.close(nil)
		} else {
			m.close(ErrTimeout)
		}
		return
	}
	m.suspectSize()
	m.sendAgain(now)
	m.timers.rto = now.Add(2 * m.rtt.rto)
}

// heard sends again after a timeout if the peer is heard after a silence: the path works again, as after a router has restarted, and the
// timer may be two timeouts away. A peer that is heard all the time says that the path has become slow, and what is sent again would wait
// behind the rest. What was sent less than two round trips ago may still arrive. It is no timeout: it neither counts as one nor moves the
// timer. It happens once after each.
func (m *Machine) heard(now host.Instant) {
	l, wait := &m.loss, max(2*m.rtt.smoothed, probeFloor)
	if l.after == unheard && !now.Before(l.heardAt.Add(wait)) {
		l.after = isBack
	}
	l.heardAt = now
	oldest := m.out.flight.head
	if m.closed || l.after != isBack || oldest == nil || now.Before(oldest.sent.Add(wait)) {
		return
	}
	l.after = notDue
	m.sendAgain(now)
}

// sendAgain takes what is under way for lost.
func (m *Machine) sendAgain(now host.Instant) {
	before := m.loss.state
	m.loss.beginRecovery(timedOut, m.out.sent, m.faults)
	m.timers.reorder, m.timers.tail = never, never
	var s ackSample
	var next *packet
	for p := m.out.flight.head; p != nil; p = next {
		next = p.next
		if p.seq == m.out.acked || !now.Before(p.sent.Add(m.loss.rack.rtt+m.reorderWindow())) {
			m.markLost(p, &s)
		}
	}
	m.bbr.onTimeout(m.out.flight.bytes, m.mss(), before)
	m.pacer.hurry(now)
}

// onlyEndMissing reports whether the peer has ended, and has acknowledged all but our bare END. It has
// most likely closed, and its last ack was lost: peers keep no TIME_WAIT. That is no failure (§18.2). It
// is decided only when everything was tried: a peer that is alive behind a bad path and never got our
// END would wait for it forever.
func (m *Machine) onlyEndMissing() bool {
	return m.in.endReported && m.writer.bareEnd && m.out.acked+1 == m.out.next
}
