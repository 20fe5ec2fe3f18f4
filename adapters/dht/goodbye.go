package dht

import (
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// goodbyes is a group of goodbyes of this process's clients to one scraper, on one connection. A stopping process says
// goodbye for all of its targets in the same turn; a dial for each would exceed the time for stopping. Every request
// carries its own proof and instance. The states of a group are in doc.go.
type goodbyes struct {
	transport *Transport
	scraper   domain.PublicKey
	addrs     []domain.Address // of the scraper
	secret    domain.Secret
	dial      domain.KeyPair
	link      *link // nil until dialled
	rpc       *muxrpc.RPC
	dialling  bool
	said      int // requests so far
	waiting   []*goodbye
	over      bool
}

// goodbye is one request of such a group.
type goodbye struct {
	request ports.Registration
	offer   *metricsOffer
	done    func(error)
}

// LeaveAlias implements ports.Transport. A goodbye uses the scraper's connection to the client if there is one. The others
// to one scraper under one secret share connections, maxGoodbyes each: a scraper closes a connection after a few wrong
// secrets, which must not affect goodbyes with other secrets.
func (t *Transport) LeaveAlias(r ports.Registration, done func(error)) (cancel func()) {
	if t.closing {
		return t.refuse(func() { done(connectionError(domain.ErrClosed)) })
	}
	if m := t.held(r); m != nil {
		return t.leaveHeld(m, r, done)
	}
	return t.dialLeave(r, t.metricsOffer(r), done)
}

// dialLeave says goodbye on a connection dialled for it. offer has the keys that prove it; nil for none.
func (t *Transport) dialLeave(r ports.Registration, offer *metricsOffer, done func(error)) (cancel func()) {
	if t.closing {
		return t.refuse(func() { done(connectionError(domain.ErrClosed)) })
	}
	i := slices.IndexFunc(t.goodbyes, func(g *goodbyes) bool {
		return g.scraper == r.Scraper && g.said < maxGoodbyes && domain.Accepts([]domain.Secret{g.secret}, r.Secret)
	})
	if i < 0 {
		i = len(t.goodbyes)
		t.goodbyes = append(t.goodbyes, &goodbyes{transport: t, scraper: r.Scraper, addrs: r.Addrs, secret: r.Secret, dial: r.Dial})
	}
	g := t.goodbyes[i]
	cancel = g.say(r, offer, done)
	t.dialGoodbyes()
	return cancel
}

// dialGoodbyes dials for waiting groups, the oldest first, up to maxGoodbyeDials at a time.
func (t *Transport) dialGoodbyes() {
	dialling := 0
	for _, g := range t.goodbyes {
		if g.dialling {
			dialling++
		}
	}
	for _, g := range slices.Clone(t.goodbyes) {
		if dialling >= maxGoodbyeDials || t.closing {
			return
		}
		if g.link == nil && !g.over {
			g.begin()
			dialling++
		}
	}
}

// begin dials.
func (g *goodbyes) begin() {
	g.dialling = true
	g.link = g.transport.connect(g.dial, g.scraper, g.addrs)
	g.link.join(g)
	rpc, err := muxrpc.New(g.link.mux, muxrpc.Options{Protocol: protocolAlias, OnClose: g.onChannelClose})
	if err != nil {
		g.transport.host.Post(func() { g.fail(err) })
		return
	}
	g.rpc = rpc
	for _, c := range slices.Clone(g.waiting) {
		g.send(c)
	}
}

func (g *goodbyes) say(r ports.Registration, offer *metricsOffer, done func(error)) (cancel func()) {
	c := &goodbye{request: r, offer: offer, done: done}
	g.said++
	g.waiting = append(g.waiting, c)
	if g.rpc != nil {
		g.send(c)
	}
	return func() {
		if g.forget(c) && len(g.waiting) == 0 {
			g.end(errCanceled)
		}
	}
}

// send sends a goodbye, with a proof as soon as there is a handshake hash to sign.
func (g *goodbyes) send(c *goodbye) {
	m := AliasRequest{Secret: c.request.Secret, Register: c.request.Register}
	if c.offer == nil {
		g.ask(c, m)
		return
	}
	g.link.whenStarted(func() {
		o := SignOffer(c.offer.keys, g.link.conn.HandshakeHash())
		o.Instance = c.request.Instance
		m.Offer = &o
		g.ask(c, m)
	})
}

func (g *goodbyes) ask(c *goodbye, m AliasRequest) {
	if g.rpc == nil || !slices.Contains(g.waiting, c) {
		return
	}
	_, err := g.rpc.Request(methodLeave, m.Append(make([]byte, 0, m.Size())), func(value []byte, err error) {
		remote, refused := answered(err)
		switch {
		case refused:
			remote.Scraper = true
			err = remote
		case err != nil:
			return // the channel or the connection closed, which is reported separately
		default:
			err = goodbyeReply(value)
		}
		g.settle(c, err)
	})
	if err != nil {
		g.link.host.Post(func() { g.settle(c, connectionError(err)) })
	}
}

// settle reports the outcome of one goodbye; the last one leaves the connection.
func (g *goodbyes) settle(c *goodbye, err error) {
	if !g.forget(c) {
		return
	}
	c.done(err)
	if len(g.waiting) == 0 {
		g.end(nil)
	}
}

// forget drops a goodbye and reports whether it was waiting.
func (g *goodbyes) forget(c *goodbye) bool {
	i := slices.Index(g.waiting, c)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// end leaves the connection.
func (g *goodbyes) end(reason error) {
	if g.over {
		return
	}
	g.over = true
	g.transport.goodbyes = without(g.transport.goodbyes, g)
	if g.link != nil {
		g.link.leave(g, reason)
	}
	g.transport.dialGoodbyes()
}

// fail fails the whole group without an answer.
func (g *goodbyes) fail(err error) {
	g.end(err)
	for _, c := range slices.Clone(g.waiting) {
		g.settle(c, connectionError(err))
	}
}

func (g *goodbyes) onChannelClose(remote bool) {
	if g.link.mux.Closed() || g.over || !remote {
		return
	}
	if g.rpc.Opened() {
		g.fail(errChannelClosed)
	} else {
		g.fail(errNotAccepted)
	}
}

func (g *goodbyes) opened() {
	g.dialling = false
	g.transport.dialGoodbyes()
	for _, c := range slices.Clone(g.waiting) {
		if c.request.OnOpen != nil {
			c.request.OnOpen(g.link.peer())
		}
	}
}

func (g *goodbyes) closed(err error) {
	if err == nil {
		err = errPeerEnded
	}
	g.fail(err)
}

// goodbyeReply parses the answer to a goodbye.
func goodbyeReply(value []byte) error {
	reply, err := ParseAliasReply(value)
	switch {
	case err != nil:
		return connectionError(err)
	case !reply.Success:
		return &domain.RemoteError{Message: cut(reply.Message), Scraper: true}
	}
	return nil
}
