package dht

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// session is the scraper's side of a metrics channel, on an outgoing link or on the link of a client's registration. It is
// a ports.MetricsSession.
type session struct {
	link    *link
	rpc     *muxrpc.RPC
	scrapes *muxscrape.Requester
	dial    ports.MetricsDial
	up      bool // OnOpen was called
	ready   bool // OnReady was called: it is known whether the client has a channel for scrapes
	// leaving means that Close was called or the channel has closed; over that OnClose was called.
	leaving, over bool
	requests      []*request // pending, the oldest first
	sets          *setServer // nil where the application registers none here
	running       []*sessionScrape
}

// request is a pending call of a method.
type request struct {
	done func(value []byte, err error)
}

// openSession opens the channel for scrapes on a link, and after it that for metrics: when the client opens the latter, it has opened the
// former, or has none. Callbacks run in later turns.
func openSession(l *link, d ports.MetricsDial) *session {
	s := &session{link: l, dial: d}
	attached := l.open
	for _, r := range l.roles {
		if a, ok := r.(*aliasServer); ok {
			a.link.host.Post(a.joined)
		}
	}
	l.join(s)
	scrapes, err := muxscrape.NewRequester(l.mux, muxscrape.RequesterOptions{Windows: l.windows, OnClose: s.onScrapesClose})
	if err == nil {
		s.scrapes = scrapes
		s.rpc, err = muxrpc.New(l.mux, muxrpc.Options{
			Protocol: protocolMetrics,
			OnOpen:   func([]byte) { s.onReady() },
			OnClose:  s.onChannelClose,
		})
	}
	if err != nil {
		s.leaving = true
		if s.scrapes != nil {
			s.scrapes.Close()
		}
		l.leave(s, err)
		l.host.Post(func() { s.finish(connectionError(err)) })
		return s
	}
	if d.OnLeave != nil {
		s.rpc.Respond(methodLeave, s.onLeave)
	}
	if d.OnSet != nil {
		s.sets = &setServer{link: l, maxName: DefaultMaxName, identify: s.identify, handler: func() func(ports.SetRequest, func(ports.SetReply)) {
			if s.leaving {
				return nil
			}
			return d.OnSet
		}}
		s.sets.serve(s.rpc)
	}
	if attached {
		l.host.Post(s.opened)
	}
	return s
}

// closedSession returns the session of a closed transport. OnClose is called in a later turn.
func closedSession(h host.Host, d ports.MetricsDial) *session {
	s := &session{link: &link{host: h}, dial: d, leaving: true}
	h.Post(func() { s.finish(connectionError(domain.ErrClosed)) })
	return s
}

// attachable reports whether a session may be opened on an incoming link.
func (l *link) attachable() bool {
	return l.open && !l.closed && !l.dedicated && !l.mux.Closed() && !l.mux.Opened(protocolMetrics, nil)
}

func (s *session) opened() {
	if s.up || s.leaving {
		return
	}
	s.up = true
	if s.dial.OnOpen != nil {
		s.dial.OnOpen(s.client())
	}
}

func (s *session) onPath() {
	if s.up && !s.leaving && s.dial.OnPath != nil {
		s.dial.OnPath(s.client())
	}
}

// client describes the peer, which may have dialled an incoming connection under another key.
func (s *session) client() domain.Peer {
	p := s.link.peer()
	p.Key = s.dial.Client
	return p
}

func (s *session) onReady() {
	s.opened()
	if s.leaving {
		return
	}
	s.ready = true
	if s.dial.OnReady != nil {
		s.dial.OnReady()
	}
	for _, r := range slices.Clone(s.running) {
		r.ready()
	}
}

// Peer implements ports.MetricsSession.
func (s *session) Peer() domain.Peer { return s.link.peer() }

// Answered implements ports.MetricsSession.
func (s *session) Answered() bool {
	return s.link.conn != nil && (s.link.open || s.link.conn.Answered())
}

// Detour implements ports.MetricsSession.
func (s *session) Detour() domain.Detour { return detourFrom(s.link.conn.Detour()) }

// Idle implements ports.MetricsSession.
func (s *session) Idle() bool { return s.link.conn.Idle() }

// Stats implements ports.MetricsSession.
func (s *session) Stats() domain.LinkStats {
	c := s.link.conn.Stats()
	return domain.LinkStats{RTT: c.RTT, Sent: c.Sent, Resent: c.Resent}
}

// Version implements ports.MetricsSession.
func (s *session) Version() string {
	if s.scrapes == nil {
		return ""
	}
	return s.scrapes.Version()
}

// DirectSilence implements ports.MetricsSession.
func (s *session) DirectSilence() time.Duration { return s.link.conn.DirectSilence() }

// onLeave answers a goodbye of the client, which has proven its key on this connection.
func (s *session) onLeave(value []byte, reply func([]byte, error)) {
	m, err := ParseAliasRequest(value)
	if err != nil {
		reply(nil, decodeError(err))
		return
	}
	send := func(r ports.AliasReply) {
		m := AliasReply{Success: r.Success, Updated: r.Updated, Message: cut(r.Message)}
		reply(m.Append(make([]byte, 0, m.Size())), nil)
	}
	if m.Key != s.dial.Client || m.CheckNames(DefaultMaxName) != nil || s.leaving {
		send(ports.AliasReply{Message: "not available"})
		return
	}
	if m.Offer != nil {
		m.Instance = m.Offer.Instance
	}
	s.dial.OnLeave(ports.AliasRequest{Secret: m.Secret, Register: m.Register, Proven: true}, send)
}

// identify determines the sender of a set: the client, which has proven its key on this connection, and no other.
func (s *session) identify(m TargetsRequest) (identity, bool) {
	from := identity{proven: true}
	if m.Offer != nil {
		from.instance = m.Offer.Instance
	}
	return from, m.Key == s.dial.Client
}

// Ping requests any answer; an unknown-method error counts.
func (s *session) Ping(done func(error)) (cancel func()) {
	return s.request(methodPing, nil, func(_ []byte, err error) {
		if _, ok := answered(err); ok {
			err = nil
		}
		done(err)
	})
}

// request calls a method. done receives the answer, the error in an answer, or a *ports.ConnectionError.
func (s *session) request(method string, value []byte, done func([]byte, error)) (cancel func()) {
	r := &request{done: done}
	s.requests = append(s.requests, r)
	if s.rpc == nil || s.leaving {
		s.link.host.Post(func() { s.settle(r, nil, connectionError(muxrpc.ErrClosed)) })
		return func() { s.forget(r) }
	}
	call, err := s.rpc.Request(method, value, func(value []byte, err error) {
		// Without an answer the channel has closed, and finish reports the reason.
		if _, ok := answered(err); err == nil || ok {
			s.settle(r, value, err)
		}
	})
	if err != nil {
		s.link.host.Post(func() { s.settle(r, nil, connectionError(err)) })
		return func() { s.forget(r) }
	}
	return func() {
		if s.forget(r) {
			call.Cancel(errCanceled)
		}
	}
}

// forget drops a request and reports whether it was pending.
func (s *session) forget(r *request) bool {
	i := slices.Index(s.requests, r)
	if i >= 0 {
		s.requests = slices.Delete(s.requests, i, i+1)
	}
	return i >= 0
}

// settle ends a request, once.
func (s *session) settle(r *request, value []byte, err error) {
	if s.forget(r) {
		r.done(value, err)
	}
}

// Release implements ports.MetricsSession.
func (s *session) Release() {
	if !s.leaving && s.link.open {
		_ = s.rpc.Event(methodReleased, nil) // fails where the channel has closed, which Close handles
	}
	s.Close(nil)
}

// Close closes the session. Later events on the wire are ignored.
func (s *session) Close(reason error) {
	if s.leaving {
		return
	}
	s.leaving = true
	s.freeSets()
	shared := s.link.shared(s)
	s.link.leave(s, reason)
	if shared {
		s.rpc.Destroy(nil)
		s.scrapes.Close()
	}
	s.link.host.Post(func() { s.finish(reason) })
}

// freeSets drops the content of a set that has not arrived completely.
func (s *session) freeSets() {
	if s.sets != nil {
		s.sets.close()
	}
}

// onChannelClose leaves the connection when the client closes or rejects the channel: a new channel needs a new connection
// (dht-prom-client scraper.js).
func (s *session) onChannelClose(remote bool) {
	s.freeSets()
	if s.link.mux.Closed() || s.leaving || !remote {
		return
	}
	s.leaving = true
	s.link.dedicated = true
	reason := errChannelClosed
	if !s.rpc.Opened() {
		reason = errNotAccepted
	}
	s.link.leave(s, reason)
	s.finish(connectionError(reason))
}

// onScrapesClose ends the session when a client that has a channel for scrapes closes it.
func (s *session) onScrapesClose(remote bool) {
	if s.ready && s.scrapes.Opened() {
		s.onChannelClose(remote)
	}
}

func (s *session) closed(err error) {
	s.leaving = true
	if err != nil {
		err = connectionError(err)
	}
	s.finish(err)
}

// finish fails pending requests and makes the last call to the application, once.
func (s *session) finish(err error) {
	if s.over {
		return
	}
	s.over = true
	why := err
	if why == nil {
		why = errPeerEnded
	}
	for _, r := range slices.Clone(s.requests) {
		s.settle(r, nil, connectionError(why))
	}
	for _, r := range slices.Clone(s.running) {
		r.end(connectionError(why))
	}
	if s.dial.OnClose != nil {
		s.dial.OnClose(err)
	}
}
