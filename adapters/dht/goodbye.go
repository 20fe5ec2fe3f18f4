package dht

import (
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// goodbyes are the goodbyes of several clients of this process to one scraper on one connection. A process that stops
// says goodbye for all of its targets in the same turn; a dial for each would take longer than the stop may. Every
// request carries its own proof, and the instance that it belongs to.
type goodbyes struct {
	transport *Transport
	scraper   domain.PublicKey
	link      *link
	rpc       *muxrpc.RPC
	said      int // requests so far
	waiting   []*goodbye
	over      bool
}

// goodbye is one of them.
type goodbye struct {
	request ports.Registration
	done    func(error)
}

// LeaveAlias implements ports.Transport. Goodbyes to one scraper share connections, maxGoodbyes each.
func (t *Transport) LeaveAlias(r ports.Registration, done func(error)) (cancel func()) {
	if t.closing {
		return t.refuse(func() { done(connectionError(domain.ErrClosed)) })
	}
	i := slices.IndexFunc(t.goodbyes, func(g *goodbyes) bool { return g.scraper == r.Scraper && g.said < maxGoodbyes })
	if i < 0 {
		i = len(t.goodbyes)
		t.goodbyes = append(t.goodbyes, newGoodbyes(t, r))
	}
	return t.goodbyes[i].say(r, t.metricsOffer(r), done)
}

func newGoodbyes(t *Transport, r ports.Registration) *goodbyes {
	g := &goodbyes{transport: t, scraper: r.Scraper, link: t.connect(r.Dial, r.Scraper)}
	g.link.join(g)
	rpc, err := muxrpc.New(g.link.mux, muxrpc.Options{Protocol: protocolAlias, OnClose: g.onChannelClose})
	if err != nil {
		t.host.Post(func() { g.fail(err) })
		return g
	}
	g.rpc = rpc
	return g
}

func (g *goodbyes) say(r ports.Registration, offer *metricsOffer, done func(error)) (cancel func()) {
	c := &goodbye{request: r, done: done}
	g.said++
	g.waiting = append(g.waiting, c)
	m := AliasRequest{Secret: r.Secret, Register: r.Register}
	if offer == nil {
		g.ask(c, m)
	} else {
		g.link.whenStarted(func() {
			o := SignOffer(offer.keys, g.link.conn.HandshakeHash())
			o.Instance = r.Instance
			m.Offer = &o
			g.ask(c, m)
		})
	}
	return func() {
		if g.forget(c) && len(g.waiting) == 0 {
			g.end(errCanceled)
		}
	}
}

func (g *goodbyes) ask(c *goodbye, m AliasRequest) {
	if g.rpc == nil || !slices.Contains(g.waiting, c) {
		return
	}
	_, err := g.rpc.Request(methodLeave, m.Append(make([]byte, 0, m.Size())), func(value []byte, err error) {
		remote, refused := answered(err)
		switch {
		case refused:
			err = remote
		case err != nil:
			return // the channel or the connection has gone, which says why by itself
		default:
			reply, bad := ParseAliasReply(value)
			if bad != nil {
				err = connectionError(bad)
			} else if !reply.Success {
				err = &domain.RemoteError{Message: cut(reply.Message)}
			}
		}
		g.settle(c, err)
	})
	if err != nil {
		g.link.host.Post(func() { g.settle(c, connectionError(err)) })
	}
}

// settle gives the outcome of one goodbye; the last one hangs up.
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
	g.link.leave(g, reason)
}

// fail ends all of them without an answer.
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
