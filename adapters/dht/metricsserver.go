package dht

import (
	"errors"
	"slices"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// metricsServer answers metrics requests on a link. It is a ports.Conn.
type metricsServer struct {
	link     *link
	rpc      *muxrpc.RPC
	scrapes  *muxscrape.Responder
	onOpen   func(ports.Conn) ports.MetricsHandlers
	handlers ports.MetricsHandlers
	active   bool // handlers are set, and OnClose has not been called
	reason   error
	batching bool

	registrations []*heldRegistration // under way on the connection
	goodbyes      []*heldGoodbye      // unanswered on the connection
	closing       bool                // the connection closes after them
	// For answers.
	size   int          // memory of the last answer, in bytes; 0 before the first
	unread int          // unread bytes when something was last acknowledged or sent
	read   host.Instant // time of that
}

// serveMetrics opens the channel for scrapes, and after it that for metrics: a scraper that sees only the latter knows that this side has
// no other. As in the reference implementation they exist from the start.
func serveMetrics(l *link, onOpen func(ports.Conn) ports.MetricsHandlers) (*metricsServer, error) {
	s := &metricsServer{link: l, onOpen: onOpen}
	var err error
	if s.scrapes, err = muxscrape.NewResponder(l.mux, muxscrape.ResponderOptions{Version: l.version, OnRequest: s.onScrape}); err != nil {
		return nil, err
	}
	rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolMetrics, OnClose: s.onChannelClose, OnDrain: s.onDrain})
	if err != nil {
		s.scrapes.Close()
		return nil, err
	}
	s.rpc = rpc
	rpc.Respond(methodMetrics, s.onRequest)
	rpc.Respond(methodPing, func(_ []byte, reply func([]byte, error)) { reply(nil, nil) })
	rpc.Respond(methodReleased, func([]byte, func([]byte, error)) {
		if s.active && s.handlers.OnReleased != nil {
			s.handlers.OnReleased()
		}
	})
	l.join(s)
	if l.open {
		s.opened()
	}
	return s, nil
}

func (s *metricsServer) onRequest(value []byte, reply func([]byte, error)) {
	if _, err := ParseMetricsRequest(value); err != nil {
		reply(nil, decodeError(err))
		return
	}
	send := func(m MetricsReply) { reply(m.Append(make([]byte, 0, m.Size())), nil) }
	if !s.available() {
		send(MetricsReply{Message: notAvailable})
		return
	}
	s.link.answers.ask(s, send)
}

const notAvailable = "not available"

// available reports whether there is anything to scrape.
func (s *metricsServer) available() bool { return s.active && s.handlers.OnScrape != nil }

// onScrape passes a request on, and its response back at the pace of the channel.
func (s *metricsServer) onScrape(r domain.ScrapeRequest, res *muxscrape.Response) (cancelled func()) {
	if !s.available() {
		res.End(&domain.ScrapeError{Fault: domain.FaultClient, Reason: notAvailable})
		return nil
	}
	var run ports.Scrape
	written := 0
	consumed := func() {
		n := written
		written = 0
		run.Consumed(n)
	}
	res.OnDrain(consumed)
	run = s.handlers.OnScrape(r, ports.ScrapeHandlers{
		OnHead: func(h domain.ScrapeHead) {
			s.batch()
			res.Head(h)
		},
		OnData: func(b []byte) {
			written += len(b)
			if res.Write(b) {
				consumed()
			}
		},
		OnEnd: func(err error) { res.End(reported(err)) },
	})
	return run.Cancel
}

// batch collects what is sent until the end of the turn, and in turns that are due: a small response is one packet then.
func (s *metricsServer) batch() {
	if s.batching {
		return
	}
	s.batching = true
	s.link.mux.Cork()
	s.link.host.Post(func() {
		s.batching = false
		s.link.mux.Uncork()
	})
}

// reported returns the failure that is sent for an error of the application; nil for none.
func reported(err error) *domain.ScrapeError {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*domain.ScrapeError](err); ok {
		return e
	}
	return &domain.ScrapeError{Fault: domain.FaultClient, Reason: err.Error()}
}

// onDrain continues to send sets.
func (s *metricsServer) onDrain() {
	for _, h := range slices.Clone(s.registrations) {
		if h.exchange != nil {
			h.exchange.pump()
		}
	}
}

// scraper returns the key of the peer.
func (s *metricsServer) scraper() domain.PublicKey {
	return domain.PublicKey(s.link.conn.RemotePublicKey())
}

// Peer implements ports.Conn.
func (s *metricsServer) Peer() domain.Peer { return s.link.peer() }

// Trust implements ports.Conn.
func (s *metricsServer) Trust() { s.link.conn.Trust() }

// Close closes the connection, after the answers to its goodbyes. While a registration is in progress on it, only the
// channel is closed.
func (s *metricsServer) Close(reason error) {
	if !s.active {
		return
	}
	if len(s.goodbyes) > 0 && reason == nil {
		s.closing = true
		return
	}
	s.reason = reason
	if !s.link.shared(s) {
		s.link.end(reason)
		return
	}
	s.link.leave(s, nil)
	s.rpc.Destroy(nil)
	s.scrapes.Close()
	s.link.host.Post(func() { s.finish(s.reason) })
}

func (s *metricsServer) opened() {
	s.active = true
	s.link.answers.enter(s)
	s.handlers = s.onOpen(s)
}

// onChannelClose closes the connection when the peer has closed the channel: the scraper needs a new connection to open
// another one (dht-prom-client index.js).
func (s *metricsServer) onChannelClose(remote bool) {
	if s.link.mux.Closed() || !remote {
		return
	}
	if s.reason == nil {
		s.reason = errChannelClosed
	}
	if !s.link.shared(s) {
		s.link.end(nil)
		return
	}
	s.link.leave(s, nil)
	s.scrapes.Close()
	s.finish(s.reason)
}

func (s *metricsServer) closed(err error) {
	if s.reason != nil {
		err = s.reason
	}
	s.finish(err)
}

// finish makes the last calls to the application, once.
func (s *metricsServer) finish(err error) {
	if !s.active {
		return
	}
	s.active = false
	s.link.answers.leave(s)
	for _, h := range slices.Clone(s.registrations) {
		s.link.host.Post(h.dial)
	}
	if err != nil && s.handlers.OnError != nil {
		s.handlers.OnError(connectionError(err))
	}
	if s.handlers.OnClose != nil {
		s.handlers.OnClose()
	}
}
