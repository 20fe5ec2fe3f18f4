package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Announcement is the state of a server's record on the DHT.
type Announcement struct {
	// Nodes is how many DHT nodes hold the record and answered when they were last asked, every three seconds.
	Nodes int
	// Ever reports whether a node has taken the record since the server was started or resumed.
	Ever bool
	// Silent is for how long none of them has answered; zero while one does, and before the first has.
	Silent time.Duration
}

// heldRecord is what is known of a server's record on the DHT.
type heldRecord struct {
	holders int          // nodes that hold it and answered when last asked
	heard   host.Instant // when one last did; zero for never
}

// answered notes how many nodes that hold it have just answered.
func (r *heldRecord) answered(nodes int, now host.Instant) {
	r.holders = nodes
	if nodes > 0 {
		r.heard = now
	}
}

func (r *heldRecord) status(now host.Instant) Announcement {
	s := Announcement{Nodes: r.holders, Ever: r.heard != 0}
	if s.Ever && s.Nodes == 0 {
		s.Silent = now.Sub(r.heard)
	}
	return s
}

// withdrawal takes a record back, in rounds that may overlap.
type withdrawal struct {
	rounds  int
	waiting []func()
}

func (w *withdrawal) begin() { w.rounds++ }

// end ends a round, and runs after the last one what waits.
func (w *withdrawal) end() {
	if w.rounds--; w.rounds > 0 {
		return
	}
	waiting := w.waiting
	w.waiting = nil
	for _, f := range waiting {
		f()
	}
}

// wait runs f after the last round. It reports false where there is none.
func (w *withdrawal) wait(f func()) bool {
	if w.rounds == 0 {
		return false
	}
	w.waiting = append(w.waiting, f)
	return true
}
