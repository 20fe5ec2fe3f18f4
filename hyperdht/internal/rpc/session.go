package rpc

// Session is a set of calls that can be cancelled together (dht-rpc lib/session.js).
type Session struct {
	calls          *calls
	oldest, latest *Call
	canceled       int // how often; queries notice by it
}

// NewSession makes an empty session.
func (e *Endpoint) NewSession() *Session { return &Session{calls: &e.calls} }

// Cancel fails the session's calls with ErrCanceled, in the order in which they were made. Their
// callbacks run at the end of the turn. Queries of the session end with the same error. The session can be
// used again.
func (s *Session) Cancel() {
	s.canceled++
	for s.oldest != nil {
		// The reference implementation takes cancelled calls out of the window twice: they are not to count against us.
		// Calls that still wait for room there have no place to give back.
		if s.oldest.sent > 0 {
			s.calls.window.catchUp(s.calls.host.Now())
			s.calls.window.recv()
		}
		s.calls.abort(s.oldest, ErrCanceled)
	}
}

// membership is the place of a call in the list of its session.
type membership struct {
	session      *Session // nil for none
	older, newer *Call
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
