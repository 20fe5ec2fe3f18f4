package peering

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// RelayConfig is what a blind relay is asked to do.
type RelayConfig struct {
	// Keys is the relay's identity: peers name its public key.
	Keys id.KeyPair
	// Admit decides by key who may use the relay; nil admits everybody.
	Admit func(remote id.PublicKey) bool
	// MaxPairs bounds the streams relayed at a time, waiting ones included; 0 means 1024.
	MaxPairs int
	// MaxPairsPerKey bounds those of one key; 0 means 64.
	MaxPairsPerKey int
}

// RelayStats counts what a relay did.
type RelayStats struct {
	Sessions  int // open connections of clients
	Waiting   int // tokens that one side has shown
	Active    int // pairs that are relayed
	Matched   uint64
	Refused   uint64 // requests beyond a limit
	Cancelled uint64 // tokens withdrawn, or given up by their side's end
}

// RelayServer is a blind relay: it forwards the packets of two streams whose owners show the same token, and
// can neither read nor change what they carry (blind-relay index.js).
//
//	token ── one side asks ──▶ waiting ── the other asks ──▶ active ── a side leaves, unpair ──▶ forgotten
//	                              └── its side leaves, unpair ──▶ forgotten
type RelayServer struct {
	p      *Peering
	cfg    RelayConfig
	server *Server
	pairs  map[[32]byte]*relayPair
	perKey map[id.PublicKey]int
	stats  RelayStats
}

// relaySession is one client's connection to the relay.
type relaySession struct {
	r      *RelayServer
	key    id.PublicKey
	conn   *Connection
	ch     *mux.Channel
	tokens [][32]byte // pairs this session is a side of, in the order in which they were asked for
}

// relayPair is a token and the sides that have shown it: the non-initiator and the initiator.
type relayPair struct {
	sides [2]*relaySide
}

type relaySide struct {
	session  *relaySession
	remoteID uint32
	leg      *stream.Stream
}

// ServeRelay runs a blind relay and calls done once it can be found.
func (p *Peering) ServeRelay(cfg RelayConfig, done func(error)) (*RelayServer, error) {
	if cfg.MaxPairs == 0 {
		cfg.MaxPairs = defaultRelayPairs
	}
	if cfg.MaxPairsPerKey == 0 {
		cfg.MaxPairsPerKey = defaultRelayPairsPerKey
	}
	r := &RelayServer{p: p, cfg: cfg, pairs: make(map[[32]byte]*relayPair), perKey: make(map[id.PublicKey]int)}
	sc := ServerConfig{Keys: cfg.Keys, OnConnection: r.accept, KeepLimited: true}
	if cfg.Admit != nil {
		sc.Admit = func(remote id.PublicKey, _ *wire.NoisePayload, _ netip.AddrPort) bool { return cfg.Admit(remote) }
	}
	server, err := p.Listen(sc, done)
	r.server = server
	return r, err
}

// PublicKey is what peers name to use the relay.
func (r *RelayServer) PublicKey() id.PublicKey { return r.cfg.Keys.Public }

// Stats returns the counters so far.
func (r *RelayServer) Stats() RelayStats { return r.stats }

// Close stops taking clients and calls done. What is relayed goes on until its clients leave.
func (r *RelayServer) Close(done func()) { r.server.Close(done) }

func (r *RelayServer) accept(c *Connection) {
	s := &relaySession{r: r, key: c.RemotePublicKey(), conn: c}
	m := mux.New(c)
	ch, err := m.Open(mux.ChannelOptions{
		Protocol: relayProtocol, ID: s.key[:],
		Messages: []func([]byte){s.receivePair, s.receiveUnpair},
		OnClose: func(bool) {
			s.close()
			m.End()
		},
	})
	if err != nil {
		c.Destroy(err)
		return
	}
	s.ch = ch
	r.stats.Sessions++
}

func (s *relaySession) receivePair(b []byte) {
	m, err := wire.ParseRelayPair(b)
	if err != nil {
		return
	}
	r := s.r
	side := 0
	if m.Initiator {
		side = 1
	}
	pair := r.pairs[m.Token]
	if pair != nil && pair.sides[side] != nil {
		return // the first one counts
	}
	if r.perKey[s.key] >= r.cfg.MaxPairsPerKey || (pair == nil && len(r.pairs) >= r.cfg.MaxPairs) {
		r.stats.Refused++
		return
	}
	if pair == nil {
		pair = &relayPair{}
		r.pairs[m.Token] = pair
		r.stats.Waiting++
	}
	pair.sides[side] = &relaySide{session: s, remoteID: m.ID}
	r.perKey[s.key]++
	s.tokens = append(s.tokens, m.Token)
	if pair.sides[0] != nil && pair.sides[1] != nil {
		r.join(m.Token, pair)
	}
}

// join makes the two legs of a pair and tells both sides where to send.
func (r *RelayServer) join(token [32]byte, pair *relayPair) {
	r.stats.Waiting--
	r.stats.Active++
	r.stats.Matched++
	for _, side := range pair.sides {
		// A leg learns its client's address from the first packet that hits it. Only the host of the client's own connection
		// has shown that it receives what is sent there.
		side.leg = r.p.streams.New(func(sock host.Socket, from netip.AddrPort) bool {
			if from.Addr() != side.session.conn.RemoteAddr().Addr() {
				return false
			}
			return side.leg.Connected() || side.leg.Connect(sock, side.remoteID, from) == nil
		})
	}
	for i, side := range pair.sides {
		side.leg.RelayTo(pair.sides[1-i].leg)
		side.leg.OnClose(func(error) { r.forget(token) })
	}
	for i, side := range pair.sides {
		side.session.ch.Send(0, wire.RelayPair{Initiator: i == 1, Token: token, ID: side.leg.ID()}.Append(nil))
	}
}

func (s *relaySession) receiveUnpair(b []byte) {
	m, err := wire.ParseRelayUnpair(b)
	if err != nil || !slices.Contains(s.tokens, m.Token) {
		return
	}
	s.r.stats.Cancelled++
	s.r.forget(m.Token)
}

// close withdraws everything the session has asked for.
func (s *relaySession) close() {
	s.r.stats.Sessions--
	for _, token := range slices.Clone(s.tokens) {
		if pair := s.r.pairs[token]; pair != nil && (pair.sides[0] == nil || pair.sides[1] == nil) {
			s.r.stats.Cancelled++
		}
		s.r.forget(token)
	}
}

// forget ends a pair, whichever state it is in.
func (r *RelayServer) forget(token [32]byte) {
	pair := r.pairs[token]
	if pair == nil {
		return
	}
	delete(r.pairs, token)
	if pair.sides[0] != nil && pair.sides[1] != nil {
		r.stats.Active--
	} else {
		r.stats.Waiting--
	}
	for _, side := range pair.sides {
		if side == nil {
			continue
		}
		s := side.session
		s.tokens = slices.DeleteFunc(s.tokens, func(t [32]byte) bool { return t == token })
		if r.perKey[s.key]--; r.perKey[s.key] == 0 {
			delete(r.perKey, s.key)
		}
		if side.leg != nil {
			side.leg.Destroy(nil)
		}
	}
}
