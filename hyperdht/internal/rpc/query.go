package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// QueryConfig is the configuration of a lookup. Value and Nodes must not
// change while the query runs.
type QueryConfig struct {
	Target   id.Target
	Internal bool
	Command  uint64
	Value    []byte // nil is absent

	// Nodes to start with, the first of them first. Without any the routing table and the bootstrap
	// nodes are asked; with many of them only if they yield nothing.
	Nodes       []netip.AddrPort
	OnlyClosest bool // asks Nodes alone
	Apart       bool // begins with Nodes alone, never with the routing table and the bootstrap nodes
	Concurrency int  // 0 is 10
	// NearestFirst asks the nearest known nodes first. The reference implementation asks those first that it has learnt of
	// last, which are the farther ones of a reply.
	NearestFirst bool
	Retries      int        // of each request; 0 is QueryRetries
	Force        bool       // ignores the congestion window and does not retry
	Group        *CallGroup // cancelling it ends the query

	// Enough, where it reports true, keeps the query from asking further nodes until Continue; nil never does.
	Enough func() bool
	// Found reports whether an answer has what the query looks for. While it reports false, the query waits for all nodes that it
	// has asked, until their last timeout: those nearest to the target may be the ones whose first request was lost. The reference
	// implementation ends once all that have not answered are slow and the closest are full, as here where Found is nil.
	Found func() bool
	// OnReply gets every answer without an error code. It is borrowed for the call.
	OnReply func(*Reply)
	// Commit is called for each of the closest nodes when the lookup is done, at the same time for all.
	// The query succeeds if one of them does.
	Commit func(r *Reply, done func(error))
	// CommitDefault commits by sending the same command again with the node's token.
	CommitDefault bool
	// Discard means that Closest is not used after OnDone: its memory serves a later query.
	Discard bool
	// OnDone is called exactly once: with nil, ErrTooFewNodes or the last error of a commit when the query
	// has completed, else with the reason for its abort.
	OnDone func(error)
}

// Query is an iterative lookup (dht-rpc lib/query.js): it asks the nodes nearest to the target that it
// knows of, learns of nearer ones from them, and ends when the nearest have answered.
//
// It visits its candidates. One that answers is among the closest, and the nodes that it names become candidates. After its first
// timeout a visit is slow and no longer counts; after the last one the candidate is down, and its referrers are notified.
type Query struct {
	e           *Endpoint
	cfg         QueryConfig
	concurrency int32
	state       queryState
	slowdown    bool // the seeds get a chance before others are asked
	fromTable   bool
	resolving   bool // bootstrap nodes by name
	ownGroup    bool
	held        bool  // has asked enough for now
	canceled    int32 // how often the group had been cancelled before

	visits     visits
	tally      tally
	result     []Reply // the closest, after the end
	*workspace         // nil after the end
}

// visits counts the requests of a query that are in flight.
type visits struct {
	inflight int32
	slow     int32 // have timed out once, and hold no place any more
	entering int32 // to bootstrap nodes that are not waited for
}

func (v *visits) begin(c *candidate) {
	v.inflight++
	if c.bootstrap {
		v.entering++
	}
}

func (v *visits) end(c *Call) {
	v.inflight--
	if c.slow {
		v.slow--
	}
	if c.candidate.bootstrap {
		v.entering--
	}
}

// room reports whether another visit may begin where so many may be in flight.
func (v *visits) room(limit int) bool { return int(v.inflight-v.slow) < limit }

// awaited reports whether there are visits to wait for: the slow ones alone are not if the result is complete without them, and
// those to bootstrap nodes alone are not if enough nodes have answered.
func (v *visits) awaited(complete bool, successes int32) bool {
	return v.inflight > 0 && (v.slow < v.inflight || !complete) && (v.entering < v.inflight || successes < enoughToEnter)
}

// tally counts what has come of the visits of a query.
type tally struct {
	successes int32  // answers without an error code
	errors    int32  // answers with one, and nodes that did not answer
	answers   int32  // of either kind
	hops      uint16 // depth of the nearest node that answered
}

// FindNode looks up the nodes near a target.
func (e *Endpoint) FindNode(target id.Target, cfg QueryConfig) *Query {
	cfg.Target, cfg.Internal, cfg.Command, cfg.Value = target, true, wire.CmdFindNode, nil
	return e.Query(cfg)
}

// Query starts a lookup at the end of the turn.
func (e *Endpoint) Query(cfg QueryConfig) *Query {
	q := &Query{
		e: e, cfg: cfg,
		concurrency: int32(cfg.Concurrency),
		workspace:   workspaceFor(cfg.Target),
	}
	if q.concurrency <= 0 {
		q.concurrency = Concurrency
	}
	if q.cfg.Retries == 0 {
		q.cfg.Retries = QueryRetries
	}
	if q.cfg.Group == nil {
		q.cfg.Group, q.ownGroup = e.NewCallGroup(), true
	}
	q.canceled = q.cfg.Group.canceled
	if !cfg.Apart {
		e.upkeep.refreshTicks = refreshTicks
	}
	e.queries.Total++
	e.queries.Active++
	for i := len(cfg.Nodes) - 1; i >= 0; i-- {
		if isUsable(cfg.Nodes[i]) {
			q.offer(cfg.Nodes[i], netip.AddrPort{}, 1)
		}
	}
	e.h.Defer(q.open)
	return q
}

// Closest are the nearest replies so far, nearest first, without the nodes that they named. The slice belongs to the
// query.
func (q *Query) Closest() []Reply {
	if q.workspace == nil {
		return q.result
	}
	return q.closest.Items()
}

// Successes is the number of answers without an error code.
func (q *Query) Successes() int { return int(q.tally.successes) }

// Errors is the number of answers with an error code, and of nodes that did not answer.
func (q *Query) Errors() int { return int(q.tally.errors) }

// Answers is the number of nodes that answered, with an error code or without.
func (q *Query) Answers() int { return int(q.tally.answers) }

// Hops returns the length of the chain of requests that led to the nearest node that answered.
func (q *Query) Hops() int { return int(q.tally.hops) }

// Done reports whether the query has ended.
func (q *Query) Done() bool { return q.state == queryEnded }

func (q *Query) become(next queryState) { queryTable.Become(&q.state, next, &q.e.faults) }

// settled notes what has become of the candidate that a call has asked.
func (q *Query) settled(c *Call, next candidateState) {
	candidateTable.Become(&c.candidate.state, next, &q.e.faults)
}

// Destroy ends the query. OnDone gets ErrCanceled at the end of the turn.
func (q *Query) Destroy() { q.abort(ErrCanceled) }

func (q *Query) abort(err error) {
	if q.end() {
		q.e.h.Defer(func() { q.tell(err) })
	}
}

// finish ends the query where it is safe to call OnDone at once.
func (q *Query) finish(err error) {
	if q.end() {
		q.tell(err)
	}
}

// tell calls OnDone, and releases everything but the result.
func (q *Query) tell(err error) {
	if q.cfg.OnDone != nil {
		q.cfg.OnDone(err)
	}
	if !q.cfg.Discard {
		q.result, q.closest = q.closest.Items(), kad.Nearest[Reply]{}
	}
	q.workspace.release()
	q.workspace = nil
}

// end ends what is under way. It reports whether the query was running.
func (q *Query) end() bool {
	if q.Done() {
		return false
	}
	q.become(queryEnded)
	q.e.queries.Active--
	if q.ownGroup {
		q.cfg.Group.Cancel()
	}
	return true
}

func (q *Query) open() {
	switch {
	case q.Done():
		return
	case q.e.Closed():
		q.finish(ErrClosed)
		return
	}
	q.become(queryAsking)
	if q.cfg.Apart {
		q.fromTable = true
		q.readMore()
		return
	}
	q.addFromTable()
	if len(q.candidates.pending) >= kad.K || q.cfg.OnlyClosest {
		q.readMore()
		return
	}
	others := len(q.candidates.pending) > 0
	if others && q.e.bootstrapGone() {
		q.readMore()
		return
	}
	opening := true
	q.resolving = true
	q.e.resolve(q.cfg.Group, func(addr netip.AddrPort) {
		if q.state != queryAsking {
			return
		}
		if c := q.offerNew(addr); c != nil && others {
			c.once, c.bootstrap = true, true
		}
		if !opening {
			q.readMore()
		}
	}, func() {
		q.resolving = false
		if !opening {
			q.readMore()
		}
	})
	opening = false
	q.readMore()
}

func (q *Query) addFromTable() {
	missing := kad.K - len(q.candidates.pending)
	if missing <= 0 {
		return
	}
	q.fromTable = true
	if q.cfg.OnlyClosest {
		return
	}
	var nodes [kad.K]*kad.Node
	for _, n := range q.e.nodes.table.AppendClosest(nodes[:0], q.cfg.Target, missing) {
		if key := keyOf(n.Addr()); q.candidates.at(key) == nil {
			q.enter(key, n.ID, 1) // the table has hashed its address
		}
	}
	if q.e.nodes.table.Len() == 0 {
		q.addKnown()
	}
}

// addKnown adds nodes of an earlier run, which may be gone.
func (q *Query) addKnown() {
	for _, addr := range q.e.nodes.known {
		if c := q.offerNew(addr); c != nil {
			c.once = true
		}
	}
}

// readMore asks as many nodes as may be asked now, and ends the query when none is left.
func (q *Query) readMore() {
	if q.state != queryAsking {
		return
	}
	if q.cfg.Group.canceled != q.canceled {
		q.finish(ErrCanceled)
		return
	}
	limit := int(q.concurrency)
	if q.slowdown {
		limit = slowConcurrency
	}
	for q.visits.room(limit) && len(q.candidates.pending) > 0 {
		if q.cfg.Enough != nil && q.cfg.Enough() {
			q.held = true
			return
		}
		if c := q.candidates.next(); q.closest.Closer(c.id) {
			q.visit(c)
			if q.Done() {
				return
			}
		}
	}
	if !q.fromTable && q.tally.successes == 0 && q.tally.errors == 0 {
		q.slowdown = true
	}
	if len(q.candidates.pending) > 0 || q.resolving && q.tally.successes == 0 {
		return
	}
	if q.visits.awaited(q.complete(), q.tally.successes) {
		return
	}
	if !q.fromTable && q.tally.successes < kad.K/4 {
		// The seeds yielded nothing.
		q.addFromTable()
		q.readMore()
		return
	}
	q.flush()
}

// complete reports whether the query need not wait for slow nodes.
func (q *Query) complete() bool {
	return q.closest.Full() && (q.cfg.Found == nil || q.cfg.Found())
}

// Continue lets a query go on, at the end of the turn, for which Enough reported true. It is no method, because Query is a
// public type of hyperdht.
func Continue(q *Query) {
	if q.held {
		q.held = false
		q.e.h.Defer(q.readMore)
	}
}

func (q *Query) visit(c *candidate) {
	call := q.workspace.call()
	*call = Call{visit: visit{query: q, candidate: c}, transmission: transmission{node: true}}
	retries := q.cfg.Retries
	if c.once {
		retries = NoRetry
	}
	err := q.e.request(call, &RequestOptions{
		To: c.addr.addr(), Internal: q.cfg.Internal, Command: q.cfg.Command, Target: &q.cfg.Target, Value: q.cfg.Value,
		Retries: retries, Force: q.cfg.Force, Follows: q.tally.answers > 0, Group: q.cfg.Group,
	})
	if err != nil {
		q.abort(err)
		return
	}
	q.visits.begin(c)
}

// onSlow is called at the first timeout of a visit, before it is sent again.
func (q *Query) onSlow(c *Call) {
	if c.slow || q.Done() {
		return
	}
	c.slow = true
	q.visits.slow++
	q.readMore()
}

func (q *Query) onReply(c *Call, r *Reply) {
	if q.Done() {
		return
	}
	q.visits.end(c)
	q.tally.answers++
	q.settled(c, candidateAnswered)
	if q.state == queryCommitting {
		return
	}
	q.e.rejoin.met = q.e.rejoin.met || c.candidate.bootstrap
	if r.Error == wire.CodeNone {
		q.tally.successes++
		if r.HasID && q.closest.Closer(r.ID) {
			kept := *r
			kept.Closer = nil
			q.closest.Add(r.ID, kept)
			if q.closest.Items()[0].ID == r.ID {
				q.tally.hops = c.candidate.depth
			}
		}
	} else {
		q.tally.errors++
	}
	q.offerCloser(r, c.candidate.depth+1)
	if !q.fromTable && q.tally.successes+q.tally.errors >= q.concurrency {
		q.slowdown = false
	}
	if r.Error == wire.CodeNone && q.cfg.OnReply != nil {
		q.cfg.OnReply(r)
	}
	if c.sent == 1 && !c.slow && !q.Done() {
		q.reuse(c) // one that was to be sent again may still be in the queue
	}
	q.readMore()
}

// offerCloser takes up the nodes that a reply names. They come nearest first as a rule, so the first one
// that is not closer than what we have ends the list.
func (q *Query) offerCloser(r *Reply, depth uint16) {
	if q.cfg.OnlyClosest {
		return
	}
	q.candidates.answered(r.From)
	for _, addr := range r.Closer {
		if isUsable(addr) && q.e.nodes.admits(addr) && !q.offer(addr, r.From, depth) {
			return
		}
	}
}

func (q *Query) onError(c *Call, err error) {
	if q.Done() {
		return
	}
	q.visits.end(c)
	switch err {
	case ErrClosed, ErrSuspended, ErrCanceled:
		q.finish(err)
		return
	case ErrSelf:
		q.settled(c, candidateDown)
	case ErrTimeout:
		q.settled(c, candidateDown)
		for _, r := range c.candidate.referrers[:c.candidate.named] {
			q.e.sendDownHint(q.candidates.referrers[r].addr(), c.candidate.addr.addr(), q.cfg.Group)
		}
		c.candidate.named = 0
	}
	q.tally.errors++
	q.readMore()
}

// flush commits the result, if that is wanted, and ends the query.
func (q *Query) flush() {
	q.become(queryCommitting)
	commit := q.cfg.Commit
	if q.cfg.CommitDefault {
		commit = q.commitDefault
	}
	if commit == nil {
		q.finish(nil)
		return
	}
	closest := q.closest.Items()
	if len(closest) == 0 {
		q.finish(ErrTooFewNodes)
		return
	}
	var last error
	succeeded := false
	commits := host.NewJoin(func() {
		if succeeded {
			last = nil
		}
		q.finish(last)
	})
	begun := commits.Add()
	for i := range closest {
		settled, ended := false, commits.Add()
		commit(&closest[i], func(err error) {
			if settled {
				return
			}
			settled, last = true, err
			succeeded = succeeded || err == nil
			ended()
		})
	}
	begun()
}

func (q *Query) commitDefault(r *Reply, done func(error)) {
	if r.Token == nil {
		done(ErrNoToken)
		return
	}
	q.e.Request(RequestOptions{
		To: r.From, Token: r.Token, Target: &q.cfg.Target, Internal: q.cfg.Internal, Command: q.cfg.Command, Value: q.cfg.Value,
	}, func(_ Reply, err error) { done(err) })
}
