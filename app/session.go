package app

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// SessionConfig configures a Session.
type SessionConfig struct {
	Host      host.Host
	Transport ports.ScraperTransport // borrowed: Close leaves it open
	Keys      domain.KeyPair         // the scraper's identity, which the client's firewall expects
	Client    domain.PublicKey
	Clock     ports.Clock // for the history; nil keeps none
	// RequestTimeout bounds a scrape whose request has no time, including its waits. 5 s by default.
	RequestTimeout time.Duration
	Retry          Retry
	OnEvent        func(domain.Event) // may be nil
}

func (c *SessionConfig) check() error {
	var p problems
	p.must(c.Host != nil, "Host", "is required")
	p.must(c.Transport != nil, "Transport", "is required")
	p.must(!c.Keys.IsZero(), "Keys", "is required")
	p.must(!c.Client.IsZero(), "Client", "want the client's public key")
	p.within("RequestTimeout", &c.RequestTimeout, domain.DefaultRequestTimeout, time.Millisecond, forever)
	c.Retry.check(&p, "Retry")
	return p.err()
}

// Session is a scraper's held connection to one client. It connects on Start, and reconnects whenever the connection is lost,
// until Close.
type Session struct {
	cfg     SessionConfig
	state   domain.SessionState
	started bool
	backoff domain.Backoff
	seen    host.Instant // end of the last connection that opened; 0 for none
	timer   host.Timer   // connecting: connect timeout; open: channel timeout; waiting: the next dial
	link    *sessionLink
	lastErr error // why there is no connection
	retryAt host.Instant
	pending []*sessionRequest // asked, unanswered; oldest first
	dials   uint64
	tries   int // dials since the last connection, or the start
	paths   *domain.DialStats
	history sessionHistory

	queue *dialQueue // nil: dials at once
	turn  dialler    // connecting: its place in the queue
	doubt bool       // the last connection failed its probe, and the next one may be as old, see hurry

	search pathSearch   // open: search for a direct path, where a relay has taken over
	old    *sessionLink // previous connection, until its requests have ended, see goOver; nil for none

	service sessionService
}

// sessionHistory has the last changes of a session, and those of its path.
type sessionHistory struct {
	domain.SessionHistory
	paths domain.PathHistory
}

// sessionService answers a client's requests on its connection. Nil functions mean that they are not supported.
type sessionService struct {
	onLeave func(ports.AliasRequest, *sessionLink, func(ports.AliasReply)) // goodbyes
	onSet   func(ports.SetRequest, *sessionLink, func(ports.SetReply))     // registrations of its set
	on      func() bool                                                    // whether new connections support them
}

// sessionLink is one connection of a session, or the dial for one. Callbacks of links that the session no longer uses are
// ignored. A session has maxSessionLinks at most: the one in use, the second one of its search for a path, and the previous one.
type sessionLink struct {
	conn   ports.MetricsSession
	uid    domain.UID
	peer   domain.Peer
	open   bool
	ready  bool
	began  host.Instant
	opened host.Instant
	at     time.Time // when it opened, if there is a clock

	limit     *bound.Bucket // of registrations; nil where they are not supported
	probing   bool
	suspected bool // by a scrape: it ends by the probe only while nothing is under way
	stopProbe func()
	hurried   bool // see hurry
}

// NewSession checks the configuration. Nothing happens before Start.
func NewSession(cfg SessionConfig) (*Session, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Session{cfg: cfg, backoff: cfg.Retry.backoff(), state: domain.SessionWaiting, paths: &domain.DialStats{}}
	s.turn.dial = s.connect
	s.search.init(s)
	return s, nil
}

// Start connects, and reconnects from then on. Starting twice is harmless.
func (s *Session) Start() {
	if !s.started && s.state != domain.SessionClosed {
		s.started = true
		s.dial()
	}
}

// Nudge reports that the client registered, so it runs. A wait for the next dial ends at once, and a dial that the client has not
// answered is restarted. An open connection is probed, because a client that was killed and restarted registers long before the
// old connection times out.
func (s *Session) Nudge() { s.news(s.begin) }

// moved reports that this machine's addresses changed. It is Nudge for all sessions, so dials take turns. A dial that goes on has the
// connect timeout from now: the machine may have slept since it began.
func (s *Session) moved() {
	if s.state == domain.SessionConnecting && s.link != nil && !s.stale(s.link) {
		s.timer.Stop()
		s.limitDial(s.link)
	}
	s.news(func() {
		if s.turn.ticket == nil {
			s.queueUp()
		}
	})
}

// movedOver reports that new connections of this machine take another way, and that those made before work until they are closed. An open
// session gets a connection over it, and closes the other one when its requests have ended.
func (s *Session) movedOver() {
	if s.state == domain.SessionOpen && s.link.ready {
		s.search.over()
		return
	}
	s.moved()
}

// news dials with the given function, or probes what the session has.
func (s *Session) news(dial func()) {
	s.backoff.Reset()
	s.search.news()
	switch {
	case !s.started:
	case s.state == domain.SessionWaiting:
		s.become(domain.SessionConnecting)
		dial()
	case s.turn.ticket != nil:
		dial()
	case s.state == domain.SessionConnecting && s.stale(s.link):
		s.redial()
	case s.state == domain.SessionOpen && s.link.ready:
		if s.link.suspected = false; !s.link.probing {
			s.probe(s.link)
		}
	case s.state == domain.SessionOpen && !s.link.ready && !s.link.hurried:
		s.hurry(s.link)
	}
}

// hurry shortens the deadline of the metrics channel to that of a probe. The client may have registered on this connection before
// it moved.
func (s *Session) hurry(link *sessionLink) {
	link.hurried = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = s.cfg.Host.AfterFunc(probeTimeout, func() {
		s.drop(link, &domain.TimeoutError{Waiting: "the metrics channel", After: probeTimeout})
		s.Nudge()
	})
}

// reconnectIfOlder closes a connection that opened before the client reported that it has none. A dial that the client has not answered
// is replaced, even one that has just begun: the client offers the connection on which it has registered.
func (s *Session) reconnectIfOlder(said host.Instant) {
	switch {
	case s.state == domain.SessionOpen && s.link.opened.Before(said):
		s.drop(s.link, errUnconnected)
		s.Nudge()
	case s.state == domain.SessionConnecting && s.link != nil && !s.link.conn.Answered():
		s.redial()
	}
}

// suspect probes a connection on which a scrape brought no answer. Its client may acknowledge everything and read nothing: an observer of
// the path can lengthen a message, and clients of older versions and those of the JavaScript packages wait for the rest of it. A client that
// is not reached at all is left to the keep-alive, and the answer to the probe may wait behind a large page.
func (s *Session) suspect(link *sessionLink) {
	if link.ready && !link.probing {
		link.suspected = true
		s.probe(link)
	}
}

// probe drops a connection on which nothing answers within probeTimeout.
func (s *Session) probe(link *sessionLink) {
	link.probing = true
	var timer host.Timer
	cancel := link.conn.Ping(func(error) {
		// After an error the connection closes, which OnClose handles.
		timer.Stop()
		link.probing = false
	})
	timer = s.cfg.Host.AfterFunc(probeTimeout, func() {
		cancel()
		if link.probing = false; link.suspected && !link.conn.Idle() {
			return
		}
		dead := &domain.TimeoutError{Waiting: "a sign of life", After: probeTimeout}
		if link.suspected {
			s.drop(link, dead)
			return
		}
		s.doubt = true
		s.drop(link, dead)
		s.Nudge()
	})
	link.stopProbe = func() {
		cancel()
		timer.Stop()
	}
}

// RequestMetrics requests a page of metrics in the text format, of a client whose connection may still be under way. within bounds it, the
// configured time when zero. The error is one of Scraper.Scrape's.
func (s *Session) RequestMetrics(within time.Duration, done func(body []byte, err error)) (cancel func()) {
	return collect(s, within, done)
}

// Close disconnects and fails requests in progress with domain.ErrClosed. Events of the connection's end come before Close
// returns; done callbacks of requests in a later turn.
func (s *Session) Close() { s.end(func(c ports.MetricsSession) { c.Close(nil) }) }

// Release is Close, and notifies the client that it need not register again.
func (s *Session) Release() { s.end(ports.MetricsSession.Release) }

func (s *Session) end(hangUp func(ports.MetricsSession)) {
	if s.state == domain.SessionClosed {
		return
	}
	link, old := s.link, s.old
	s.become(domain.SessionClosed)
	if second := s.search.link; second != nil {
		s.search.link = nil
		hangUp(second.conn)
	}
	s.search.end()
	if s.queue != nil {
		s.queue.drop(&s.turn)
		s.queue.leave(&s.turn)
	}
	s.link, s.old = nil, nil
	for _, l := range []*sessionLink{old, link} {
		if l != nil {
			s.detach(l, nil)
			hangUp(l.conn)
		}
	}
	for _, r := range s.takePending(func(*sessionRequest) bool { return true }) {
		r.settleLater(domain.ErrClosed)
	}
}

// State is the session's state.
func (s *Session) State() domain.SessionState { return s.state }

// Peer is the client's address and path while the session is open.
func (s *Session) Peer() (domain.Peer, bool) {
	if s.state != domain.SessionOpen {
		return domain.Peer{}, false
	}
	return s.link.conn.Peer(), true
}

// linkState returns the measurements of the connection and the version of the client's program while the session is open.
func (s *Session) linkState() (l domain.LinkStats, version string) {
	if s.state != domain.SessionOpen {
		return l, ""
	}
	return s.link.conn.Stats(), s.link.conn.Version()
}

// ready reports whether the session is open and its client serves metrics on it.
func (s *Session) ready() bool { return s.state == domain.SessionOpen && s.link.ready }

// since is the time at which the session opened, zero when it is not open.
func (s *Session) since() time.Time {
	if s.state != domain.SessionOpen {
		return time.Time{}
	}
	return s.link.at
}

// detour returns the reason for which a relay carries the session's connection.
func (s *Session) detour() domain.Detour {
	if s.state != domain.SessionOpen {
		return domain.Detour{}
	}
	return s.link.conn.Detour()
}

// recordChange adds an entry to the history.
func (s *Session) recordChange(c domain.SessionChange) {
	if s.cfg.Clock != nil {
		c.First = s.cfg.Clock.Now()
		s.history.Add(c)
	}
	s.recordPath(c.Peer.Path)
}

// recordPath adds the path of the connection from now on to the history, PathUnknown for none.
func (s *Session) recordPath(p domain.Path) {
	if s.cfg.Clock != nil {
		s.history.paths.Add(s.cfg.Clock.Now(), p)
	}
}

// uid is the current connection's, zero without one.
func (s *Session) uid() domain.UID {
	if s.link == nil {
		return domain.UID{}
	}
	return s.link.uid
}

// LastError is the reason for having no connection; nil while there is one or before the first attempt.
func (s *Session) LastError() error { return s.lastErr }

// become is the only place that changes the state, as sessionTable allows.
func (s *Session) become(next domain.SessionState) {
	if !sessionTable.Allows(s.state, next) {
		panic(fmt.Sprintf("app: session %s goes from %s to %s", s.cfg.Client.Short(), s.state, next))
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.state = next
}

// stale reports whether a dial that began before some news should be restarted: the client has not answered it.
func (s *Session) stale(link *sessionLink) bool {
	return link != nil && !link.conn.Answered() && s.cfg.Host.Now().Sub(link.began) >= staleAttempt
}

// redial replaces a dial by another one. Requests keep waiting.
func (s *Session) redial() {
	old := s.link
	s.timer.Stop()
	s.connect()
	old.conn.Close(errStale)
}

// dial connects at the session's turn.
func (s *Session) dial() {
	s.become(domain.SessionConnecting)
	s.queueUp()
}

func (s *Session) queueUp() {
	if s.queue == nil {
		s.connect()
	} else {
		s.queue.wait(&s.turn)
	}
}

// begin connects now.
func (s *Session) begin() {
	if s.queue == nil {
		s.connect()
	} else {
		s.queue.take(&s.turn)
	}
}

// turnOver ends the session's turn.
func (s *Session) turnOver() {
	if s.queue != nil {
		s.queue.leave(&s.turn)
	}
}

func (s *Session) connect() {
	s.tries++
	link := &sessionLink{hurried: s.doubt}
	s.link, s.doubt = link, false
	s.limitDial(link)
	s.dialOn(link)
}

// limitDial starts the connect timeout.
func (s *Session) limitDial(link *sessionLink) {
	s.timer = s.cfg.Host.AfterFunc(connectTimeout, func() {
		s.drop(link, &domain.TimeoutError{Waiting: "the connection", After: connectTimeout})
	})
}

// registrations returns the handler of registrations of the client's set on a link; nil where they are not supported.
func (s *Session) registrations(link *sessionLink) func(ports.SetRequest, func(ports.SetReply)) {
	if s.service.onSet == nil || !s.service.on() {
		return nil
	}
	link.limit = bound.NewBucket(s.cfg.Host.Now(), bound.Pace{Burst: setBurst, Every: setEvery})
	return func(req ports.SetRequest, reply func(ports.SetReply)) {
		s.service.onSet(req, link, reply)
	}
}

// goodbyes returns the handler of the client's goodbyes on a link; nil where they are not supported.
func (s *Session) goodbyes(link *sessionLink) func(ports.AliasRequest, func(ports.AliasReply)) {
	if s.service.onLeave == nil || !s.service.on() {
		return nil
	}
	return func(req ports.AliasRequest, reply func(ports.AliasReply)) {
		s.service.onLeave(req, link, reply)
	}
}

// dialOn dials the connection of a link, the session's own or that of the search.
func (s *Session) dialOn(link *sessionLink) {
	s.dials++
	link.began = s.cfg.Host.Now()
	link.conn = s.cfg.Transport.DialMetrics(ports.MetricsDial{
		Keys:    s.cfg.Keys,
		Client:  s.cfg.Client,
		OnLeave: s.goodbyes(link),
		OnSet:   s.registrations(link),
		OnOpen: func(p domain.Peer) {
			switch link {
			case s.link:
				s.onOpen(link, p)
			case s.search.link:
				s.search.onOpen(p)
			}
		},
		OnReady: func() {
			link.ready = true
			switch link {
			case s.link:
				s.timer.Stop()
			case s.search.link:
				s.search.check()
			}
		},
		OnPath: func(p domain.Peer) {
			switch link {
			case s.link:
				s.recordPath(p.Path)
				s.search.follow(p.Path)
			case s.search.link:
				s.search.check()
			}
		},
		OnClose: func(err error) {
			switch link {
			case s.link:
				s.lost(link, err)
			case s.search.link:
				s.search.fail()
			case s.old:
				s.old = nil
				s.detach(link, err)
			}
		},
	})
}

// openAs records that the connection of a link is open.
func (l *sessionLink) openAs(p domain.Peer, now host.Instant) {
	l.peer, l.open, l.opened = p, true, now
}

func (s *Session) onOpen(link *sessionLink, p domain.Peer) {
	s.become(domain.SessionOpen)
	s.turnOver()
	s.lastErr = nil
	link.openAs(p, s.cfg.Host.Now())
	link.uid = newUID(s.cfg.Host)
	if link.hurried {
		s.hurry(link)
	} else {
		s.timer = s.cfg.Host.AfterFunc(channelTimeout, func() {
			s.drop(link, &domain.TimeoutError{Waiting: "the metrics channel", After: channelTimeout})
		})
	}
	if s.cfg.Clock != nil {
		link.at = s.cfg.Clock.Now()
	}
	s.paths.Opened(p.Path, link.opened.Sub(link.began), domain.DialOrder(s.tries == 1))
	s.tries = 0
	s.recordChange(domain.SessionChange{State: domain.SessionOpen, Peer: p})
	tell(s.cfg.OnEvent, domain.ConnectionOpen{UID: link.uid, Side: domain.SideScrape, Peer: p})
	for _, r := range s.pending {
		if r.link == nil { // the others are in progress on an earlier connection
			r.ask()
		}
	}
	s.search.follow(p.Path)
}

// drop closes a connection after a timeout.
func (s *Session) drop(link *sessionLink, err error) {
	if s.link == link {
		s.lost(link, err)
		link.conn.Close(err)
	}
}

// lost handles the end of a connection or of a dial.
func (s *Session) lost(link *sessionLink, err error) {
	s.link = nil
	s.search.end()
	s.detach(link, err)
	if !link.open {
		s.paths.Failed(domain.DialOrder(s.tries == 1))
	}
	if link.open && s.cfg.Host.Now().Sub(link.opened) >= stableAfter {
		s.backoff.Reset()
	}
	if err == nil {
		err = &ports.ConnectionError{Err: errPeerEnded}
	}
	s.lastErr = err
	s.become(domain.SessionWaiting)
	s.turnOver()
	s.recordChange(domain.SessionChange{State: domain.SessionWaiting, Err: err})
	wait := s.nextWait(link, err)
	s.retryAt = s.cfg.Host.Now().Add(wait)
	s.timer = s.cfg.Host.AfterFunc(wait, s.dial)
	tell(s.cfg.OnEvent, domain.SessionWait{Key: s.cfg.Client, Err: err, RetryIn: wait})
	for _, r := range s.takePending(func(r *sessionRequest) bool { return r.link == nil || r.link != s.old }) {
		r.settleLater(s.notConnected())
	}
}

// nextWait is the wait until the next dial. A client that was connected recently is likely to come back, and its owner waits for
// that: no event reports that a path works again.
func (s *Session) nextWait(link *sessionLink, err error) time.Duration {
	h := s.cfg.Host
	if link.open {
		s.seen = h.Now()
	}
	wait, queued := waitAfter(err, &s.backoff, h)
	if queued || s.seen == 0 || h.Now().Sub(s.seen) >= recentFor {
		return wait
	}
	recent := recentWait/2 + jitter(h, recentWait/2)
	return min(wait, max(recent, s.cfg.Retry.Min))
}

// detach reports the end of a link that the session no longer uses.
func (s *Session) detach(link *sessionLink, err error) {
	if link.stopProbe != nil {
		link.stopProbe()
	}
	if !link.open {
		return
	}
	if err != nil {
		tell(s.cfg.OnEvent, domain.ConnectionError{UID: link.uid, Side: domain.SideScrape, Peer: link.peer, Err: err})
	}
	tell(s.cfg.OnEvent, domain.ConnectionClose{UID: link.uid, Side: domain.SideScrape, Peer: link.peer})
}
