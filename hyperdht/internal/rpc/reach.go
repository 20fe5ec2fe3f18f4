package rpc

import "github.com/dhtprom/dhtprom/ports/host"

// reach is whether DHT nodes answer at all.
//
//	starting ── bootstrapping has ended ──▶ answering ◀── any answer ── silent
//	   └── the same, without any answer ──▶ silent            ▲
//	                           answering ── silentRequests without an answer, silentAfter ──┘
//
// Health judges how well they answer, once enough requests were made in a tick; an idle node makes too few.
type reach struct {
	verdict    reachVerdict
	heard      host.Instant // when the last answer came; zero for never
	unanswered int          // requests that timed out since
}

type reachVerdict uint8

const (
	reachStarting reachVerdict = iota
	reachAnswering
	reachSilent
)

// Silent reports whether bootstrapping has ended and no DHT node answers. It is never so without bootstrap nodes: others
// enter such a network by this node.
func (e *Endpoint) Silent() bool { return e.reach.verdict == reachSilent }

// judgeReach draws the conclusion, with each tick and at the end of bootstrapping.
func (e *Endpoint) judgeReach() {
	r := &e.reach
	if !e.bootstrapped || e.suspended || e.Alone() {
		return
	}
	if r.heard == 0 || r.unanswered >= silentRequests && e.h.Now().Sub(r.heard) >= silentAfter {
		e.setReach(reachSilent)
	} else {
		e.setReach(reachAnswering)
	}
}

// answered notes an answer.
func (e *Endpoint) answered() {
	e.reach.heard, e.reach.unanswered = e.h.Now(), 0
	if e.waking {
		e.waking = false
		if e.cfg.OnWakeup != nil {
			e.h.Defer(e.cfg.OnWakeup)
		}
	}
	if e.reach.verdict == reachSilent {
		e.setReach(reachAnswering)
	}
}

func (e *Endpoint) setReach(v reachVerdict) {
	was := e.reach.verdict
	if e.reach.verdict = v; v == was || was == reachStarting && v == reachAnswering {
		return
	}
	e.h.Trace(Event{Kind: EventReach, Online: v == reachAnswering})
	if e.cfg.OnReach != nil {
		answering := v == reachAnswering
		e.h.Defer(func() { e.cfg.OnReach(answering) })
	}
}
