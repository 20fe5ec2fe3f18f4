package simkv

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// carry takes a message to its other end. On a line that is cut it waits there; with the line it is lost.
func (s *Store) carry(d time.Duration, f func()) {
	line := s.line
	s.after(d, func() {
		switch {
		case s.line != line:
		case s.cluster.cut[s.host.Name()]:
			s.held = append(s.held, f)
		default:
			f()
		}
	})
}

// after runs f at the store.
func (s *Store) after(d time.Duration, f func()) { s.cluster.net.AfterFunc(d, f) }

// release delivers what was held back.
func (s *Store) release() {
	held := s.held
	s.held = nil
	for _, f := range held {
		f()
	}
}

// disconnect ends the connection, when the client notices that it is cut.
func (s *Store) disconnect() {
	s.up, s.held = false, nil
	s.line++
	s.unfollow()
	s.host.Post(func() {
		for _, c := range append([]*call(nil), s.calls...) {
			switch {
			case !c.sent:
			case c.reads:
				c.sent = false
				s.send(c)
			default:
				s.end(c, func() { c.fail(c.failure()) })
			}
		}
	})
}

// reconnect connects again after some time.
func (s *Store) reconnect() {
	line := s.line
	s.after(s.cluster.drawn(reconnectWithin), func() {
		if s.up || s.line != line || s.cluster.cut[s.host.Name()] {
			return
		}
		s.up = true
		s.line++
		s.follow()
	})
}

// draw draws from a distribution.
func (s *Store) draw(d simnet.Distribution) time.Duration {
	if d.Shape == simnet.None {
		return 0
	}
	return d.Quantile(s.random.Float64())
}

func (s *Store) delay() time.Duration { return s.draw(s.cluster.cfg.Delay) }
