package rpc

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

func TestClearedCandidatesAreGoneAndTheirMemoryIsNot(t *testing.T) {
	var cs candidates
	fill := func() {
		for i := range 2 * minSeen {
			c := cs.add(addrKey(i), id.NodeID{byte(i)}, 1, nil)
			cs.answered(addrKey(i).addr())
			cs.referred(c)
			c.state, c.once, c.bootstrap = candidateDown, true, true
		}
	}
	fill()
	blocks, slots := len(cs.made), len(cs.seen.slots)
	cs.clear()
	if c := cs.at(1); c != nil || len(cs.pending)+len(cs.referrers)+cs.seen.n != 0 {
		t.Errorf("a candidate %v, %d to ask, %d referrers", c, len(cs.pending), len(cs.referrers))
	}
	if c := cs.add(1, id.NodeID{1}, 2, nil); c.state != candidateWaiting || c.once || c.bootstrap || c.named != 0 || c.depth != 2 {
		t.Errorf("a new candidate is %+v", *c)
	}
	cs.clear()
	fill()
	if len(cs.made) != blocks || len(cs.seen.slots) != slots {
		t.Errorf("%d blocks and %d slots, want the former %d and %d", len(cs.made), len(cs.seen.slots), blocks, slots)
	}
}

func TestALargeWorkspaceIsNotUsedAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
		kept bool
	}{{"an honest lookup", keptCandidates, true}, {"a hostile one", keptCandidates + 1, false}} {
		t.Run(tt.name, func(t *testing.T) {
			w := new(workspace)
			w.closest.Reset(target, 1)
			w.closest.Add(id.NodeID{}, Reply{Value: []byte("x")})
			items := w.closest.Items()
			for i := range tt.n {
				w.candidates.add(addrKey(i), id.NodeID{}, 1, nil)
			}
			w.release()
			if cleared := w.candidates.seen.n == 0 && items[0].Value == nil; cleared != tt.kept {
				t.Errorf("cleared: %v, want %v", cleared, tt.kept)
			}
		})
	}
}

func TestSpareMemoryOfACallRefersToNothing(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	r := l.query(QueryConfig{Nodes: addrs(append(l.peersOf(1, empty), l.peersOf(1, silent)...))})
	l.do(func() {})
	spare := len(r.spare) // of earlier queries
	l.net.Run(100 * time.Millisecond)
	if len(r.spare) != spare+1 {
		t.Fatalf("%d calls to use again, want %d and that of the answer", len(r.spare), spare)
	}
	if c := r.spare[spare]; c.calls != nil || c.query != nil || c.candidate != nil || c.socket != nil || c.packet != nil || c.group != nil {
		t.Errorf("%+v", *c)
	}
}

func TestWorkspaceForgetsACallThatItHandsOut(t *testing.T) {
	w := new(workspace)
	w.reuse(new(Call))
	if w.call(); w.spare[:1][0] != nil {
		t.Error("it refers to a call of a query, and so to a node that may be gone")
	}
}

// The memory of the candidates is that of another query by then.
func TestAnswersAfterTheEndOfAQueryAreStillThoseOfNodes(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(empty)
	r := l.query(QueryConfig{Nodes: addrs([]*peer{p}), Apart: true, Group: l.NewCallGroup()})
	l.do(func() {})
	c := l.calls.table.first()
	if c == nil {
		t.Fatal("no call is under way")
	}
	l.do(func() {
		c.candidate.id = id.NodeID{}
		r.Destroy()
	})
	l.net.Run(time.Second)
	if n := l.nodes.at(p.addr); n == nil || len(p.got) != 1 || p.got[0].request.Command != wire.CmdFindPeer {
		t.Errorf("the node that answered is %v in the table, after %d requests", n, len(p.got))
	}
}

func TestResultOfAQueryStaysUnlessItIsDiscarded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		discard bool
		want    int // replies after the end
	}{{"kept", false, 3}, {"discarded", true, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			peers := byDistance(l.peersOf(3, empty))
			var q *Query
			inDone := 0
			l.do(func() {
				q = l.FindNode(target, QueryConfig{
					Nodes: addrs(peers), Apart: true, Discard: tt.discard, OnDone: func(error) { inDone = len(q.Closest()) },
				})
			})
			l.net.Run(time.Second)
			l.query(QueryConfig{Nodes: addrs(l.peersOf(5, empty))}) // may have the memory of the first
			l.net.Run(time.Second)
			if !q.Done() || inDone != len(peers) || len(q.Closest()) != tt.want {
				t.Fatalf("%d replies when it ended, want %d; %d later, want %d", inDone, len(peers), len(q.Closest()), tt.want)
			}
			for i, r := range q.Closest() {
				if r.From != peers[i].addr {
					t.Errorf("reply %d is of %v, want %v", i, r.From, peers[i].addr)
				}
			}
		})
	}
}
