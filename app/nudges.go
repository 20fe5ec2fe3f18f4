package app

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// nudges tell all sessions of a scraper that its machine has moved: connections may lead nowhere, and clients that could
// not be reached before may be reached now. They are spread, since an open session asks its client for a sign of life,
// and a waiting one dials.
type nudges struct {
	scraper *Scraper
	keys    []domain.PublicKey // of sessions still to be told
	timer   host.Timer         // runs while there are any, or until the next round may begin
	began   host.Instant       // of the last round; zero for none
}

// nudgeSteps is in how many steps a round is done.
const nudgeSteps = 20

func (n *nudges) onMoved(m ports.Move) {
	if m != ports.MoveElsewhere || n.timer != nil || n.scraper.closed {
		return
	}
	h := n.scraper.cfg.Host
	if since := h.Now().Sub(n.began); n.began != 0 && since < movedPause {
		n.timer = h.AfterFunc(movedPause-since, n.begin)
		return
	}
	n.begin()
}

func (n *nudges) begin() {
	n.began = n.scraper.cfg.Host.Now()
	n.keys = n.scraper.clients()
	n.step()
}

func (n *nudges) step() {
	s := n.scraper
	n.timer = nil
	for range len(s.sessions)/nudgeSteps + 1 {
		if len(n.keys) == 0 {
			return
		}
		if held := s.sessions[n.keys[0]]; held != nil {
			held.moved()
		}
		n.keys = n.keys[1:]
	}
	n.timer = s.cfg.Host.AfterFunc(movedSpread/nudgeSteps, n.step)
}

func (n *nudges) stop() {
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
	n.keys = nil
}
