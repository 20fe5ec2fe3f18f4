package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// nudges notify all sessions of a scraper that its machine has moved: connections may be dead, and clients that were unreachable
// may be reachable now. They are spread, since an open session probes its client, and a waiting one dials.
type nudges struct {
	scraper *Scraper
	keys    []domain.PublicKey // of sessions still to be notified
	timer   host.Timer         // runs during a round, and until the next one may begin
	moves   moves
	telling bool // a round is in progress
	over    bool // it is about another way to the network, with the former one still working
	again   bool // the machine has moved during the round
	then    bool // over of the next round
	unwatch []func()
}

// watch begins to follow the network of the node.
func (n *nudges) watch() {
	cfg := &n.scraper.cfg
	n.unwatch = []func(){watchNetwork(cfg.Transport, cfg.OnEvent), cfg.Transport.OnMoved(n.onMoved)}
}

// nudgeSteps is the number of steps of a round.
const nudgeSteps = 20

func (n *nudges) onMoved(m ports.Move) {
	switch {
	case m == ports.MoveIntoReach || n.scraper.closed:
	case n.telling, n.timer != nil:
		n.again = n.telling // some sessions have been notified before it
		n.then = n.then && m == ports.MoveOver
	default:
		n.then = m == ports.MoveOver
		n.start()
	}
}

// start begins a round as soon as the limit allows.
func (n *nudges) start() {
	h := n.scraper.cfg.Host
	if wait := n.moves.wait(h.Now()); wait > 0 {
		n.timer = h.AfterFunc(wait, n.begin)
		return
	}
	n.begin()
}

func (n *nudges) begin() {
	n.moves.count(n.scraper.cfg.Host.Now())
	n.telling, n.again, n.over, n.then = true, false, n.then, true
	n.keys = n.scraper.clients()
	n.step()
}

func (n *nudges) step() {
	s := n.scraper
	n.timer = nil
	for range len(s.sessions)/nudgeSteps + 1 {
		if len(n.keys) == 0 {
			n.finish()
			return
		}
		if held := s.sessions[n.keys[0]]; held != nil {
			if n.over {
				held.movedOver()
			} else {
				held.moved()
			}
		}
		n.keys = n.keys[1:]
	}
	n.timer = s.cfg.Host.AfterFunc(movedSpread/nudgeSteps, n.step)
}

// finish ends a round, and begins the next one if the machine has moved meanwhile.
func (n *nudges) finish() {
	n.telling = false
	if n.again {
		n.start()
	}
}

func (n *nudges) stop() {
	for _, unwatch := range n.unwatch {
		unwatch()
	}
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
	n.keys, n.telling, n.again = nil, false, false
}
