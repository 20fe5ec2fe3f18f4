package dht

import (
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// aliasServer answers registrations on an incoming link. It is a ports.Conn.
type aliasServer struct {
	link    *link
	rpc     *muxrpc.RPC
	maxName int
	// takeOffers allows scraping a client that proves its key on this connection.
	takeOffers bool
	// holds decides for which clients; nil: all.
	holds    func(client domain.PublicKey) bool
	onOpen   func(ports.Conn) ports.AliasHandlers
	handlers ports.AliasHandlers
	active   bool // handlers are set, and OnClose has not been called
	reason   error
	linger   host.Timer // started when the channel closes
	sets     *setServer
}

// serveAliases opens the channel for registrations. As in the reference implementation it exists from the start: the
// peer's open may arrive right after the encryption is established.
func serveAliases(l *link, cfg Config, onOpen func(ports.Conn) ports.AliasHandlers) (*aliasServer, error) {
	s := &aliasServer{link: l, maxName: cfg.MaxName, takeOffers: !cfg.OwnConnections, onOpen: onOpen}
	rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolAlias, OnClose: s.onChannelClose})
	if err != nil {
		return nil, err
	}
	s.rpc = rpc
	s.sets = &setServer{
		link: l, maxName: cfg.MaxName,
		identify: func(m TargetsRequest) (identity, bool) { return s.identify(methodTargets, m.Key, m.Offer), true },
		handler: func() func(ports.SetRequest, func(ports.SetReply)) {
			if !s.active {
				return nil
			}
			return s.handlers.OnSet
		},
	}
	s.answer(methodAlias, func() answerAlias { return s.handlers.OnRegister })
	s.answer(methodLeave, func() answerAlias { return s.handlers.OnLeave })
	l.join(s)
	return s, nil
}

type answerAlias = func(ports.AliasRequest, func(ports.AliasReply))

// answer serves one method. The handler is looked up for each request, because it is set later.
func (s *aliasServer) answer(method string, handler func() answerAlias) {
	s.rpc.Respond(method, func(value []byte, reply func([]byte, error)) {
		accepted := false
		send := func(r ports.AliasReply) {
			m := AliasReply{Success: r.Success, Updated: r.Updated, Message: cut(r.Message)}
			if r.Success {
				m.Accepted, m.Shared, m.Elsewhere = accepted, r.Shared, r.Elsewhere
			}
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
		from := s.identify(method, m.Key, m.Offer)
		m.Instance, accepted = from.instance, from.accepted
		f(ports.AliasRequest{Secret: m.Secret, Register: m.Register, Proven: from.proven, Unconnected: from.unconnected}, send)
	})
}

// identify determines the sender of a request for a key, and accepts the offer of one that registers.
func (s *aliasServer) identify(method string, key domain.PublicKey, o *Offer) identity {
	dialled := domain.PublicKey(s.link.conn.RemotePublicKey())
	from := identity{instance: domain.InstanceOf(dialled, key), proven: dialled == key}
	if o != nil && !o.Instance.IsZero() {
		from.instance = o.Instance
	}
	if o != nil && o.Proves(key, s.link.conn.HandshakeHash()) {
		from.proven = true
		if method != methodLeave && s.takeOffers && (s.holds == nil || s.holds(key)) {
			from.accepted, from.unconnected = true, o.Unconnected
			s.link.proven = key
		}
	}
	return from
}

// Peer implements ports.Conn.
func (s *aliasServer) Peer() domain.Peer { return s.link.peer() }

// Trust implements ports.Conn.
func (s *aliasServer) Trust() { s.link.conn.Trust() }

// Close closes the connection, or only the channel when the scraper has a session on the connection.
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

// withdraw closes the channel and leaves a link that has other roles.
func (s *aliasServer) withdraw() {
	if s.linger != nil {
		s.linger.Stop()
	}
	s.link.leave(s, nil)
	s.rpc.End()
	s.link.host.Post(func() { s.finish(s.reason) })
}

// joined is called when a second role joins the link; a finished registration then leaves it.
func (s *aliasServer) joined() {
	if s.rpc.Closed() && s.active {
		s.withdraw()
	}
}

func (s *aliasServer) opened() {
	s.active = true
	s.handlers = s.onOpen(s)
	if s.handlers.OnSet != nil {
		s.sets.serve(s.rpc)
	}
}

// onChannelClose keeps the connection for aliasLinger when only the channel is closed: the client has registered and may
// be waiting for a metrics channel.
func (s *aliasServer) onChannelClose(remote bool) {
	s.sets.close()
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

// finish makes the last calls to the application, once.
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
