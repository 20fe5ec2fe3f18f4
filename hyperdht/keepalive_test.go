package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// The node with many connections wakes up for all of them together, and each idle connection costs three datagrams in five seconds: a
// message of the side that was dialled, the answer with its acknowledgement, and the acknowledgement of the answer.
func TestKeepAlivesLeaveTogetherAndAreAnsweredAtOnce(t *testing.T) {
	const connections, intervals = 30, 12
	w := newTalk(t, nil)
	for i := range connections {
		w.connect()
		w.run(time.Second / connections)
		if i == 0 {
			w.run(5 * time.Second) // for the path
		}
	}
	w.run(20 * time.Second)
	sent := map[*simnet.Host]int{}
	wakes := map[time.Duration]bool{}
	w.net.SetTap(func(c simnet.Crossing) {
		for _, a := range []*actor{w.answerer, w.dialler} {
			if c.From.Addr() == a.host.Addr() && c.To.Addr() != c.From.Addr() && (c.To.Addr() == w.answerer.host.Addr() || c.To.Addr() == w.dialler.host.Addr()) {
				sent[a.host]++
				if a == w.answerer {
					wakes[w.net.Now()] = true
				}
			}
		}
	})
	w.run(intervals * 5 * time.Second)
	if w.dialled.Closed() || !w.dialled.Opened() || w.dialled.Path() == hyperdht.PathNone {
		t.Fatal("no connection")
	}
	if n := sent[w.answerer.host]; n < connections*intervals || n > 2*connections*(intervals+1) {
		t.Errorf("the answerer sent %d datagrams for %d connections in %d intervals", n, connections, intervals)
	}
	if n := sent[w.dialler.host]; n < connections*intervals || n > connections*(intervals+1) {
		t.Errorf("the dialler sent %d datagrams for %d connections in %d intervals", n, connections, intervals)
	}
	// The connections began within a second, which has ten slots; an answer arrives a round trip later.
	if n := len(wakes); n > 2*12*(intervals+1) {
		t.Errorf("the answerer sent at %d times", n)
	}
}
