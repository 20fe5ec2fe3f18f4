package dht

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// aliasServer answers registrations on a link that somebody else made. It is a ports.Conn.
type aliasServer struct {
	link    *link
	rpc     *muxrpc.RPC
	maxName int
	// takeOffers means that a client that proves its key may be scraped on this connection.
	takeOffers bool
	onOpen     func(ports.Conn) ports.AliasHandlers
	handlers   ports.AliasHandlers
	active     bool // handlers are there and have not heard their last
	reason     error
	linger     host.Timer // runs once the channel is closed
}

// serveAliases opens the channel for registrations. The channel is there from the start, as the original's is:
// the other side's open may come right after the encryption is up.
func serveAliases(l *link, cfg Config, onOpen func(ports.Conn) ports.AliasHandlers) (*aliasServer, error) {
	s := &aliasServer{link: l, maxName: cfg.MaxName, takeOffers: !cfg.OwnConnections, onOpen: onOpen}
	rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolAlias, OnClose: s.onChannelClose})
	if err != nil {
		return nil, err
	}
	s.rpc = rpc
	s.answer(methodAlias, func() answerAlias { return s.handlers.OnRegister })
	s.answer(methodLeave, func() answerAlias { return s.handlers.OnLeave })
	l.join(s)
	return s, nil
}

type answerAlias = func(ports.AliasRequest, func(ports.AliasReply))

// answer answers one method with a handler that is known only later.
func (s *aliasServer) answer(method string, handler func() answerAlias) {
	s.rpc.Respond(method, func(value []byte, reply func([]byte, error)) {
		accepted := false
		send := func(r ports.AliasReply) {
			m := AliasReply{Success: r.Success, Updated: r.Updated, Message: cut(r.Message), Accepted: r.Success && accepted, Shared: r.Success && r.Shared}
			reply(m.Append(make([]byte, 0, m.Size())), nil)
		}
		m, err := ParseAliasRequest(value)
		if err != nil {
			reply(nil, decodeError(err))
			return
		}
		if err := m.CheckNames(s.maxName); err != nil {
			send(ports.AliasReply{Message: err.Error()})
			return
		}
		f := handler()
		if f == nil || !s.active {
			send(ports.AliasReply{Message: "not available"})
			return
		}
		dialled := domain.PublicKey(s.link.conn.RemotePublicKey())
		m.Instance = domain.InstanceOf(dialled, m.Key)
		if m.Offer != nil && !m.Offer.Instance.IsZero() {
			m.Instance = m.Offer.Instance
		}
		proven := dialled == m.Key
		if m.Offer != nil && m.Offer.Proves(m.Key, s.link.conn.HandshakeHash()) {
			proven = true
			if method == methodAlias && s.takeOffers {
				accepted = true
				s.link.proven = m.Key
			}
		}
		f(ports.AliasRequest{
			Secret: m.Secret, Register: m.Register, Proven: proven,
			Unconnected: accepted && m.Offer.Unconnected,
		}, send)
	})
}

// Peer is the other side.
func (s *aliasServer) Peer() domain.Peer { return s.link.peer() }

// Trust implements ports.Conn.
func (s *aliasServer) Trust() { s.link.conn.Trust() }

// Close ends the connection. When the scraper has a session on it, only the channel ends.
func (s *aliasServer) Close(reason error) {
	if !s.active {
		return
	}
	s.reason = reason
	if !s.link.shared(s) {
		s.link.end(reason)
		return
	}
	s.withdraw()
}

// withdraw leaves a link that others use.
func (s *aliasServer) withdraw() {
	if s.linger != nil {
		s.linger.Stop()
	}
	s.link.leave(s, nil)
	s.rpc.End()
	s.link.host.Post(func() { s.finish(s.reason) })
}

// joined is told when another role came to the link: with the registration done, its connection is the other's.
func (s *aliasServer) joined() {
	if s.rpc.Closed() && s.active {
		s.withdraw()
	}
}

func (s *aliasServer) opened() {
	s.active = true
	s.handlers = s.onOpen(s)
}

// onChannelClose keeps the connection for a while when only the channel is closed: the other side has registered
// and may be waiting for a metrics channel.
func (s *aliasServer) onChannelClose(remote bool) {
	if s.link.mux.Closed() || !s.active || !remote {
		return
	}
	if s.link.shared(s) {
		s.withdraw()
		return
	}
	s.linger = s.link.host.AfterFunc(aliasLinger, func() { s.link.end(nil) })
}

func (s *aliasServer) closed(err error) {
	if s.reason != nil {
		err = s.reason
	}
	s.finish(err)
}

// finish is the last word to the application.
func (s *aliasServer) finish(err error) {
	if s.linger != nil {
		s.linger.Stop()
	}
	if !s.active {
		return
	}
	s.active = false
	if err != nil && s.handlers.OnError != nil {
		s.handlers.OnError(connectionError(err))
	}
	if s.handlers.OnClose != nil {
		s.handlers.OnClose()
	}
}
