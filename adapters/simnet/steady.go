package simnet

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// steady is the steady clock of one boot: linear from a known point.
type steady struct {
	base  host.Instant // what it showed at since
	since host.Instant // in time of the net
	drift float64      // seconds gained per second
}

func (s *steady) at(now host.Instant) host.Instant {
	t := s.base + (now - s.since)
	if s.drift != 0 {
		t += host.Instant(math.Floor(s.drift * float64(now-s.since)))
	}
	return t
}

// when returns the first instant of the net at which the clock shows t or more.
func (s *steady) when(t host.Instant) host.Instant {
	if s.drift == 0 {
		return s.since + (t - s.base)
	}
	// Floats have 53 bits, so the first guess can be off by a little.
	guess := s.since + host.Instant(float64(t-s.base)/(1+s.drift))
	for s.at(guess) < t {
		guess++
	}
	for s.at(guess-1) >= t {
		guess--
	}
	return guess
}

// timeout returns when a timer that is armed now for d fires, in time of the net.
func (h *Host) timeout(d time.Duration) host.Instant {
	d = min(max(d, 0), farthest)
	if h.steady.drift == 0 {
		return h.lane.now.Add(d)
	}
	return max(h.steady.when(h.Now().Add(d)), h.lane.now)
}

// SetDrift makes the steady clock of the machine gain seconds per second from now on, or lose them where gain is negative;
// it must be more than -1. Real crystals are off by up to 0.0001. Armed timers follow it. The wall clock has a drift of its
// own. The setting outlives restarts.
func (h *Host) SetDrift(gain float64) { h.m.setDrift(gain) }

func (m *machine) setDrift(gain float64) {
	if gain <= -1 {
		panic("simnet: steady time does not go back")
	}
	m.drift = gain
	h := m.host
	if h == nil {
		return
	}
	l, old := h.lane, h.steady
	h.steady = steady{base: h.Now(), since: l.now, drift: gain}
	var pending []*event
	l.agenda.each(func(entry entry) {
		if e := entry.ev; e.host == h && e.timer && e.armed && e.placed == entry.seq {
			pending = append(pending, e)
		}
	})
	slices.SortFunc(pending, func(a, b *event) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq)) })
	for _, e := range pending {
		due := h.steady.when(old.at(e.due))
		e.disarm()
		h.timers++
		l.arm(e, max(due, l.now))
	}
}
