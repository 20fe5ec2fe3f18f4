package rpc

// Session is a set of calls that can be cancelled together (dht-rpc lib/session.js).
type Session struct {
	e              *Endpoint
	oldest, latest *Call
	canceled       int // how often; queries notice by it
}

// NewSession makes an empty session.
func (e *Endpoint) NewSession() *Session { return &Session{e: e} }

// Cancel fails the session's calls with ErrCanceled, in the order in which they were made. Their
// callbacks run at the end of the turn. Queries of the session end with the same error. The session can be
// used again.
func (s *Session) Cancel() {
	s.canceled++
	for s.oldest != nil {
		// The reference implementation takes cancelled calls out of the window twice: they are not to count against us.
		// Calls that still wait for room there have no place to give back.
		if s.oldest.sent > 0 {
			s.e.catchUp()
			s.e.window.recv()
		}
		s.e.abort(s.oldest, ErrCanceled)
	}
}

func (s *Session) attach(c *Call) {
	c.session, c.older = s, s.latest
	if s.latest == nil {
		s.oldest = c
	} else {
		s.latest.newer = c
	}
	s.latest = c
}

func (s *Session) detach(c *Call) {
	if c.older == nil {
		s.oldest = c.newer
	} else {
		c.older.newer = c.newer
	}
	if c.newer == nil {
		s.latest = c.older
	} else {
		c.newer.older = c.older
	}
	c.session, c.older, c.newer = nil, nil, nil
}
