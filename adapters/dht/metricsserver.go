package dht

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// metricsServer answers metrics requests on a link. It is a ports.Conn.
type metricsServer struct {
	link     *link
	rpc      *muxrpc.RPC
	onOpen   func(ports.Conn) ports.MetricsHandlers
	handlers ports.MetricsHandlers
	active   bool // handlers are set, and OnClose has not been called
	reason   error

	goodbyes []*heldGoodbye // unanswered on the connection
	closing  bool           // the connection closes after them
	// For answers.
	size   int          // memory of the last answer, in bytes; 0 before the first
	unread int          // unread bytes when something was last acknowledged or sent
	read   host.Instant // time of that
}

// serveMetrics opens the metrics channel. As in the reference implementation it exists from the start.
func serveMetrics(l *link, onOpen func(ports.Conn) ports.MetricsHandlers) (*metricsServer, error) {
	s := &metricsServer{link: l, onOpen: onOpen}
	rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolMetrics, OnClose: s.onChannelClose})
	if err != nil {
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
	send := func(r domain.MetricsReply) {
		m := MetricsReply{Success: r.Success, Body: r.Body, Message: cut(r.Message)}
		// A frame that is too long would break the connection, so it is replaced by a failure that has its size.
		if err := domain.CheckBody(len(r.Body)); r.Success && err != nil {
			m = MetricsReply{Message: err.Error()}
		}
		reply(m.Append(make([]byte, 0, m.Size())), nil)
	}
	if !s.active || s.handlers.OnRequest == nil {
		send(domain.MetricsReply{Message: "not available"})
		return
	}
	s.link.answers.ask(s, send)
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
	if err != nil && s.handlers.OnError != nil {
		s.handlers.OnError(connectionError(err))
	}
	if s.handlers.OnClose != nil {
		s.handlers.OnClose()
	}
}
