package uplinks

import (
	"errors"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// RegisterAlias implements ports.ClientTransport. Without an uplink it waits for one.
func (t *Transport) RegisterAlias(r ports.Registration, done func(updated bool, err error)) (cancel func()) {
	c := &call{t: t, failed: func(err error) { done(false, err) }}
	onOpen := r.OnOpen
	r.OnOpen = func(p domain.Peer) {
		c.opened = true
		if onOpen != nil {
			onOpen(p)
		}
	}
	return c.begin(func(over ports.Transport) func() {
		return over.RegisterAlias(r, func(updated bool, err error) {
			c.end()
			done(updated, err)
		})
	})
}

// LeaveAlias implements ports.ClientTransport. Without an uplink it waits for one.
func (t *Transport) LeaveAlias(r ports.Registration, done func(error)) (cancel func()) {
	c := &call{t: t, failed: done}
	return c.begin(func(over ports.Transport) func() {
		return over.LeaveAlias(r, func(err error) {
			c.end()
			done(err)
		})
	})
}

// call is a call on an uplink, or one that waits for an uplink.
type call struct {
	t      *Transport
	on     *uplink // nil while it waits
	start  func(over ports.Transport) (cancel func())
	failed func(error)
	cancel func()
	opened bool // a connection was made for it
	over   bool
}

// begin starts a call on the uplink in use, or on the first.
func (c *call) begin(start func(over ports.Transport) (cancel func())) (cancel func()) {
	c.start = start
	t := c.t
	switch {
	case t.closing:
		t.cfg.Host.Post(func() {
			if !c.over {
				c.failed(&ports.ConnectionError{Err: domain.ErrClosed})
			}
		})
	case t.current != nil:
		c.run(t.current)
	default:
		t.waiting = append(t.waiting, func() {
			if !c.over {
				c.run(t.current)
			}
		})
	}
	return func() {
		if !c.over {
			c.end()
			if c.cancel != nil {
				c.cancel()
			}
		}
	}
}

// run starts the call on an uplink.
func (c *call) run(u *uplink) {
	if c.on == nil {
		c.t.calls = append(c.t.calls, c)
	}
	c.on = u
	c.cancel = c.start(u.transport)
}

func (c *call) end() {
	c.over = true
	c.t.calls = slices.DeleteFunc(c.t.calls, func(other *call) bool { return other == c })
}

// restart starts the calls again that have no connection on an uplink which does not work, and ends the dials there.
func (t *Transport) restart(from *uplink) {
	for _, c := range slices.Clone(t.calls) {
		if c.on == from && !c.opened && !c.over {
			c.cancel()
			c.run(t.current)
		}
	}
	for _, d := range slices.Clone(t.dials) {
		if d.on == from {
			d.session.Close(&ports.ConnectionError{Err: errOther, Busy: true, RetryAfter: time.Millisecond})
		}
	}
}

var errOther = errors.New("no UDP gets out; dialling over a TURN server")

// dial is a dial on an uplink that is not open yet.
type dial struct {
	on      *uplink
	session ports.MetricsSession
}

// DialMetrics implements ports.ScraperTransport. Without an uplink it waits for one.
func (t *Transport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	if t.current != nil && !t.closing {
		return t.dial(d)
	}
	s := &waitingSession{t: t, dial: d}
	if t.closing {
		s.Close(domain.ErrClosed)
		return s
	}
	t.waiting = append(t.waiting, func() {
		if !s.closed {
			s.session = t.dial(d)
		}
	})
	return s
}

// dial dials on the uplink in use.
func (t *Transport) dial(d ports.MetricsDial) ports.MetricsSession {
	under := &dial{on: t.current}
	t.dials = append(t.dials, under)
	end := func() { t.dials = slices.DeleteFunc(t.dials, func(other *dial) bool { return other == under }) }
	onOpen, onClose := d.OnOpen, d.OnClose
	d.OnOpen = func(p domain.Peer) {
		end()
		if onOpen != nil {
			onOpen(p)
		}
	}
	d.OnClose = func(err error) {
		end()
		if onClose != nil {
			onClose(err)
		}
	}
	under.session = t.current.transport.DialMetrics(d)
	return under.session
}

// waitingSession is a session whose dial waits for an uplink.
type waitingSession struct {
	t       *Transport
	dial    ports.MetricsDial
	session ports.MetricsSession // nil before
	closed  bool
}

var errNotDialled = &ports.ConnectionError{Err: ErrNoUplink}

// Scrape implements ports.MetricsSource.
func (s *waitingSession) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	if s.session != nil {
		return s.session.Scrape(r, h)
	}
	f := &failing{}
	s.t.cfg.Host.Post(func() {
		if !f.canceled {
			h.OnEnd(errNotDialled)
		}
	})
	return f
}

// failing is a scrape that fails.
type failing struct{ canceled bool }

// Consumed implements ports.Scrape.
func (*failing) Consumed(int) {}

// Cancel implements ports.Scrape.
func (f *failing) Cancel() { f.canceled = true }

// Ping implements ports.MetricsSession.
func (s *waitingSession) Ping(done func(error)) (cancel func()) {
	if s.session != nil {
		return s.session.Ping(done)
	}
	canceled := false
	s.t.cfg.Host.Post(func() {
		if !canceled {
			done(errNotDialled)
		}
	})
	return func() { canceled = true }
}

// Idle implements ports.MetricsSession.
func (s *waitingSession) Idle() bool { return s.session != nil && s.session.Idle() }

// Peer implements ports.MetricsSession.
func (s *waitingSession) Peer() domain.Peer {
	if s.session == nil {
		return domain.Peer{Key: s.dial.Client}
	}
	return s.session.Peer()
}

// Answered implements ports.MetricsSession.
func (s *waitingSession) Answered() bool { return s.session != nil && s.session.Answered() }

// Stats implements ports.MetricsSession.
func (s *waitingSession) Stats() (l domain.LinkStats) {
	if s.session != nil {
		l = s.session.Stats()
	}
	return l
}

// Version implements ports.MetricsSession.
func (s *waitingSession) Version() string {
	if s.session == nil {
		return ""
	}
	return s.session.Version()
}

// Detour implements ports.MetricsSession.
func (s *waitingSession) Detour() (d domain.Detour) {
	if s.session != nil {
		d = s.session.Detour()
	}
	return d
}

// DirectSilence implements ports.MetricsSession.
func (s *waitingSession) DirectSilence() time.Duration {
	if s.session == nil {
		return 0
	}
	return s.session.DirectSilence()
}

// Release implements ports.MetricsSession.
func (s *waitingSession) Release() {
	if s.session != nil {
		s.session.Release()
		return
	}
	s.Close(nil)
}

// Close implements ports.MetricsSession.
func (s *waitingSession) Close(reason error) {
	if s.session != nil {
		s.session.Close(reason)
		return
	}
	if s.closed {
		return
	}
	s.closed = true
	s.t.cfg.Host.Post(func() {
		if s.dial.OnClose != nil {
			s.dial.OnClose(reason)
		}
	})
}
