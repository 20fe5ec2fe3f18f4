package rpc

// CallGroup is a set of calls that can be cancelled together (dht-rpc lib/session.js).
type CallGroup struct {
	calls          *calls
	oldest, latest *Call
	canceled       int32 // how often; queries notice by it
}

// NewCallGroup returns an empty group.
func (e *Endpoint) NewCallGroup() *CallGroup { return &CallGroup{calls: &e.calls} }

// Cancel fails the group's calls with ErrCanceled, in the order in which they were made. Their
// callbacks run at the end of the turn. Queries of the group end with the same error. The group can be
// used again.
func (g *CallGroup) Cancel() {
	g.canceled++
	for g.oldest != nil {
		// The reference implementation takes cancelled calls out of the window twice: they are not to count against us.
		// Calls that still wait for room there have no place to give back.
		if g.oldest.sent > 0 {
			g.calls.window.catchUp(g.calls.host.Now())
			g.calls.window.recv()
		}
		g.calls.abort(g.oldest, ErrCanceled)
	}
}

// membership is the place of a call in the list of its group.
type membership struct {
	group        *CallGroup // nil for none
	older, newer *Call
}

func (g *CallGroup) attach(c *Call) {
	c.group, c.older = g, g.latest
	if g.latest == nil {
		g.oldest = c
	} else {
		g.latest.newer = c
	}
	g.latest = c
}

func (g *CallGroup) detach(c *Call) {
	if c.older == nil {
		g.oldest = c.newer
	} else {
		c.older.newer = c.newer
	}
	if c.newer == nil {
		g.latest = c.older
	} else {
		c.newer.older = c.older
	}
	c.group, c.older, c.newer = nil, nil, nil
}
