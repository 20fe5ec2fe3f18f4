package swarm

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/states"
)

// topic is one topic of a swarm, with its lookups and announcements (hyperswarm lib/peer-discovery.js).
type topic struct {
	machine[topicState]
	target   id.Target
	sessions []*Session
	leaving  bool

	server, client bool // the roles of the running or the last refresh
	limit          int

	query     *hyperdht.Query
	epoch     int                       // counts refreshes, so that callbacks of earlier ones are recognised
	awaits    bool                      // the announcement of the server
	seen      map[id.PublicKey]struct{} // in the running lookup
	announced bool                      // nodes may have a record of this peer
	cleared   bool                      // those of an earlier run are removed
	refreshes int                       // that have succeeded
	failures  int                       // in a row
	err       error                     // of the last refresh
	waiting   []*refreshWait            // for the end of the running refresh
	left      []func()                  // for the removal of the record
}

type topicState uint8

const (
	topicIdle topicState = iota
	topicRefreshing
	topicResting
	topicWithdrawing
	topicSuspended
	topicLeft
)

var topicTable = &states.Table[topicState]{Name: "topic", States: []states.Rule[topicState]{
	topicIdle: {
		Name: "idle", Why: "is refreshed, or suspended, in the turn in which it is joined",
		Next: []topicState{topicRefreshing, topicSuspended},
	},
	topicRefreshing: {
		Name: "refreshing", Why: "the server is announced first, which lasts while there is no network; a lookup ends after its last repetition",
		Next: []topicState{topicRefreshing, topicResting, topicWithdrawing, topicSuspended, topicLeft},
	},
	topicResting: {
		Name: "resting", Limit: refreshInterval + refreshJitter,
		Next: []topicState{topicRefreshing, topicWithdrawing, topicSuspended, topicLeft},
	},
	topicWithdrawing: {
		Name: "withdrawing", Limit: withdrawLimit,
		Next: []topicState{topicRefreshing, topicSuspended, topicLeft},
	},
	topicSuspended: {
		Name: "suspended", Why: "the application resumes the swarm",
		Next: []topicState{topicRefreshing, topicLeft},
	},
	topicLeft: {Name: "left"},
}}

// passed leaves a state whose deadline has passed.
func (t *topic) passed(s topicState) {
	if s == topicWithdrawing {
		t.stopQuery()
		t.withdrawn()
		return
	}
	t.refresh()
}

// roles sets the roles to those of the sessions.
func (t *topic) roles() (changed bool) {
	server, client := false, false
	for _, s := range t.sessions {
		server, client = server || s.opts.Mode.server(), client || s.opts.Mode.client()
		t.limit = s.opts.Limit
	}
	changed = server != t.server || client != t.client
	t.server, t.client = server, client
	return changed
}

// update begins a refresh with the roles of the sessions, unless one with the same roles is running.
func (t *topic) update() {
	changed := t.roles()
	switch {
	case t.state == topicWithdrawing, t.state == topicSuspended:
	case t.state == topicRefreshing && !changed:
	default:
		t.settle()
	}
}

// settle does what the sessions and the swarm demand now.
func (t *topic) settle() {
	t.stopQuery()
	stops := t.leaving || t.s.state != running
	switch {
	case t.announced && (stops || !t.server):
		t.withdraw()
	case t.leaving:
		t.become(topicLeft)
		t.s.dropTopic(t)
		t.tell(t.s.leftErr())
	case stops:
		t.become(topicSuspended)
		t.tell(ErrSuspended)
	default:
		t.refresh()
	}
	if t.state != topicWithdrawing {
		t.tellLeft()
	}
}

// refresh looks the topic up, and announces this peer under it if it is a server there.
func (t *topic) refresh() {
	t.stopQuery()
	t.become(topicRefreshing)
	if !t.server {
		t.look(t.epoch)
		return
	}
	if t.awaits {
		return // for the server, on behalf of an earlier refresh
	}
	t.awaits = true
	t.s.whenListening(func(err error) {
		t.awaits = false
		switch {
		case t.state != topicRefreshing || !t.server:
		case err != nil:
			t.refreshed(err)
		default:
			t.look(t.epoch)
		}
	})
}

// look starts the query of a refresh.
func (t *topic) look(epoch int) {
	t.seen = make(map[id.PublicKey]struct{})
	t.s.stats.Refreshes++
	found := func(f hyperdht.Found) {
		if epoch == t.epoch && t.client {
			t.take(f.Peers)
		}
	}
	done := func(err error) {
		if epoch != t.epoch {
			return
		}
		if err == nil && t.query.Successes() == 0 {
			err = hyperdht.ErrNoDHTNode
		}
		t.query = nil
		t.refreshed(err)
	}
	if !t.server {
		t.query = t.s.node.Lookup(t.target, found, done)
		return
	}
	t.query = t.s.node.Announce(t.target, t.s.cfg.Keys, hyperdht.AnnounceOptions{
		Relays: t.s.server.Relays(), Clear: !t.cleared, Found: found,
	}, done)
	t.announced, t.cleared = true, true
}

// take takes the peers of one answer to the running lookup.
func (t *topic) take(peers []hyperdht.Peer) {
	for _, p := range peers {
		if _, before := t.seen[p.PublicKey]; before {
			continue
		}
		if len(t.seen) >= maxFound {
			t.s.stats.Ignored++
			continue
		}
		t.seen[p.PublicKey] = struct{}{}
		t.s.found(t, p)
	}
}

// refreshed ends a refresh.
func (t *topic) refreshed(err error) {
	t.err, t.seen = err, nil
	wait := refreshInterval + t.s.someOf(refreshJitter)
	switch {
	case err != nil:
		wait = min(failedRefresh<<min(t.failures, 10), refreshInterval)
		wait += t.s.someOf(wait / retryJitter)
		if !errors.Is(err, hyperdht.ErrSuspended) { // which costs the network nothing
			t.failures++
		}
	case t.refreshes == 0:
		wait = youngRefresh + t.s.someOf(youngRefresh/2)
		fallthrough
	default:
		t.failures = 0
		t.refreshes++
	}
	t.becomeFor(topicResting, wait)
	t.tell(err)
	t.s.changed()
}

// withdraw removes our records.
func (t *topic) withdraw() {
	t.become(topicWithdrawing)
	epoch := t.epoch
	t.query = t.s.node.Unannounce(t.target, t.s.cfg.Keys, func(error) {
		if epoch == t.epoch {
			t.query = nil
			t.withdrawn()
		}
	})
}

// withdrawn goes on after our records were removed, as far as nodes answer.
func (t *topic) withdrawn() {
	t.announced, t.cleared = false, false
	t.settle()
}

func (t *topic) stopQuery() {
	t.epoch++
	if t.query != nil {
		t.query.Destroy()
		t.query = nil
	}
}

// refreshWait is a call that waits for the end of the running refresh of a topic.
type refreshWait struct {
	session *Session    // nil for a flush of the swarm
	done    func(error) // nil if the call was cancelled
}

// flush calls done when the running refresh has ended; at the end of the turn if there is none. cancel makes done not run.
func (t *topic) flush(session *Session, done func(error)) (cancel func()) {
	w := &refreshWait{session, done}
	switch t.state {
	case topicRefreshing, topicWithdrawing:
		t.waiting = append(t.waiting, w)
	case topicSuspended:
		t.answer(w, ErrSuspended)
	default:
		t.answer(w, t.err)
	}
	return func() {
		w.done = nil
		t.waiting = without(t.waiting, w)
	}
}

// answer ends a wait at the end of the turn, unless it is cancelled before.
func (t *topic) answer(w *refreshWait, err error) {
	t.s.host.Defer(func() {
		if w.done != nil {
			w.done(err)
		}
	})
}

func (t *topic) tell(err error) {
	waiting := t.waiting
	t.waiting = nil
	for _, w := range waiting {
		t.answer(w, err)
	}
}

// end leaves the topic, or suspends it, and calls done when its records are removed.
func (t *topic) end(done func()) {
	t.left = append(t.left, done)
	if t.state != topicWithdrawing {
		t.settle()
	}
}

func (t *topic) tellLeft() {
	left := t.left
	t.left = nil
	for _, f := range left {
		t.s.host.Defer(f)
	}
}

// Session is one use of a topic. The topic is left when its last session has left.
type Session struct {
	t    *topic
	opts JoinOptions
	over bool
}

// Topic returns the topic.
func (s *Session) Topic() id.Target { return s.t.target }

// Refresh sets the options and starts a lookup and announcement with them, unless one with the same roles is under way. It fails with
// ErrLeft or ErrClosed, or if the swarm cannot listen: with hyperdht.ErrKeyPairInUse if another server of the node has its keys.
func (s *Session) Refresh(opts JoinOptions) error {
	if err := s.ended(); err != nil {
		return err
	}
	if opts.Mode.server() {
		if err := s.t.s.listen(); err != nil {
			return err
		}
	}
	s.opts = opts
	s.t.update()
	return nil
}

// Flush calls done when the running lookup or announcement of the topic has ended, with its error; at the end of the turn if there is
// none. A server can be found then. The error is ErrLeft if the session leaves the topic before, ErrSuspended if the swarm is suspended,
// and ErrClosed if it is closed. While there is no network, an announcement does not end. cancel makes done not run, and ends the wait;
// it has no effect later.
func (s *Session) Flush(done func(error)) (cancel func()) {
	if err := s.ended(); err != nil {
		w := &refreshWait{s, done}
		s.t.answer(w, err)
		return func() { w.done = nil }
	}
	return s.t.flush(s, done)
}

// ended returns the error of calls of a session that is over.
func (s *Session) ended() error {
	if s.over || s.t.state == topicLeft {
		return s.t.s.leftErr()
	}
	if s.t.s.ending() {
		return ErrClosed
	}
	return nil
}

// leave ends the session, and its flushes.
func (s *Session) leave() {
	s.over = true
	t := s.t
	t.sessions = without(t.sessions, s)
	var others []*refreshWait
	for _, w := range t.waiting {
		if w.session == s {
			t.answer(w, ErrLeft)
		} else {
			others = append(others, w)
		}
	}
	t.waiting = others
}

// Leave ends the session and calls done, which may be nil. If it is the topic's last one, records of this peer are removed first, for
// ten seconds at most. Connections stay open; peers that were found under this topic alone are dialled no more.
func (s *Session) Leave(done func()) {
	t := s.t
	if done == nil {
		done = func() {}
	}
	if !s.over {
		s.leave()
		t.leaving = len(t.sessions) == 0
		if !t.leaving {
			t.update()
		}
	}
	if t.leaving && t.state != topicLeft {
		t.end(done)
		return
	}
	t.s.host.Defer(done)
}

// TopicStatus describes a topic at one moment.
type TopicStatus struct {
	// Server and Client are the roles.
	Server, Client bool
	// Sessions is the number of sessions.
	Sessions int
	// Refreshing reports whether a lookup or announcement is under way, and Err is the error of the last one that has ended.
	Refreshing bool
	Err        error
	// Peers is the number of known peers that were found under the topic, and Connected that of those with a connection.
	Peers, Connected int
	// Next is the time until the next refresh; 0 while one is under way or the swarm is suspended.
	Next time.Duration
}
