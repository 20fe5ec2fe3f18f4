package dht

import (
	"errors"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// registration is one request to a scraper on an outgoing link: alias or leave, or the exchange for a set. It leaves the link after the
// answer.
type registration struct {
	link      *link
	rpc       *muxrpc.RPC
	onOpen    func(domain.Peer)
	onSent    func()       // see ports.Registration.OnSent
	shared    func()       // see ports.Registration.OnShared
	elsewhere func()       // see ports.Registration.OnElsewhere
	set       *setExchange // nil until it begins, and for an alias
	done      func(updated bool, err error)
	over      bool // done was called, or must not be called any more
	offers    bool // offers metrics on the same connection
	waits     bool // waits for the scraper to take the offer
	linger    host.Timer
}

// metricsOffer is the offer of a registering client to serve its metrics on the same connection.
type metricsOffer struct {
	// keys is the key pair of the metrics server, which signs the offer.
	keys id.KeyPair
	// connected reports whether a connection of the scraper reaches the metrics server.
	connected func(scraper domain.PublicKey) bool
	// alike means that the connection was dialled under keys. Then even a scraper that does not support offers may request
	// metrics here: the earliest ones destroy connections to their targets that serve none.
	alike bool
	// admit is the metrics server's firewall.
	admit  func(domain.Peer) bool
	onOpen func(ports.Conn) ports.MetricsHandlers
}

// register sends one request. done is called in a later turn, unless cancel is called first. The request is sent with the
// channel's open message, or as soon as there is a handshake hash to sign; it does not wait for the scraper's open message.
// offer is nil where there is no metrics server under the registered key.
func register(l *link, method string, r ports.Registration, offer *metricsOffer, done func(updated bool, err error)) (cancel func()) {
	g := &registration{link: l, onOpen: r.OnOpen, onSent: r.OnSent, shared: r.OnShared, elsewhere: r.OnElsewhere, done: done}
	l.join(g)
	if offer != nil && method == methodAlias { // a goodbye only proves the key
		g.offerMetrics(offer)
	}
	rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolAlias, OnClose: g.onChannelClose, OnDrain: g.onDrain})
	if err != nil {
		l.host.Post(func() { g.fail(err) })
		return g.cancel
	}
	g.rpc = rpc
	m := AliasRequest{Secret: r.Secret, Register: r.Register}
	send := func(o *Offer) {
		if r.Set != nil && method == methodAlias {
			g.exchange(r, o)
			return
		}
		m.Offer = o
		g.ask(method, m)
	}
	holdOf(r)(func() {
		l.whenStarted(g.sent)
		if offer == nil {
			send(nil)
			return
		}
		l.whenStarted(func() {
			o := SignOffer(offer.keys, l.conn.HandshakeHash())
			o.Instance = r.Instance
			o.Unconnected = offer.connected != nil && !offer.connected(r.Scraper)
			send(&o)
		})
	})
	return g.cancel
}

// exchange registers a set.
func (r *registration) exchange(request ports.Registration, o *Offer) {
	if r.over {
		return
	}
	r.set = &setExchange{link: r.link, rpc: r.rpc, request: request, offer: o, done: func(m TargetsReply, err error) {
		switch {
		case err != nil:
			r.failed(err)
		case !r.over:
			r.waits = r.waits || m.Accepted
			reportSet(request, m)
			r.succeeded(m.Updated)
		}
		r.settle()
	}}
	r.set.start()
}

// onDrain continues to send a set.
func (r *registration) onDrain() {
	if r.set != nil {
		r.set.pump()
	}
}

func (r *registration) ask(method string, m AliasRequest) {
	if r.over {
		return
	}
	if _, err := r.rpc.Request(method, m.Append(make([]byte, 0, m.Size())), r.onAnswer); err != nil {
		r.link.host.Post(func() { r.fail(err) })
	}
}

// offerMetrics serves the channels for scrapes and for metrics, of which the scraper opens either first, or the latter only.
func (r *registration) offerMetrics(offer *metricsOffer) {
	r.offers, r.waits = true, offer.alike
	l := r.link
	serve := func(o *mux.Offer) {
		if l.ending || len(o.ID()) > 0 || !offer.admit(l.peer()) {
			return
		}
		if _, err := serveMetrics(l, offer.onOpen); err == nil && r.over {
			r.hangUp()
		}
	}
	l.mux.Handle(muxscrape.Protocol, nil, serve)
	l.mux.Handle(protocolMetrics, nil, serve)
}

// sent reports that the request is sent: messages wait for the path, of which the scraper's first packet is the answer.
func (r *registration) sent() {
	if r.onSent != nil && !r.over {
		r.onSent()
	}
}

func (r *registration) opened() {
	if r.onOpen != nil && !r.over {
		r.onOpen(r.link.peer())
	}
}

func (r *registration) onAnswer(value []byte, err error) {
	switch remote, ok := answered(err); {
	case ok:
		remote.Scraper = true
		r.failed(remote)
	case err != nil:
		return // the channel or the connection closed, which is reported separately
	default:
		m, err := ParseAliasReply(value)
		switch {
		case err != nil:
			r.failed(connectionError(err))
		case !m.Success:
			r.failed(&domain.RemoteError{Message: cut(m.Message), Scraper: true})
		default:
			r.waits = r.waits || m.Accepted
			if m.Shared && r.shared != nil && !r.over {
				r.shared()
			}
			if m.Elsewhere && r.elsewhere != nil && !r.over {
				r.elsewhere()
			}
			r.succeeded(m.Updated)
		}
	}
	r.settle()
}

// succeeded reports success, unless there is an outcome.
func (r *registration) succeeded(updated bool) {
	if !r.over {
		r.over = true
		r.done(updated, nil)
	}
}

// failed reports an error, unless there is an outcome.
func (r *registration) failed(err error) {
	if !r.over {
		r.over = true
		const updated = false
		r.done(updated, err)
	}
}

// settle leaves the link after the answer. Where the scraper may want metrics here, it first waits for metricsLinger.
func (r *registration) settle() {
	switch {
	case r.link.closed:
	case r.link.shared(r) || !r.offers || !r.waits:
		r.hangUp()
	default:
		r.rpc.End()
		r.linger = r.link.host.AfterFunc(metricsLinger, r.hangUp)
	}
}

// hangUp detaches from the link, which closes if no role is left.
func (r *registration) hangUp() {
	if r.linger != nil {
		r.linger.Stop()
	}
	r.over = true
	shared := r.link.shared(r)
	r.link.leave(r, nil)
	if shared && r.rpc != nil {
		r.rpc.End()
	}
}

var errCanceled = errors.New("canceled")

// cancel drops the request; done is not called.
func (r *registration) cancel() {
	if r.over {
		return
	}
	r.over = true
	r.endSet()
	shared := r.link.shared(r)
	r.link.leave(r, errCanceled)
	if shared && r.rpc != nil {
		r.rpc.Destroy(errCanceled)
	}
}

// fail ends the request without an answer.
func (r *registration) fail(err error) {
	r.endSet()
	r.failed(connectionError(err))
	r.link.leave(r, err)
}

// onChannelClose fails the request when the scraper closes or rejects the channel. It also runs when this side closes it.
func (r *registration) onChannelClose(remote bool) {
	if r.link.mux.Closed() || r.over || !remote {
		return
	}
	if r.rpc.Opened() {
		r.fail(errChannelClosed)
	} else {
		r.fail(errNotAccepted)
	}
}

func (r *registration) closed(err error) {
	if r.linger != nil {
		r.linger.Stop()
	}
	r.endSet()
	r.failed(connectionError(err))
}

// endSet ends the exchange for a set that has no answer yet.
func (r *registration) endSet() {
	if r.set != nil {
		r.set.stop()
	}
}
