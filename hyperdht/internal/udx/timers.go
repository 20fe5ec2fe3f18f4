package udx

import "github.com/dhtprom/dhtprom/ports/host"

// timers are the deadlines of a machine; never means not running.
type timers struct {
	rto        host.Instant
	reorder    host.Instant
	tail       host.Instant
	zeroWindow host.Instant
	keepalive  host.Instant
	hole       host.Instant // repeat a packet that may be too large
	pace       host.Instant // wake up to send on
}

func stoppedTimers() timers {
	return timers{never, never, never, never, never, never, never}
}

// NextDeadline returns the time at which Advance is due, or false if only a packet or a user can bring
// something about.
func (m *Machine) NextDeadline() (host.Instant, bool) {
	t := &m.timers
	at := min(t.rto, t.reorder, t.tail, t.zeroWindow, t.keepalive, t.hole, t.pace)
	return at, at != never
}

// Advance runs what is due, until the machine is closed. A Flush belongs after it.
func (m *Machine) Advance(now host.Instant) {
	t := &m.timers
	due := func(at *host.Instant) bool {
		if m.closed || at.After(now) {
			return false
		}
		*at = never
		return true
	}
	due(&t.pace) // Flush goes on sending
	if due(&t.reorder) {
		m.onReorderTimeout(now)
	}
	switch {
	case due(&t.rto):
		m.onTimeout(now)
	case due(&t.tail):
		m.onTailProbe(now)
	}
	if due(&t.hole) {
		m.repeatSuspect()
	}
	if due(&t.zeroWindow) {
		m.sendHeartbeat()
		t.zeroWindow = now.Add(2 * m.rtt.rto)
	}
	if due(&t.keepalive) {
		if m.out.idle() {
			m.sendHeartbeat()
		}
		m.armKeepalive(now)
	}
}

func (m *Machine) armKeepalive(now host.Instant) {
	m.timers.keepalive = never
	if m.keepalive > 0 && m.path.remote != nil && !m.closed {
		m.timers.keepalive = now.Add(m.keepalive)
	}
}

// armOnSend arms what a packet in flight needs.
func (m *Machine) armOnSend(now host.Instant) {
	if m.timers.rto == never {
		m.timers.rto = now.Add(m.rtt.rto)
	}
	m.armTail(now)
}

// armOnAck restarts the timers after an acknowledgement; progress says that the cumulative one moved.
func (m *Machine) armOnAck(now host.Instant, progress bool) {
	if m.out.idle() {
		m.timers.rto, m.timers.tail, m.timers.reorder = never, never, never
		return
	}
	if progress {
		m.timers.rto = now.Add(m.rtt.rto)
	}
	m.armTail(now)
}

// armTail arms the tail-loss probe: two round trips, twice as long after each probe that was not answered, and never later than the
// retransmission timer.
func (m *Machine) armTail(now host.Instant) {
	m.timers.tail = never
	if !m.mayProbe() {
		return
	}
	wait := initialRTO
	switch {
	case m.rtt.known:
		wait = max(2*m.rtt.smoothed+probeDelay, probeFloor)
	case m.rtt.guess > 0:
		wait = max(2*m.rtt.guess+probeDelay, probeFloor)
	}
	if at := now.Add(wait << min(m.loss.probes, 10)); at.Before(m.timers.rto) {
		m.timers.tail = at
	}
}

// mayProbe reports whether the tail of the flight may be probed: not between a timeout and the next progress. The reference implementation
// probes it once, and not during a recovery. That is not enough: where the probe or the end of what was sent again is lost as well, nothing
// else would notice before the timeout of a second.
func (m *Machine) mayProbe() bool { return m.loss.expiries == 0 && !m.out.flight.empty() }

// updateZeroWindow probes a window that the peer has closed. What was written a moment ago is tried at
// once, in case the news of reopening was lost; then the timer asks on (§8).
func (m *Machine) updateZeroWindow(now host.Instant) {
	switch {
	case m.window.size > 0 || m.out.drained() || !m.out.idle():
		m.timers.zeroWindow = never
	case m.timers.zeroWindow == never:
		if m.writer.wrote {
			m.sendHeartbeat()
		}
		m.timers.zeroWindow = now.Add(m.rtt.rto)
	}
}
