package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// RelayConfig is the configuration of a blind relay.
type RelayConfig struct {
	// Keys is the relay's identity: peers name its public key.
	Keys id.KeyPair
	// Admit reports whether a key may use the relay; nil admits all.
	Admit func(remote id.PublicKey) bool
	// MaxPairs bounds the connections that are relayed at a time, and as many again may wait for their other side; 0
	// means 1024.
	MaxPairs int
	// MaxPairsPerKey bounds those of one key, counted for the side that has fewer: a server has one for each of its
	// clients. 0 means 64.
	MaxPairsPerKey int
}

// RelayStats are the counters of a relay.
type RelayStats struct {
	Sessions  int    // open connections of clients
	Waiting   int    // tokens that one side has shown
	Active    int    // pairs that are relayed
	Reserve   int    // active pairs with almost no traffic, since their sides have a direct path
	Matched   uint64 // pairs formed
	Cancelled uint64 // tokens withdrawn, or dropped at the end of their side's connection
	Expired   uint64 // tokens whose other side did not come, pairs and connections without traffic or pairs for too long
	// Requests rejected by a limit, in all or of one key, and tokens and pairs ended in favour of clients with fewer.
	Refused, RefusedKey, Crowded uint64
}

// RelayServer is a blind relay: it forwards the packets of two streams whose owners show the same token, and
// can neither read nor change their contents (blind-relay index.js). The states of a token and its pair are in internals.go.
//
// A waiting token counts for the side that sent it, an active pair for the side with fewer pairs. When there is no room,
// the oldest waiting token of the fullest address is dropped, and an active pair ends only in favour of an address that has
// fewer; otherwise the new one is refused. Pairs held in reserve beside a direct path end first; they are recognised by
// their traffic. The sides receive an unpair message with a reason.
type RelayServer struct {
	p      *peering
	cfg    RelayConfig
	server *Server
	pairs  map[[32]byte]*relayPair
	perKey map[id.PublicKey]*relayKey
	stats  RelayStats

	idle    *bound.Shares[*relayClient] // open clients without a pair
	waiting *bound.Shares[*relayPair]
	active  *bound.Shares[*relayPair]
}

// The classes of active pairs.
const (
	pairBusy = iota
	pairReserve
)

// relayKey counts the pairs of which a key is a side, and those of them that count for it.
type relayKey struct{ sides, charged int }

// relayClient is one client's connection to the relay.
type relayClient struct {
	r      *RelayServer
	key    id.PublicKey
	conn   *Connection
	ch     *mux.Channel
	open   bool                      // the client has proven itself
	held   *bound.Item[*relayClient] // while it is open without a pair
	idle   host.Timer                // ends it then
	tokens [][32]byte                // pairs of which this client is a side, in the order of the requests

	answers [][]byte   // with their types, which wait until the client has acknowledged earlier ones
	next    host.Timer // sends more of them
}

// relayPair is a token and the sides that have shown it: the non-initiator and the initiator.
type relayPair struct {
	token   [32]byte
	sides   [2]*relaySide
	held    *bound.Item[*relayPair]
	charged id.PublicKey // once active
	counts  *relayClient // likewise: the side that it is counted for
	timer   host.Timer
	carried uint64 // packets until the timer was last due
}

type relaySide struct {
	client   *relayClient
	remoteID uint32
	leg      *stream.Stream
}

// ServeRelay runs a blind relay on this node and calls done once it is announced.
func (n *Node) ServeRelay(cfg RelayConfig, done func(error)) (*RelayServer, error) {
	p := n.peers
	if cfg.MaxPairs == 0 {
		cfg.MaxPairs = defaultRelayPairs
	}
	if cfg.MaxPairsPerKey == 0 {
		cfg.MaxPairsPerKey = defaultRelayPairsPerKey
	}
	r := &RelayServer{
		p: p, cfg: cfg, pairs: make(map[[32]byte]*relayPair), perKey: make(map[id.PublicKey]*relayKey),
		idle:    bound.NewShares[*relayClient](maxRelayIdle, bound.Class{}),
		waiting: bound.NewShares[*relayPair](cfg.MaxPairs, bound.Class{}),
		active:  bound.NewShares[*relayPair](cfg.MaxPairs, bound.Class{}, bound.Class{}),
	}
	sc := ListenOptions{Keys: cfg.Keys, OnConnection: r.accept, KeepLimited: true}
	if cfg.Admit != nil {
		sc.Admit = func(remote id.PublicKey, _ *HandshakePayload, _ netip.AddrPort) bool { return cfg.Admit(remote) }
	}
	var err error
	if r.server, err = p.listen(sc, done); err != nil {
		return nil, err
	}
	return r, nil
}

// PublicKey returns the key by which peers name the relay.
func (r *RelayServer) PublicKey() id.PublicKey { return r.cfg.Keys.Public }

// Stats returns the counters so far.
func (r *RelayServer) Stats() RelayStats {
	s := r.stats
	s.Reserve = r.active.In(pairReserve)
	return s
}

// Close stops accepting clients and calls done. Active pairs are relayed until their clients leave.
func (r *RelayServer) Close(done func()) { r.server.Close(done) }

func (r *RelayServer) accept(c *Connection) {
	s := &relayClient{r: r, key: c.RemotePublicKey(), conn: c}
	m := mux.New(c)
	c.OnOpen(s.opened)
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
}

// opened counts a client, whose address is known now.
func (c *relayClient) opened() {
	c.open = true
	c.r.stats.Sessions++
	c.idle = c.r.p.host.AfterFunc(relayIdleTime, func() {
		c.r.stats.Expired++
		c.conn.Close()
	})
	c.rest()
}

// place is the place at which the client's tokens and pairs count.
func (c *relayClient) place() bound.Place { return c.placeIn(0) }

func (c *relayClient) placeIn(class int) bound.Place {
	return bound.At(class, c.conn.RemoteAddr().Addr(), c.key)
}

// rest counts a client as one without a pair.
func (c *relayClient) rest() {
	var evicted *bound.Item[*relayClient]
	c.held, evicted = c.r.idle.Add(c, c.place())
	if evicted != nil {
		c.r.stats.Crowded++
		evicted.Value.conn.Destroy(ErrCrowdedOut)
	}
}

// take records that the client is a side of a pair, or both, drop that it is no longer.
func (c *relayClient) take(token [32]byte) {
	if !slices.Contains(c.tokens, token) {
		c.tokens = append(c.tokens, token)
	}
	c.idle.Stop()
	c.r.idle.Remove(c.held)
}

func (c *relayClient) drop(token [32]byte) {
	i := slices.Index(c.tokens, token)
	if i < 0 {
		return // it was both sides
	}
	c.tokens = slices.Delete(c.tokens, i, i+1)
	if len(c.tokens) == 0 && c.open {
		c.idle.Reset(relayIdleTime)
		c.rest()
	}
}

func (c *relayClient) receivePair(b []byte) {
	m, err := wire.ParseRelayPair(b)
	if err != nil || !c.open {
		return
	}
	r := c.r
	side := 0
	if m.Initiator {
		side = 1
	}
	pair := r.pairs[m.Token]
	if pair != nil && pair.left(side, c) {
		r.stats.Cancelled++
		r.end(pair, wire.RelayExpired)
		pair = nil
	}
	switch {
	case pair == nil:
		r.wait(c, side, m)
	case pair.sides[side] == nil: // the first one counts
		r.meet(pair, c, side, m)
	}
}

// left reports whether a side of the pair returns on another connection: the previous one is dead, which it detects after 15 s only.
func (p *relayPair) left(side int, s *relayClient) bool {
	before := p.sides[side]
	return before != nil && before.client != s && before.client.key == s.key
}

// wait keeps a token for its other side.
func (r *RelayServer) wait(s *relayClient, side int, m wire.RelayPair) {
	pair := &relayPair{token: m.Token}
	r.pairs[m.Token] = pair
	r.stats.Waiting++
	r.side(pair, s, side, m)
	var evicted *bound.Item[*relayPair]
	pair.held, evicted = r.waiting.Add(pair, s.place())
	pair.timer = r.p.host.AfterFunc(relayWaitTime, func() {
		r.stats.Expired++
		r.end(pair, wire.RelayExpired)
	})
	if evicted != nil {
		r.stats.Crowded++
		r.end(evicted.Value, wire.RelayFull)
	}
}

func (r *RelayServer) side(pair *relayPair, s *relayClient, side int, m wire.RelayPair) {
	pair.sides[side] = &relaySide{client: s, remoteID: m.ID}
	k := r.perKey[s.key]
	if k == nil {
		k = &relayKey{}
		r.perKey[s.key] = k
	}
	k.sides++
	s.take(m.Token)
}

// meet adds the second side of a pair, if there is room.
func (r *RelayServer) meet(pair *relayPair, s *relayClient, side int, m wire.RelayPair) {
	r.side(pair, s, side, m)
	// The non-initiator, in doubt: the initiator has named this relay, as servers do.
	counts := pair.sides[0].client
	if other := pair.sides[1].client; r.perKey[other.key].sides < r.perKey[counts.key].sides {
		counts = other
	}
	place := counts.placeIn(pairBusy)
	fullest, most := r.active.Fullest(pairBusy)
	switch {
	case r.perKey[counts.key].charged >= r.cfg.MaxPairsPerKey:
		r.stats.RefusedKey++
		r.end(pair, wire.RelayKeyFull)
		return
	case r.active.Len() < r.cfg.MaxPairs:
	case r.endReserve():
	case most > r.active.Size(place, 1)+1:
		r.stats.Crowded++
		r.end(fullest.Value, wire.RelayFull)
	default:
		r.stats.Refused++
		r.end(pair, wire.RelayFull)
		return
	}
	pair.charged, pair.counts = counts.key, counts
	r.perKey[counts.key].charged++
	r.waiting.Remove(pair.held)
	pair.held, _ = r.active.Add(pair, place)
	r.join(pair)
}

// endReserve ends the first pair in reserve, and reports whether there was one. Pairs that have begun to carry a
// connection are no longer in reserve.
func (r *RelayServer) endReserve() bool {
	for {
		it, _ := r.active.Fullest(pairReserve)
		if it == nil {
			return false
		}
		if pair := it.Value; pair.traffic()-pair.carried <= reserveTraffic {
			r.stats.Crowded++
			r.end(pair, wire.RelayFull)
			return true
		}
		r.active.Move(it, it.Value.counts.placeIn(pairBusy))
	}
}

// traffic returns the number of packets that an active pair has carried.
func (p *relayPair) traffic() uint64 { return p.sides[0].leg.Relayed() + p.sides[1].leg.Relayed() }

// join creates the two legs of a pair and sends both sides their stream ids.
func (r *RelayServer) join(pair *relayPair) {
	r.stats.Waiting--
	r.stats.Active++
	r.stats.Matched++
	for _, side := range pair.sides {
		// A leg learns its client's address from the first packet that hits it. Only the host of the client's own connection
		// has shown that it receives what is sent there.
		side.leg = r.p.cfg.Streams.New(func(sock host.Socket, from netip.AddrPort) bool {
			if !side.client.conn.answersFrom(from.Addr()) {
				return false
			}
			return side.leg.Connected() || side.leg.Connect(sock, side.remoteID, from) == nil
		})
	}
	for i, side := range pair.sides {
		side.leg.RelayTo(pair.sides[1-i].leg)
		side.leg.OnClose(func(error) { r.forget(pair) })
	}
	for i, side := range pair.sides {
		side.client.answer(wire.RelayPair{Initiator: i == 1, Token: pair.token, ID: side.leg.ID()}.Append([]byte{0}))
	}
	pair.timer.Stop()
	pair.timer = r.p.host.AfterFunc(relayPairIdle, func() { r.checkTraffic(pair) })
}

// checkTraffic ends a pair that has carried nothing since the last check, and classifies it by its traffic.
func (r *RelayServer) checkTraffic(pair *relayPair) {
	carried := pair.traffic()
	if carried == pair.carried {
		r.stats.Expired++
		r.end(pair, wire.RelayExpired)
		return
	}
	class := pairBusy
	if carried-pair.carried <= reserveTraffic {
		class = pairReserve
	}
	r.active.Move(pair.held, pair.counts.placeIn(class))
	pair.carried = carried
	pair.timer.Reset(relayPairIdle)
}

func (c *relayClient) receiveUnpair(b []byte) {
	m, err := wire.ParseRelayUnpair(b)
	if err != nil || !slices.Contains(c.tokens, m.Token) {
		return
	}
	c.r.stats.Cancelled++
	c.r.forget(c.r.pairs[m.Token])
}

// answer sends a message, which is preceded by its type. Those of a burst for many paths would each take a packet, and together more
// memory than a limited connection has: they wait, and leave together.
func (c *relayClient) answer(b []byte) {
	if len(c.answers) == 0 && c.conn.Unsent() < relayUnsent {
		c.ch.Send(int(b[0]), b[1:])
		return
	}
	c.answers = append(c.answers, b)
	switch {
	case len(c.answers) > 2*len(c.tokens)+maxRelayAnswers:
		c.r.stats.Crowded++
		c.conn.Destroy(ErrCrowdedOut)
	case c.next == nil:
		c.next = c.r.p.host.AfterFunc(relayAnswerPause, c.answerMore)
	case len(c.answers) == 1:
		c.next.Reset(relayAnswerPause)
	}
}

func (c *relayClient) answerMore() {
	if c.conn.Unsent() < relayUnsent {
		n := min(len(c.answers), relayBatch)
		c.ch.Cork()
		for _, b := range c.answers[:n] {
			c.ch.Send(int(b[0]), b[1:])
		}
		c.ch.Uncork()
		c.answers = slices.Delete(c.answers, 0, n)
	}
	if len(c.answers) > 0 {
		c.next.Reset(relayAnswerPause)
	}
}

// close withdraws all requests of the client.
func (c *relayClient) close() {
	if !c.open {
		return
	}
	c.open = false
	c.r.stats.Sessions--
	c.r.idle.Remove(c.held)
	c.idle.Stop()
	if c.answers = nil; c.next != nil {
		c.next.Stop()
	}
	for _, token := range slices.Clone(c.tokens) {
		pair := c.r.pairs[token]
		if pair.sides[0] == nil || pair.sides[1] == nil {
			c.r.stats.Cancelled++
		}
		c.r.forget(pair)
	}
}

// end removes a pair and sends its sides the reason.
func (r *RelayServer) end(pair *relayPair, reason wire.RelayReason) {
	for _, side := range pair.sides {
		if side != nil {
			side.client.answer(wire.RelayUnpair{Token: pair.token, Reason: reason}.Append([]byte{1}))
		}
	}
	r.forget(pair)
}

// forget ends a pair in any state. Repeated calls have no effect.
func (r *RelayServer) forget(pair *relayPair) {
	if r.pairs[pair.token] != pair {
		return
	}
	delete(r.pairs, pair.token)
	pair.timer.Stop()
	if pair.charged != (id.PublicKey{}) {
		r.stats.Active--
		r.active.Remove(pair.held)
		r.perKey[pair.charged].charged--
	} else {
		r.stats.Waiting--
		r.waiting.Remove(pair.held)
	}
	for _, side := range pair.sides {
		if side == nil {
			continue
		}
		s := side.client
		s.drop(pair.token)
		if k := r.perKey[s.key]; k.sides == 1 {
			delete(r.perKey, s.key)
		} else {
			k.sides--
		}
		if side.leg != nil {
			side.leg.Destroy(nil)
		}
	}
}
