package app

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// pathSearch searches for a new direct path to the client of an open session once a relay has taken over and the old path is
// silent. The transport returns to the old path when that works again, but cannot find another one for the same connection. So a
// second connection is dialled, and the session switches to it if it is direct. The first one is used until then.
//
// The states are those of searchTable. Each ends when the old path works again, and when the session has lost its connection. The
// waits after an attempt grow.
//
// A connection that was relayed from the start is left alone, and so are those that must be relayed: the dial has tried all
// direct paths beside the relay, and the NATs that prevented them stay the same for as long as the relay carries it, since a NAT
// that changes ends the connection to the relay, too. Repeated attempts would cost the node its turns at guessing ports, of which
// it has one at a time.
type pathSearch struct {
	s       *Session
	turn    dialler
	backoff domain.Backoff
	rest    time.Duration // the wait before the next attempt; 0 for none since the last news
	any     bool          // any path will do, since the connection's own way to the network is about to be closed
	direct  bool          // the path of the session's connection
	since   host.Instant  // time at which it became direct, a relay took over, or the last attempt ended
	timer   host.Timer    // waiting: the next attempt; dialling: connect timeout
	link    *sessionLink  // dialling: the second connection
}

func (p *pathSearch) init(s *Session) {
	p.s, p.backoff = s, domain.Backoff{Min: searchWaitMin, Max: searchWaitMax}
	p.turn.dial = p.dial
}

// follow records the path of the session's connection, which is new or has changed. A search for any path goes on: the connection is about
// to end on either.
func (p *pathSearch) follow(path domain.Path) {
	now := p.s.cfg.Host.Now()
	switch {
	case p.any:
		p.direct = path != domain.PathRelay
	case path != domain.PathRelay && !p.direct:
		p.end()
		p.direct, p.since = true, now
	case path == domain.PathRelay && p.direct:
		if now.Sub(p.since) >= searchWaitMax {
			p.reset()
		}
		p.direct, p.since = false, now
		p.wait(p.pause())
	}
}

// end stops the search, because the session has a direct path or no connection.
func (p *pathSearch) end() {
	p.stop()
	p.direct, p.any = false, false
}

// over begins a search for any path, over another way to the network.
func (p *pathSearch) over() {
	p.stop()
	p.reset()
	p.any = true
	p.queueUp()
}

// stop cancels the current attempt.
func (p *pathSearch) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if l := p.link; l != nil {
		p.link = nil
		l.conn.Close(nil)
	}
	if q := p.s.queue; q != nil {
		q.drop(&p.turn)
		q.leave(&p.turn)
	}
}

// reset resets the waits.
func (p *pathSearch) reset() {
	p.rest = 0
	p.backoff.Reset()
}

// news handles a possible change of the client's address or of this machine's. A second dial that the client has not answered is
// restarted. If none is in progress, the next one begins takeoverWait after the last one ended.
func (p *pathSearch) news() {
	p.reset()
	switch {
	case p.link != nil && p.s.stale(p.link):
		p.stop()
		p.queueUp()
	case p.link == nil && p.timer != nil:
		p.timer.Stop()
		p.wait(max(0, takeoverWait-p.s.cfg.Host.Now().Sub(p.since)))
	}
}

// pause is the wait before the next attempt. It grows with attempts, and not with takeovers that were too short for one.
func (p *pathSearch) pause() time.Duration {
	if p.rest > 0 {
		return p.rest
	}
	return takeoverWait + jitter(p.s.cfg.Host, takeoverSpread)
}

func (p *pathSearch) wait(d time.Duration) {
	p.timer = p.s.cfg.Host.AfterFunc(d, func() {
		p.timer = nil
		if silence := p.s.link.conn.DirectSilence(); silence < takeoverWait && !p.any {
			p.wait(takeoverWait - silence)
			return
		}
		p.queueUp()
	})
}

func (p *pathSearch) queueUp() {
	if q := p.s.queue; q != nil {
		q.wait(&p.turn)
		return
	}
	p.dial()
}

func (p *pathSearch) dial() {
	p.rest = p.backoff.Next(random(p.s.cfg.Host))
	p.timer = p.s.cfg.Host.AfterFunc(connectTimeout, p.fail)
	p.link = &sessionLink{}
	p.s.dialOn(p.link)
}

func (p *pathSearch) onOpen(peer domain.Peer) {
	p.link.openAs(peer, p.s.cfg.Host.Now())
	p.s.paths.Opened(peer.Path, p.link.opened.Sub(p.link.began), domain.LaterDial)
	if p.s.queue != nil {
		p.s.queue.leave(&p.turn)
	}
	p.check()
}

// check switches the session to the second connection if that is direct. One that opens over a relay may become direct: ports are
// guessed beside it.
func (p *pathSearch) check() {
	l := p.link
	if !l.open || !l.ready {
		return
	}
	if l.peer = l.conn.Peer(); l.peer.Path == domain.PathRelay && !p.any {
		return
	}
	p.timer.Stop()
	p.link, p.timer, p.any = nil, nil, false
	p.s.paths.SecondDirect++
	p.s.goOver(l)
	p.follow(l.peer.Path)
}

// fail ends an attempt.
func (p *pathSearch) fail() {
	if p.link.open && p.link.conn.Peer().Path == domain.PathRelay {
		p.s.paths.SecondRelayed++
	} else {
		p.s.paths.SecondFailed++
	}
	p.stop()
	p.since = p.s.cfg.Host.Now()
	p.wait(p.pause())
}

// goOver switches to another connection. Requests in progress end on the previous one, which is closed then, without an
// interruption visible to either side: the client has been connected since the first of them opened.
func (s *Session) goOver(next *sessionLink) {
	h, last := s.cfg.Host, s.link
	if s.old != nil {
		s.closeOld() // its requests are repeated
	}
	if h.Now().Sub(last.opened) >= stableAfter {
		s.backoff.Reset()
	}
	if last.stopProbe != nil {
		last.stopProbe()
	}
	next.uid, next.at = newUID(h), last.at
	s.link, s.old = next, last
	s.recordChange(domain.SessionChange{State: domain.SessionOpen, Peer: next.peer})
	tell(s.cfg.OnEvent, domain.ConnectionOpen{UID: next.uid, Side: domain.SideScrape, Peer: next.peer})
	s.closeOldMaybe()
}

// closeOldMaybe closes the previous connection when no request is left on it.
func (s *Session) closeOldMaybe() {
	if s.old != nil && !slices.ContainsFunc(s.pending, func(r *sessionRequest) bool { return r.link == s.old }) {
		s.closeOld()
	}
}

func (s *Session) closeOld() {
	old := s.old
	s.old = nil
	s.detach(old, nil)
	old.conn.Close(nil)
}

// links returns the number of connections that the session has or is dialling.
func (s *Session) links() (n int) {
	for _, l := range []*sessionLink{s.link, s.search.link, s.old} {
		if l != nil {
			n++
		}
	}
	return n
}
