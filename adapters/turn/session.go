package turn

import (
	"net/netip"
	"time"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// session is the use of one server, from connecting to the end of the allocation.
type session struct {
	h      *Host
	server *server
	state  sessionState
	timer  host.Timer // the limit of the state, then the next refresh

	cancel func() // connecting
	link   link   // nil until connected
	parsed stun.Message
	life   life

	credentials credentials
	pending     map[transactionID]*transaction
	relayed     netip.AddrPort
	since       host.Instant // when it was allocated
	rtt         time.Duration
	relay       relay
	answered    bool   // the request to allocate
	closed      func() // the end of close; nil without
	second      bool   // in place of one that the server has sent elsewhere
}

// life is the signs of life of a server.
type life struct {
	heardAt host.Instant // when the last frame arrived
	timer   host.Timer   // the next look
	due     host.Instant // when that is; zero for none
	asked   bool         // the server
	stale   bool         // what arrives was sent before the machine woke
}

type sessionState uint8

const (
	sessionConnecting sessionState = iota
	sessionAllocating
	sessionUp
	sessionClosing
	sessionOver
)

var sessionTable = &states.Table[sessionState]{Name: "session", States: []states.Rule[sessionState]{
	sessionConnecting: {Name: "connecting", Limit: connectLimit, Next: []sessionState{sessionAllocating, sessionOver}},
	sessionAllocating: {Name: "allocating", Limit: allocateLimit, Next: []sessionState{sessionUp, sessionClosing, sessionOver}},
	sessionUp: {
		Name: "up", Why: "the allocation is refreshed until the server fails or the host closes",
		Next: []sessionState{sessionClosing, sessionOver},
	},
	sessionClosing: {Name: "closing", Limit: closeLimit, Next: []sessionState{sessionOver}},
	sessionOver:    {Name: "over"},
}}

func (s *session) become(next sessionState) { sessionTable.Become(&s.state, next, &s.h.faults) }

// begin connects to a server, or to the one that it refers to at an address.
func (h *Host) begin(srv *server, at netip.AddrPort) *session {
	s := &session{h: h, server: srv, pending: make(map[transactionID]*transaction)}
	s.relay.init(s)
	s.timer = h.AfterFunc(connectLimit, func() { s.fail(errSilent) })
	handlers := linkHandlers{open: s.opened, receive: s.receive, fail: s.fail}
	switch {
	case srv.Dialer != nil:
		s.cancel = dialPipe(srv.Dialer, handlers)
	case at.IsValid():
		s.cancel = dialUDP(h.Host, at.Addr().String(), at.Port(), handlers)
	default:
		s.cancel = dialUDP(h.Host, srv.host, srv.port, handlers)
	}
	return s
}

func (s *session) opened(l link) {
	s.link = l
	s.become(sessionAllocating)
	s.timer.Reset(allocateLimit)
	s.life.heardAt = s.h.Now()
	s.allocate()
}

func (s *session) allocate() {
	s.request(stun.MethodAllocate, []stun.RawAttribute{requestedUDP}, func(m *message, err error) {
		s.answered = err == nil
		switch {
		case err != nil:
			s.fail(err)
		case m.code == codeMismatch && !s.second:
			s.h.instead(s, netip.AddrPort{})
		case m.code == codeAlternate && !s.second && s.server.Dialer == nil && isReachable(m.alternate, s.link.remote()):
			s.h.instead(s, m.alternate)
		case m.kind.Class == stun.ClassErrorResponse:
			s.fail(refused(m))
		default:
			if err := checkRelayed(m.relayed, s.link.remote()); err != nil {
				s.fail(err)
				return
			}
			s.allocated(m)
		}
	})
}

func (s *session) allocated(m *message) {
	s.become(sessionUp)
	s.relayed, s.since = m.relayed, s.h.Now()
	s.refreshAfter(m.lifetime)
	s.life.timer = s.h.AfterFunc(keepAlive, s.checkAlive)
	s.aliveAfter(keepAlive)
	s.relay.begin()
	s.h.up(s)
}

// refreshAfter arms the refresh of an allocation that lasts for a time.
func (s *session) refreshAfter(lifetime time.Duration) {
	lifetime = min(max(lifetime, minLife), maxLife)
	s.timer.Stop()
	s.timer = s.h.AfterFunc(max(lifetime/2, lifetime-refreshMargin), s.refresh)
}

// refresh makes the allocation last. One request is under way at a time.
func (s *session) refresh() {
	if s.life.asked {
		return
	}
	s.life.asked = true
	s.request(stun.MethodRefresh, nil, func(m *message, err error) {
		s.life.asked = false
		switch {
		case s.state != sessionUp:
		case err != nil:
			s.fail(err)
		case m.kind.Class == stun.ClassErrorResponse:
			s.fail(refused(m))
		default:
			s.life.stale = false
			s.refreshAfter(m.lifetime)
			s.aliveAfter(keepAlive)
		}
	})
}

// checkAlive asks a silent server whether it has the allocation: a broken TCP connection alone is noticed after minutes, and a server over
// UDP that has been restarted knows of none.
func (s *session) checkAlive() {
	s.checkAwake()
	if quiet := s.h.Now().Sub(s.life.heardAt); quiet < keepAlive {
		s.aliveAfter(keepAlive - quiet)
		return
	}
	s.life.due = 0
	s.refresh() // the answer, or its lack, decides
}

func (s *session) aliveAfter(d time.Duration) {
	s.life.timer.Reset(d)
	s.life.due = s.h.Now().Add(d)
}

// checkAwake drops what has waited in a stream while this machine slept: handshakes and requests whose senders have given up, by the hundred.
// All that arrives before the answer to a request made now was sent before.
func (s *session) checkAwake() {
	if s.life.due != 0 && s.h.Now().Sub(s.life.due) >= slept && s.state == sessionUp {
		s.life.due, s.life.stale = 0, s.link.stream()
		s.refresh()
	}
}

// close ends the allocation and calls done.
func (s *session) close(done func()) {
	if s.state != sessionUp {
		s.end()
		done()
		return
	}
	s.become(sessionClosing)
	s.relay.end()
	s.life.timer.Stop()
	s.timer.Stop()
	s.closed = done // also where the link breaks before the answer
	s.timer = s.h.AfterFunc(closeLimit, s.end)
	s.request(stun.MethodRefresh, []stun.RawAttribute{seconds(0)}, func(*message, error) { s.end() })
}

// fail ends the session with an error, which the host gets.
func (s *session) fail(err error) {
	if s.state == sessionOver {
		return
	}
	closing := s.state == sessionClosing
	s.end()
	if !closing {
		s.h.failed(s, &Error{Server: s.server.Name, Err: err})
	}
}

func (s *session) end() {
	if s.state == sessionOver {
		return
	}
	allocating := s.state == sessionAllocating && !s.answered
	s.become(sessionOver)
	if s.closed != nil {
		defer s.closed()
	}
	s.relay.end()
	s.timer.Stop()
	if s.life.timer != nil {
		s.life.timer.Stop()
	}
	for _, t := range s.pending {
		t.timer.Stop()
	}
	clear(s.pending)
	if s.link == nil {
		s.cancel()
		return
	}
	if allocating && !s.link.stream() && s.credentials.known() { // it may have allocated; a stream that closes tells it
		t := &transaction{s: s, kind: stun.NewType(stun.MethodRefresh, stun.ClassRequest), attrs: []stun.RawAttribute{seconds(0)}}
		host.Draw(s.h.Rand(), t.id[:])
		b := t.build()
		s.link.send(b, []int{len(b)})
	}
	s.link.close()
}

// receive handles a frame.
func (s *session) receive(b []byte) {
	if s.state == sessionOver {
		return
	}
	s.checkAwake()
	s.life.heardAt = s.h.Now()
	if isChannelData(b) {
		channel, data, err := readChannelData(b)
		switch {
		case err != nil:
			s.h.stats.Malformed++
		case s.life.stale:
			s.h.stats.Stale++
		default:
			s.relay.channelData(channel, data)
		}
		return
	}
	m, err := parse(b, &s.parsed)
	switch {
	case err != nil:
		s.h.stats.Malformed++
	case m.kind.Method == stun.MethodData && s.life.stale:
		s.h.stats.Stale++
	case m.kind.Method == stun.MethodData && m.kind.Class == stun.ClassIndication:
		s.relay.data(&m)
	case m.kind.Class == stun.ClassSuccessResponse || m.kind.Class == stun.ClassErrorResponse:
		s.answer(&m)
	default:
		s.h.stats.Unexpected++
	}
}

// transaction is a request without an answer.
type transaction struct {
	s     *session
	kind  stun.MessageType
	attrs []stun.RawAttribute
	done  func(*message, error)
	fresh int          // nonces that it was repeated with
	at    host.Instant // when it was sent last

	id    transactionID
	raw   []byte
	sent  int
	timer host.Timer
}

// maxFresh bounds the nonces that a request is repeated with: the first of all, and a stale one.
const maxFresh = 2

// request sends a request with the credentials, as far as they are known. done gets the answer, or an error.
func (s *session) request(method stun.Method, attrs []stun.RawAttribute, done func(*message, error)) {
	s.start(&transaction{kind: stun.NewType(method, stun.ClassRequest), attrs: attrs, done: done})
}

// busy reports whether so many requests wait that those which can wait should, and counts it.
func (s *session) busy() bool {
	if len(s.pending) < maxPending {
		return false
	}
	s.h.stats.Busy++
	return true
}

func (s *session) start(t *transaction) {
	if s.state == sessionOver {
		return
	}
	t.s, t.sent = s, 0
	host.Draw(s.h.Rand(), t.id[:])
	t.raw = t.build()
	s.pending[t.id] = t
	s.h.stats.Requests++
	t.transmit()
}

func (t *transaction) build() []byte {
	m := stun.Message{Type: t.kind, TransactionID: t.id}
	m.WriteHeader()
	for _, a := range t.attrs {
		m.Add(a.Type, a.Value)
	}
	if t.s.credentials.known() {
		t.s.credentials.sign(&m)
	}
	return m.Raw
}

// transmit sends the request, and repeats it over UDP until it is answered.
func (t *transaction) transmit() {
	s := t.s
	stream := s.link.stream()
	if t.sent == transmissions || stream && t.sent == 1 {
		delete(s.pending, t.id)
		t.done(nil, errSilent)
		return
	}
	wait := firstTimeout << t.sent
	if t.sent++; t.sent == transmissions {
		wait = lastTimeout
	}
	if stream {
		wait = answerLimit
	}
	t.at = s.h.Now()
	s.link.send(t.raw, []int{len(t.raw)})
	t.timer = s.h.AfterFunc(wait, t.transmit)
}

// answer takes the answer to a request.
func (s *session) answer(m *message) {
	t := s.pending[m.id]
	if t == nil || t.kind.Method != m.kind.Method {
		s.h.stats.Unexpected++
		return
	}
	refuses := m.kind.Class == stun.ClassErrorResponse
	if !refuses && s.credentials.known() && !s.credentials.check(m.raw) {
		s.h.stats.Forged++
		return // the true answer may follow
	}
	delete(s.pending, m.id)
	t.timer.Stop()
	if t.sent == 1 {
		s.rtt = s.h.Now().Sub(t.at)
	}
	challenge := refuses && (m.code == codeUnauthorized && !s.knows(m.realm) || m.code == codeStaleNonce)
	if challenge && t.fresh < maxFresh && len(m.nonce) > 0 {
		s.credentials.challenged(m, s.server.Username, s.server.Password)
		t.fresh++
		s.start(t)
		return
	}
	m.sentAt = t.at
	t.done(m, nil)
}

// knows reports whether requests are signed for a realm.
func (s *session) knows(realm []byte) bool {
	return s.credentials.known() && s.credentials.realm == string(realm)
}
