package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Announcement is the state of a server's record on the DHT.
type Announcement struct {
	// Nodes is the number of DHT nodes that hold the record and answered the last ping, which leaves every three seconds.
	Nodes int
	// Ever reports whether a node has stored the record since the server was started or resumed.
	Ever bool
	// Silent is the time since the last answer of such a node; zero while one answers, and before the first answer.
	Silent time.Duration
}

// heldRecord is the state of a server's record on the DHT, as the pings show it.
type heldRecord struct {
	holders int          // nodes that hold it and answered when last asked
	heard   host.Instant // the time of the last answer; zero for never
}

// answered records the number of nodes that hold the record and have answered a round of pings.
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

// withdrawal unannounces a record, in rounds that may overlap.
type withdrawal struct {
	rounds  int
	waiting []func()
}

func (w *withdrawal) begin() { w.rounds++ }

// end ends a round, and runs the waiting functions after the last one.
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

// wait runs f after the last round. It reports false if no round is running.
func (w *withdrawal) wait(f func()) bool {
	if w.rounds == 0 {
		return false
	}
	w.waiting = append(w.waiting, f)
	return true
}
