package rpc

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

var target = id.Target(id.Hash([]byte("target")))

// result is the result of a query.
type result struct {
	*Query
	err     error
	done    int
	at      time.Duration
	replies []netip.AddrPort
}

func (l *lab) query(cfg QueryConfig) *result {
	r := new(result)
	cfg.Target = target
	if cfg.Command == 0 {
		cfg.Command = wire.CmdFindPeer
	}
	cfg.OnReply = func(m *Reply) { r.replies = append(r.replies, m.From) }
	cfg.OnDone = func(err error) {
		r.err, r.at = err, l.net.Now()
		r.done++
	}
	l.do(func() {
		r.Query = l.Query(cfg)
		if r.done != 0 {
			l.t.Error("callback inside Query")
		}
	})
	return r
}

func (l *lab) peersOf(n int, answer func(wire.Request) *wire.Response) []*peer {
	var list []*peer
	for range n {
		list = append(list, l.peer(answer))
	}
	return list
}

func addrs(peers []*peer) []netip.AddrPort {
	var list []netip.AddrPort
	for _, p := range peers {
		list = append(list, p.addr)
	}
	return list
}

// byDistance sorts peers, the one nearest to the target first.
func byDistance(peers []*peer) []*peer {
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b *peer) int { return id.Closer(target, id.NodeIDOf(a.addr), id.NodeIDOf(b.addr)) })
	return peers
}

func TestQueryWithoutNodesEndsAtOnce(t *testing.T) {
	l := newLab(t, Config{})
	r := l.query(QueryConfig{})
	l.net.Run(0)
	if r.done != 1 || r.err != nil || len(r.Closest()) != 0 || !r.Done() {
		t.Errorf("done %d times, %v, found %v", r.done, r.err, r.Closest())
	}
}

func TestQueryFindsTheNearestNodesInOrder(t *testing.T) {
	l := newLab(t, Config{})
	all := l.peersOf(40, empty)
	// A chain of hops: each names those behind it, far ones first asked.
	sorted := byDistance(all)
	entry := sorted[len(sorted)-1]
	for _, p := range all {
		p.answer = naming(sorted[:20]...)
	}
	entry.answer = naming(sorted[10:30]...)
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{entry.addr}})
	l.net.Run(time.Minute)
	var got []netip.AddrPort
	for _, m := range r.Closest() {
		got = append(got, m.From)
	}
	if want := addrs(sorted[:20]); r.err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, found %v\nwant %v", r.err, got, want)
	}
	if r.Successes() != len(r.replies) || r.Errors() != 0 {
		t.Errorf("%d successes, %d errors, %d replies", r.Successes(), r.Errors(), len(r.replies))
	}
	if r.Hops() != 3 {
		t.Errorf("%d hops, want the entry, those it names, and the nearest", r.Hops())
	}
	for _, p := range all {
		if n := p.count(false, wire.CmdFindPeer); n > 1 {
			t.Errorf("%v was asked %d times", p.addr, n)
		}
	}
}

func TestQueryAsksSeedsFirstToLastWithinItsConcurrency(t *testing.T) {
	tests := []struct {
		name        string
		seeds       int
		concurrency int
		want        int
	}{
		{"ten at a time", 15, 0, 10},
		{"as configured", 15, 2, 2},
		{"a bucket of seeds starts slowly, after the first round", 25, 0, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			peers := l.peersOf(tt.seeds, silent)
			l.query(QueryConfig{Nodes: addrs(peers), Concurrency: tt.concurrency})
			l.net.Run(10 * time.Millisecond)
			for i, p := range peers {
				if asked := len(p.got) == 1; asked != (i < tt.want) {
					t.Errorf("seed %d asked: %v", i, asked)
				}
			}
		})
	}
}

func TestQueryGivesItsSeedsAChance(t *testing.T) {
	// With a full set of seeds, one answer does not make the query go broad at once: three at a time until
	// ten have answered (dht-rpc lib/query.js).
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(30, silent)
	peers[0].answer = empty
	l.query(QueryConfig{Nodes: addrs(peers)})
	l.net.Run(100 * time.Millisecond)
	asked := 0
	for _, p := range peers {
		asked += len(p.got)
	}
	if asked != 10 {
		t.Errorf("%d seeds asked after one answer, want the first ten only", asked)
	}
}

func TestSlowNodesDoNotHoldAPlace(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(15, silent)
	r := l.query(QueryConfig{Nodes: addrs(peers)})
	l.net.Run(RequestTimeout + 10*time.Millisecond)
	for i, p := range peers {
		want := 1
		if i < 10 {
			want = 2
		}
		if len(p.got) != want {
			t.Errorf("seed %d got %d packets, want %d", i, len(p.got), want)
		}
	}
	l.net.Run(time.Minute)
	if r.done != 1 || r.Errors() != 15 || r.visits.inflight != 0 || r.visits.slow != 0 {
		t.Errorf("done %d, %d errors, %d in flight, %d slow", r.done, r.Errors(), r.visits.inflight, r.visits.slow)
	}
	if got := len(peers[0].got); got != QueryRetries+1 {
		t.Errorf("%d packets to a silent node, want %d", got, QueryRetries+1)
	}
}

func TestMemoryOfACallThatIsQueuedIsNotUsedAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		queued bool
	}{{"answered at once", false}, {"answered while its repetition waits for room", true}} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			r := l.query(QueryConfig{Nodes: addrs(l.peersOf(1, silent))})
			l.net.Run(10 * time.Millisecond)
			c := l.calls.table.first()
			if tt.queued {
				l.net.Run(RequestTimeout - 20*time.Millisecond)
				l.do(func() {
					l.calls.window.catchUp(l.h.Now())
					for !l.calls.window.full() {
						l.calls.window.send()
					}
				})
				l.net.Run(20 * time.Millisecond)
			}
			if c == nil || (c.state == callQueued) != tt.queued {
				t.Fatalf("the call is in state %v", c.state)
			}
			l.do(func() {
				// The query has another visit to wait for, or it would end.
				r.visits.begin(c.candidate)
				l.calls.answered(c)
				l.calls.deliver(c, Reply{From: c.to})
			})
			if slices.Contains(r.spare, c) == tt.queued {
				t.Errorf("memory to use again: %p, that of the call: %p", r.spare, c)
			}
		})
	}
}

func TestQueryEndsWhenOnlySlowNodesAreLeftAndTheResultIsFull(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := byDistance(l.peersOf(22, empty))
	for _, p := range peers[:2] {
		p.answer = silent
	}
	for _, n := range []int{22, 21} {
		r := l.query(QueryConfig{Nodes: addrs(peers[:n])})
		start := l.net.Now()
		l.net.Run(time.Minute)
		want := RequestTimeout
		if n == 21 {
			want = 6 * RequestTimeout // 19 results are not enough to give up on the rest
		}
		if r.done != 1 || r.at-start != want || len(r.Closest()) != n-2 {
			t.Errorf("%d seeds: done after %v, want %v, with %d results", n, r.at-start, want, len(r.Closest()))
		}
	}
	if l.Stats().Requests.Active != 0 {
		t.Errorf("%d requests outlived their query", l.Stats().Requests.Active)
	}
}

func TestQueryThatHasFoundNothingWaitsForSlowNodes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answered int // the request that the nearest node answers
		want     time.Duration
	}{
		{"whose first request was lost", 2, RequestTimeout + 2*delay},
		{"that are silent", QueryRetries + 2, (QueryRetries + 1) * RequestTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			peers := byDistance(l.peersOf(22, empty))
			asked, found := 0, false
			peers[0].answer = func(wire.Request) *wire.Response {
				if asked++; asked < tt.answered {
					return nil
				}
				found = true
				return &wire.Response{Value: []byte("what is looked for")}
			}
			peers[1].answer = silent
			r := l.query(QueryConfig{Nodes: addrs(peers), Found: func() bool { return found }})
			start := l.net.Now()
			l.net.Run(time.Minute)
			if r.done != 1 || r.at-start != tt.want {
				t.Errorf("done %d times, after %v, want %v", r.done, r.at-start, tt.want)
			}
		})
	}
}

func TestQueryStopsAtTheFirstNodeThatIsNotCloser(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := byDistance(l.peersOf(30, empty))
	near, far := peers[:21], peers[21:]
	// Twenty results are in when the last seed names a nearer node behind a farther one.
	last := near[1]
	last.answer = naming(far[0], near[0])
	r := l.query(QueryConfig{Nodes: addrs(slices.Concat(near[2:], far[1:2], []*peer{last})), Concurrency: 1})
	l.net.Run(time.Minute)
	if r.done != 1 || len(r.Closest()) != 20 {
		t.Fatalf("done %d, %d results", r.done, len(r.Closest()))
	}
	if len(far[0].got)+len(near[0].got) != 0 {
		t.Error("nodes behind one that is not closer were asked")
	}
}

func TestQueryPrefersBootstrapNodesToItsTable(t *testing.T) {
	boot := netip.AddrPortFrom(addrOf(1), DefaultPort)
	l := newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(boot)}})
	peers := l.peersOf(6, empty)
	l.net.Run(time.Second)
	l.do(func() {
		for _, p := range peers[1:] {
			l.AddNode(p.addr)
		}
	})
	for _, p := range peers {
		p.got = nil
	}
	l.query(QueryConfig{Concurrency: 1})
	l.net.Run(time.Minute)
	if peers[0].got[0].at > peers[1].got[0].at {
		t.Error("a node of the table was asked before the bootstrap node")
	}
}

func TestOnlyClosestAsksNoOtherNode(t *testing.T) {
	boot := netip.AddrPortFrom(addrOf(1), DefaultPort)
	l := newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(boot)}})
	peers := l.peersOf(5, empty)
	peers[1].answer = naming(peers[3])
	l.net.Run(time.Second)
	l.do(func() { l.AddNode(peers[4].addr) })
	for _, p := range peers {
		p.got = nil
	}
	r := l.query(QueryConfig{Nodes: addrs(peers[1:3]), OnlyClosest: true})
	l.net.Run(time.Minute)
	var asked []int
	for i, p := range peers {
		if p.count(false, wire.CmdFindPeer) > 0 {
			asked = append(asked, i)
		}
	}
	if !slices.Equal(asked, []int{1, 2}) || r.err != nil || len(r.Closest()) != 2 {
		t.Errorf("asked %v, %v, %d results", asked, r.err, len(r.Closest()))
	}
}

func TestUselessSeedsAreMadeUpForFromTheTable(t *testing.T) {
	l := newLab(t, Config{})
	peers := l.peersOf(26, empty)
	seeds, known := peers[:24], peers[24:]
	for _, p := range seeds {
		p.answer = func(wire.Request) *wire.Response { return &wire.Response{Error: wire.CodeUnknownCommand} }
	}
	l.do(func() {
		for _, p := range known {
			l.AddNode(p.addr)
		}
	})
	r := l.query(QueryConfig{Nodes: addrs(seeds)})
	l.net.Run(time.Minute)
	if r.Errors() != 24 || r.Successes() != 2 || r.err != nil {
		t.Errorf("%d errors, %d successes, %v", r.Errors(), r.Successes(), r.err)
	}
}

func TestErrorRepliesStillNameCloserNodes(t *testing.T) {
	l := newLab(t, Config{})
	good := l.peer(empty)
	bad := l.peer(func(wire.Request) *wire.Response {
		return &wire.Response{Error: wire.CodeUnknownCommand, Closer: []netip.AddrPort{good.addr}}
	})
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{bad.addr}})
	l.net.Run(time.Minute)
	if !slices.Equal(r.replies, []netip.AddrPort{good.addr}) || r.Errors() != 1 || len(r.Closest()) != 1 {
		t.Errorf("replies %v, %d errors", r.replies, r.Errors())
	}
}

func TestNodesWithoutIDAreHeardButNotKept(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(empty)
	p.named = false
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{p.addr}})
	l.net.Run(time.Minute)
	if len(r.replies) != 1 || len(r.Closest()) != 0 {
		t.Errorf("%d replies, %d kept", len(r.replies), len(r.Closest()))
	}
}

func TestQuerySkipsFilteredNodesAndItself(t *testing.T) {
	var refused netip.AddrPort
	l := newLab(t, Config{
		PublicAddr: us,
		FilterNode: func(a netip.AddrPort) bool { return a != refused },
	})
	ok, bad := l.peer(empty), l.peer(empty)
	refused = bad.addr
	first := l.peer(func(wire.Request) *wire.Response {
		return &wire.Response{Closer: []netip.AddrPort{bad.addr, us, {}, ok.addr}}
	})
	sent := l.net.Stats().Sent
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{first.addr}})
	l.net.Run(time.Second)
	if len(ok.got) != 1 || len(bad.got) != 0 || r.Errors() != 0 {
		t.Errorf("asked ok %d times, filtered %d times, %d errors", len(ok.got), len(bad.got), r.Errors())
	}
	if n := l.net.Stats().Sent - sent; n != 4 {
		t.Errorf("%d packets, want two requests and two answers", n)
	}
}

func TestReferrersHearThatANodeIsDown(t *testing.T) {
	l := newLab(t, Config{})
	dead := l.peer(silent)
	early, other := l.peer(naming(dead)), l.peer(empty)
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{early.addr, other.addr}, Retries: 2})
	l.net.Run(2500 * time.Millisecond)
	if n := early.count(true, wire.CmdDownHint); n != 0 {
		t.Fatalf("%d hints before the last timeout", n)
	}
	l.net.Run(time.Minute)
	if r.done != 1 || r.err != nil {
		t.Fatalf("done %d, %v", r.done, r.err)
	}
	for name, p := range map[string]*peer{"early": early, "other": other} {
		want := 0
		if p == early {
			want = 1
		}
		if n := p.count(true, wire.CmdDownHint); n != want {
			t.Errorf("%s referrer got %d hints, want %d", name, n, want)
		}
	}
	for _, a := range early.got {
		if a.request.Command == wire.CmdDownHint && a.request.Internal {
			if v, err := wire.ParseDownHint(a.request.Value); err != nil || v.Node != dead.addr {
				t.Errorf("hint about %v, %v", v.Node, err)
			}
		}
	}
}

func TestWhoNamesADeadNodeLaterHearsToo(t *testing.T) {
	l := newLab(t, Config{})
	dead, mid, late := l.peer(silent), l.peer(silent), l.peer(silent)
	early := l.peer(naming(dead, mid))
	after := func(p *peer, packets int, named *peer) {
		p.answer = func(m wire.Request) *wire.Response {
			if p.count(false, wire.CmdFindPeer) < packets {
				return nil
			}
			return naming(named)(m)
		}
	}
	after(mid, 5, late)  // after four seconds
	after(late, 4, dead) // after three more, when the dead node is known to be
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{early.addr}})
	l.net.Run(time.Minute)
	if r.done != 1 {
		t.Fatal("query did not end")
	}
	if early, late := early.count(true, wire.CmdDownHint), late.count(true, wire.CmdDownHint); early != 1 || late != 1 {
		t.Errorf("%d hints for the first referrer, %d for the last, want one each", early, late)
	}
	if n := len(dead.got); n != QueryRetries+1 {
		t.Errorf("%d packets to the dead node", n)
	}
}

func TestDownHintsAreLimitedPerTick(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(empty)
	l.net.Run(4900 * time.Millisecond)
	l.do(func() {
		for range downHintsPerTick + 7 {
			l.sendDownHint(p.addr, client, nil)
		}
	})
	l.net.Run(50 * time.Millisecond)
	if n := p.count(true, wire.CmdDownHint); n != downHintsPerTick {
		t.Errorf("%d hints, want %d", n, downHintsPerTick)
	}
	l.net.Run(time.Second)
	l.do(func() { l.sendDownHint(p.addr, client, nil) })
	l.net.Run(50 * time.Millisecond)
	if n := p.count(true, wire.CmdDownHint); n != downHintsPerTick+1 {
		t.Errorf("%d hints after a tick, want %d", n, downHintsPerTick+1)
	}
}

func TestUnansweredVisitTakesTheNodeOutOfTheTable(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(silent)
	l.do(func() { l.AddNode(p.addr) })
	l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	l.net.Run(4500 * time.Millisecond)
	if l.Len() != 1 {
		t.Fatal("a plain ping took the node out of the table")
	}
	l.query(QueryConfig{Retries: NoRetry})
	l.net.Run(10 * time.Second)
	if l.Len() != 0 {
		t.Error("node is still in the table")
	}
}

func TestBackgroundLookupAsksTwoAtATimeAndMoreWhenIdle(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := byDistance(l.peersOf(15, silent))
	l.do(func() {
		for _, p := range peers {
			l.AddNode(p.addr)
		}
		l.background(target, nil, nil)
	})
	l.net.Run(100 * time.Millisecond)
	asked := 0
	for _, p := range peers {
		asked += len(p.got)
	}
	if asked != backgroundConcurrency {
		t.Errorf("%d asked at first, want %d", asked, backgroundConcurrency)
	}
	for _, p := range peers {
		p.answer = empty
	}
	l.net.Run(10 * time.Second)
	asked = 0
	for _, p := range peers {
		if p.count(true, wire.CmdFindNode) > 0 {
			asked++
		}
	}
	if asked != len(peers) {
		t.Errorf("%d asked in the end, want all", asked)
	}
}

func TestNearestNodesAreAskedByDistanceFromTheTable(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(10, empty)
	l.do(func() {
		for _, p := range peers {
			l.AddNode(p.addr)
		}
	})
	want := l.Closest(target, kad.K)
	slices.Reverse(want) // a stack
	l.query(QueryConfig{Concurrency: 1})
	l.net.Run(time.Minute)
	slices.SortFunc(peers, func(a, b *peer) int { return cmp.Compare(a.got[0].at, b.got[0].at) })
	if got := addrs(peers); !slices.Equal(got, want) {
		t.Errorf("asked in order %v\nwant %v", got, want)
	}
}

func TestNearestFirstAsksTheNearestKnownNodeFirst(t *testing.T) {
	l := newLab(t, Config{})
	all := byDistance(l.peersOf(30, empty))
	entry := all[29]
	entry.answer = naming(all[:20]...)
	r := l.query(QueryConfig{Nodes: []netip.AddrPort{entry.addr}, Concurrency: 1, NearestFirst: true})
	l.net.Run(time.Minute)
	if want := append([]netip.AddrPort{entry.addr}, addrs(all[:20])...); r.err != nil || !slices.Equal(r.replies, want[:len(r.replies)]) || len(r.replies) < 20 {
		t.Errorf("%v, asked %v\nwant %v", r.err, r.replies, want)
	}
}

func TestQueryPausesWhenItHasEnough(t *testing.T) {
	l := newLab(t, Config{})
	all := l.peersOf(15, empty)
	enough, asked := false, 0
	for _, p := range all {
		p.answer = func(m wire.Request) *wire.Response {
			if !m.Internal {
				asked++
				enough = true
			}
			return &wire.Response{}
		}
	}
	r := l.query(QueryConfig{Nodes: addrs(all), Concurrency: 2, OnlyClosest: true, Enough: func() bool { return enough }})
	l.net.Run(time.Minute)
	if asked != 2 || r.done != 0 {
		t.Fatalf("%d were asked, the query ended %d times", asked, r.done)
	}
	l.do(func() {
		enough = false
		Continue(r.Query)
		Continue(r.Query)
	})
	l.net.Run(time.Minute)
	if asked != 4 || r.done != 0 {
		t.Fatalf("%d were asked, the query ended %d times", asked, r.done)
	}
	for _, p := range all {
		p.answer = empty
	}
	l.do(func() {
		enough = false
		Continue(r.Query)
	})
	l.net.Run(time.Minute)
	if r.done != 1 || r.err != nil || r.Answers() != 15 {
		t.Errorf("ended %d times, %v, %d answers", r.done, r.err, r.Answers())
	}
}

// Where the window is full, a query that has had an answer goes on before others begin.
func TestQueriesGoOnBeforeOthersBegin(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	var order []string
	note := func(name string, answer func(wire.Request) *wire.Response) func(wire.Request) *wire.Response {
		return func(m wire.Request) *wire.Response {
			order = append(order, name)
			return answer(m)
		}
	}
	begun, busy := l.peer(note("begins", empty)), l.peer(silent)
	entry := l.peer(note("entry", naming(l.peer(note("goes on", empty)), l.peer(note("goes on", empty)))))
	l.query(QueryConfig{Nodes: addrs([]*peer{entry})})
	l.do(func() {
		for range windowMax {
			l.Request(RequestOptions{To: busy.addr, Command: 2, Retries: NoRetry, Timeout: time.Minute}, nil)
		}
	})
	l.query(QueryConfig{Nodes: addrs([]*peer{begun})})
	l.net.Run(drainInterval)
	if want := []string{"entry", "goes on", "goes on", "begins"}; !slices.Equal(order, want) {
		t.Errorf("asked: %q, want %q", order, want)
	}
}
