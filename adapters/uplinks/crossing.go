package uplinks

import (
	"time"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// crossing is the time from opening the listeners on the next uplink until it is used.
type crossing struct {
	to      *uplink
	timer   host.Timer
	pending int // listeners that are not announced yet
}

// goOver makes another uplink the one in use.
func (t *Transport) goOver(to *uplink) {
	if t.current == nil || t.current.works == 0 {
		t.openListeners(to, func() {})
		t.move(to, ports.MoveElsewhere)
		return
	}
	c := &crossing{to: to, pending: 1}
	t.over = c
	announced := func() {
		if c.pending--; c.pending == 0 && t.over == c {
			c.timer.Stop()
			t.arrive(c)
		}
	}
	c.timer = t.cfg.Host.AfterFunc(openLimit, func() { t.arrive(c) })
	c.pending += len(t.listeners)
	t.openListeners(to, announced)
	announced()
}

// arrive ends a crossing: the next uplink is used, unless it has failed meanwhile.
func (t *Transport) arrive(c *crossing) {
	t.over = nil
	c.to.observe(t.cfg.Host.Now())
	if c.to.works == 0 || c.to.transport == nil {
		for _, l := range t.listeners {
			l.back(t.current)
		}
		t.judge()
		return
	}
	t.move(c.to, ports.MoveOver)
}

// move uses an uplink from now on.
func (t *Transport) move(to *uplink, m ports.Move) {
	if to == &t.udp {
		t.hold.since = t.cfg.Host.Now()
	}
	from := t.current
	t.use(to)
	t.remember(to.kind)
	if from != nil && from != to && from.works == 0 {
		t.restart(from)
	}
	for _, l := range t.listeners {
		l.drain()
	}
	t.moved(m)
	t.judge()
}

// shut closes an uplink that is not needed any more, when its connections had time to be replaced.
func (t *Transport) shut(u *uplink) {
	if !u.opened || u.ending != nil {
		return
	}
	u.ending = t.cfg.Host.AfterFunc(closeAfter, func() {
		u.ending = nil
		u.end(func() {})
	})
}

// hold is the time for which UDP must work before it is used again.
type hold struct {
	needed time.Duration
	since  host.Instant // when its last use began; zero where it was not used again yet
}

// wait returns the time; none if the other uplink does not work.
func (h *hold) wait(otherWorks bool) time.Duration {
	if !otherWorks {
		return 0
	}
	return h.needed
}

// failed notes that UDP works no more. The next wait is longer if it has worked for a short time only, and as at first otherwise.
func (h *hold) failed(now host.Instant) {
	switch {
	case h.since == 0:
	case now.Sub(h.since) < steady:
		h.needed = min(2*h.needed, longestHold)
	default:
		h.needed = minHold
	}
	h.since = 0
}
