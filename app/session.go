package app

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// SessionConfig configures a Session.
type SessionConfig struct {
	Host      host.Host
	Transport ports.ScraperTransport // borrowed: Close leaves it open
	Keys      domain.KeyPair         // the scraper's identity, which the client's firewall expects
	Client    domain.PublicKey
	Clock     ports.Clock // for the history; nil keeps none
	// RequestTimeout bounds RequestMetrics with everything that it waits for. 5 s by default.
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

// Session is a scraper's held connection to one client. It connects on Start, and again whenever the connection is
// lost, until Close.
type Session struct {
	cfg     SessionConfig
	state   domain.SessionState
	started bool
	backoff domain.Backoff
	seen    host.Instant // when the last connection that opened has ended; 0 for none
	timer   host.Timer   // connecting: connect timeout; open: channel timeout; waiting: the next dial
	link    *sessionLink
	lastErr error // why there is no connection
	retryAt host.Instant
	pending []*sessionRequest // asked, unanswered; oldest first
	dials   uint64
	tries   int // dials since the last connection, or the start
	paths   *domain.DialStats
	history domain.SessionHistory

	queue *dialQueue // nil: dials at once
	turn  dialler    // connecting: its place in the queue
	doubt bool       // the last connection gave no sign of life, and the next one may be as old, see hurry

	search pathSearch   // open: for a direct path, where a relay has taken over
	old    *sessionLink // until the requests on it have ended, see goOver; nil for none

	onLeave func(ports.AliasRequest, func(ports.AliasReply)) // answers the client's goodbyes; nil knows none
}

// sessionLink is one connection of a session, or the try for one. Callbacks of a link that the session has let go
// of are ignored. A session has maxSessionLinks at most: the one in use, the second one of its search for a path, and the one
// that was in use before.
type sessionLink struct {
	conn   ports.MetricsSession
	uid    domain.UID
	peer   domain.Peer
	open   bool
	ready  bool
	began  host.Instant
	opened host.Instant
	at     time.Time // when it opened, if there is a clock

	probing   bool
	stopProbe func()
	hurried   bool // see hurry
}

type sessionRequest struct {
	done   func(domain.MetricsReply, error)
	within time.Duration
	timer  host.Timer
	link   *sessionLink // that was asked; nil while the session connects
	cancel func()       // at the transport; nil while the session connects
	over   bool
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

// Start connects, and reconnects from now on. Starting twice is harmless.
func (s *Session) Start() {
	if !s.started && s.state != domain.SessionClosed {
		s.started = true
		s.dial()
	}
}

// Nudge is news that the client lives: it registered. A wait for the next dial ends at once, and a dial that the client
// has not answered begins anew. An open connection is checked, because a client that was killed and started again
// registers long before the old connection is given up.
func (s *Session) Nudge() { s.news(s.begin) }

// moved is news that this machine is reachable in another way. It is Nudge for all sessions, so that dials take turns.
func (s *Session) moved() {
	s.news(func() {
		if s.turn.ticket == nil {
			s.queueUp()
		}
	})
}

// news has the session dial as it is told, or look after what it has.
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
	case s.state == domain.SessionOpen && s.link.ready && !s.link.probing:
		s.probe(s.link)
	case s.state == domain.SessionOpen && !s.link.ready && !s.link.hurried:
		s.hurry(s.link)
	}
}

// hurry gives the channel of a connection no longer than a sign of life takes. The connection may be one that the client has
// registered on before it moved.
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

// renew gives up a connection that was opened before the client said that it has none.
func (s *Session) renew(said host.Instant) {
	if s.state == domain.SessionOpen && s.link.opened.Before(said) {
		s.drop(s.link, errUnconnected)
		s.Nudge()
	}
}

func (s *Session) probe(link *sessionLink) {
	link.probing = true
	var timer host.Timer
	cancel := link.conn.Ping(func(error) {
		// An error means that the connection is ending, which OnClose tells.
		timer.Stop()
		link.probing = false
	})
	timer = s.cfg.Host.AfterFunc(probeTimeout, func() {
		cancel()
		s.doubt = true
		s.drop(link, &domain.TimeoutError{Waiting: "a sign of life", After: probeTimeout})
		s.Nudge()
	})
	link.stopProbe = func() {
		cancel()
		timer.Stop()
	}
}

// Close disconnects and fails what is under way with domain.ErrClosed. Events of the connection's end come before
// Close returns; done callbacks of requests in a later turn.
func (s *Session) Close() { s.end(func(c ports.MetricsSession) { c.Close(nil) }) }

// Release is Close, and tells the client that it need not come back by itself.
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
		s.settleLater(r, domain.MetricsReply{}, domain.ErrClosed)
	}
}

// State is where the session is.
func (s *Session) State() domain.SessionState { return s.state }

// Peer is the client's address and path while the session is open.
func (s *Session) Peer() (domain.Peer, bool) {
	if s.state != domain.SessionOpen {
		return domain.Peer{}, false
	}
	return s.link.conn.Peer(), true
}

// since is when the session opened, zero when it is not open.
func (s *Session) since() time.Time {
	if s.state != domain.SessionOpen {
		return time.Time{}
	}
	return s.link.at
}

// note adds a line to the history.
func (s *Session) note(c domain.SessionChange) {
	if s.cfg.Clock != nil {
		c.First = s.cfg.Clock.Now()
		s.history.Add(c)
	}
}

// uid is that of the current connection, zero without one.
func (s *Session) uid() domain.UID {
	if s.link == nil {
		return domain.UID{}
	}
	return s.link.uid
}

// LastError is why there is no connection; nil while there is one or before the first try.
func (s *Session) LastError() error { return s.lastErr }

// become is the one place where the state changes; doc.go draws the edges.
func (s *Session) become(next domain.SessionState) {
	ok := false
	switch next {
	case domain.SessionConnecting:
		ok = s.state == domain.SessionWaiting
	case domain.SessionOpen:
		ok = s.state == domain.SessionConnecting
	case domain.SessionWaiting:
		ok = s.state == domain.SessionConnecting || s.state == domain.SessionOpen
	case domain.SessionClosed:
		ok = s.state != domain.SessionClosed
	}
	if !ok {
		panic(fmt.Sprintf("app: session %s goes from %s to %s", s.cfg.Client.Short(), s.state, next))
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.state = next
}

// stale reports whether a dial that began before some news is better begun anew: the client has not answered it.
func (s *Session) stale(link *sessionLink) bool {
	return link != nil && !link.conn.Answered() && s.cfg.Host.Now().Sub(link.began) >= staleAttempt
}

// redial gives up a dial for another one. Requests go on to wait.
func (s *Session) redial() {
	old := s.link
	s.timer.Stop()
	s.connect()
	old.conn.Close(errStale)
}

// dial connects when it is the session's turn.
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

// turnOver lets the next session dial.
func (s *Session) turnOver() {
	if s.queue != nil {
		s.queue.leave(&s.turn)
	}
}

func (s *Session) connect() {
	s.tries++
	link := &sessionLink{hurried: s.doubt}
	s.link, s.doubt = link, false
	s.timer = s.cfg.Host.AfterFunc(connectTimeout, func() {
		s.drop(link, &domain.TimeoutError{Waiting: "the connection", After: connectTimeout})
	})
	s.dialOn(link)
}

// dialOn dials for the connection of a link, which is in use or that of the search.
func (s *Session) dialOn(link *sessionLink) {
	s.dials++
	link.began = s.cfg.Host.Now()
	link.conn = s.cfg.Transport.DialMetrics(ports.MetricsDial{
		Keys:    s.cfg.Keys,
		Client:  s.cfg.Client,
		OnLeave: s.onLeave,
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

// openAs notes that the connection of a link is open.
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
	s.note(domain.SessionChange{State: domain.SessionOpen, Peer: p})
	tell(s.cfg.OnEvent, domain.ConnectionOpen{UID: link.uid, Side: domain.SideScrape, Peer: p})
	for _, r := range s.pending {
		if r.link == nil { // the others are under way on an earlier connection
			s.ask(r)
		}
	}
	s.search.follow(p.Path)
}

// drop gives a connection up that keeps us waiting.
func (s *Session) drop(link *sessionLink, err error) {
	if s.link == link {
		s.lost(link, err)
		link.conn.Close(err)
	}
}

// lost handles the end of a connection, or of the try for one.
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
	s.note(domain.SessionChange{State: domain.SessionWaiting, Err: err})
	wait := s.nextWait(link, err)
	s.retryAt = s.cfg.Host.Now().Add(wait)
	s.timer = s.cfg.Host.AfterFunc(wait, s.dial)
	tell(s.cfg.OnEvent, domain.SessionWait{Key: s.cfg.Client, Err: err, RetryIn: wait})
	for _, r := range s.takePending(func(r *sessionRequest) bool { return r.link == nil || r.link != s.old }) {
		s.settleLater(r, domain.MetricsReply{}, s.notConnected())
	}
}

// nextWait is the wait until the next dial. A client that was connected a while ago is likely to come back, and its owner waits
// for that: nothing tells either side that a way between them works again.
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

// RequestMetrics asks the client for its metrics within the configured time. done gets the client's answer, which
// may be a failure, or an error: ErrNotConnected, ErrTimeout, ErrClosed, or what broke the connection.
func (s *Session) RequestMetrics(done func(domain.MetricsReply, error)) (cancel func()) {
	return s.RequestMetricsWithin(s.cfg.RequestTimeout, done)
}

// RequestMetricsWithin is RequestMetrics with a time of its own. The time covers every wait: for a connection that is
// being made, for the channel on it, and for the answer. A session that waits to dial again fails at once.
func (s *Session) RequestMetricsWithin(within time.Duration, done func(domain.MetricsReply, error)) (cancel func()) {
	s.Start()
	r := &sessionRequest{done: done, within: within}
	refuse := func(err error) (cancel func()) {
		s.settleLater(r, domain.MetricsReply{}, err)
		return func() { r.over = true }
	}
	switch {
	case s.state == domain.SessionClosed:
		return refuse(domain.ErrClosed)
	case s.state == domain.SessionWaiting:
		return refuse(s.notConnected())
	case len(s.pending) >= maxSessionRequests:
		return refuse(errBusy)
	}
	r.timer = s.cfg.Host.AfterFunc(within, func() {
		s.settle(r, domain.MetricsReply{}, &domain.TimeoutError{Waiting: s.waitsFor(), After: within})
	})
	s.pending = append(s.pending, r)
	switch {
	case s.state == domain.SessionOpen:
		s.ask(r)
	case s.turn.ticket != nil:
		s.queue.hurry(&s.turn)
	}
	return func() { s.forget(r) }
}

func (s *Session) ask(r *sessionRequest) {
	link := s.link
	r.link = link
	r.cancel = link.conn.Request(func(reply domain.MetricsReply, err error) {
		if _, broken := errors.AsType[*ports.ConnectionError](err); broken && link != s.link && s.state == domain.SessionOpen && !r.over {
			s.ask(r) // the connection before has brought no answer
			s.cfg.Host.Post(s.closeOldMaybe)
			return
		}
		s.settle(r, reply, err)
	})
}

// waitsFor names what a request that ran out of time was waiting for.
func (s *Session) waitsFor() string {
	switch {
	case s.turn.ticket != nil:
		return "its turn to be dialled"
	case s.state != domain.SessionOpen:
		return "the connection"
	case !s.link.ready:
		return "the metrics channel"
	default:
		return "the answer"
	}
}

func (s *Session) notConnected() error {
	if s.lastErr == nil {
		return domain.ErrNotConnected
	}
	return fmt.Errorf("%w: %w", domain.ErrNotConnected, s.lastErr)
}

// forget ends a request without telling.
func (s *Session) forget(r *sessionRequest) {
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.cancel != nil {
		r.cancel()
	}
	s.pending = slices.DeleteFunc(s.pending, func(o *sessionRequest) bool { return o == r })
	if r.link != nil && r.link == s.old {
		s.closeOldMaybe()
	}
}

func (s *Session) settle(r *sessionRequest, reply domain.MetricsReply, err error) {
	if !r.over {
		s.forget(r)
		r.done(reply, err)
	}
}

// settleLater settles in a turn of its own, so that no caller is called back inside its own call.
func (s *Session) settleLater(r *sessionRequest, reply domain.MetricsReply, err error) {
	s.cfg.Host.Post(func() { s.settle(r, reply, err) })
}

// takePending takes requests out of the list, so that a reconnect does not ask again for those that are about to fail.
func (s *Session) takePending(which func(*sessionRequest) bool) (taken []*sessionRequest) {
	left := s.pending[:0:0]
	for _, r := range s.pending {
		if !which(r) {
			left = append(left, r)
			continue
		}
		taken = append(taken, r)
		r.timer.Stop()
		if r.cancel != nil {
			r.cancel()
		}
	}
	s.pending = left
	return taken
}
