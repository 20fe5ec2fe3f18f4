package dht

import (
	"errors"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// heldRegistration is the registration of a set on the connection that the scraper scrapes the client on. The scraper is dialled
// instead if it does not answer within heldSetTimeout, does not support the methods there, or the channel closes. Its states are in
// doc.go.
type heldRegistration struct {
	transport  *Transport
	server     *metricsServer
	request    ports.Registration
	keys       id.KeyPair // of the metrics server
	done       func(updated bool, err error)
	allowed    bool         // the request may be sent
	exchange   *setExchange // nil before
	timer      host.Timer   // limits the wait for the first answer
	dialled    bool
	sendDialed func() // sends the request on the dialled connection; nil if that does not wait
	cancelDial func()
	over       bool
}

// registerHeld registers a set on a held connection.
func (t *Transport) registerHeld(m *metricsServer, r ports.Registration, done func(updated bool, err error)) (cancel func()) {
	h := &heldRegistration{transport: t, server: m, request: r, keys: t.metricsOffer(r).keys, done: done}
	m.registrations = append(m.registrations, h)
	holdOf(r)(h.allow)
	return func() { h.finish() }
}

// holdOf returns the function that decides when the request of a registration may be sent.
func holdOf(r ports.Registration) func(send func()) {
	if r.Hold != nil {
		return r.Hold
	}
	return func(send func()) { send() }
}

// allow sends the request, on the dialled connection if there is one.
func (h *heldRegistration) allow() {
	if h.over {
		return
	}
	h.allowed = true
	if h.dialled {
		if h.sendDialed != nil {
			h.sendDialed()
		}
		return
	}
	l := h.server.link
	o := SignOffer(h.keys, l.conn.HandshakeHash())
	o.Instance = h.request.Instance
	h.exchange = &setExchange{
		link: l, rpc: h.server.rpc, request: h.request, offer: &o, answered: h.answered, done: h.onDone, lost: h.dial,
	}
	h.timer = h.transport.host.AfterFunc(heldSetTimeout, h.dial)
	if h.request.OnSent != nil {
		h.request.OnSent()
	}
	h.exchange.start()
}

// answered reports the connection as open: from now on the answer is due.
func (h *heldRegistration) answered() {
	h.timer.Stop()
	if h.request.OnOpen != nil {
		h.request.OnOpen(h.server.link.peer())
	}
}

func (h *heldRegistration) onDone(m TargetsReply, err error) {
	if remote, ok := errors.AsType[*domain.RemoteError](err); ok && remote.Unknown {
		h.dial()
		return
	}
	if h.over {
		return
	}
	if err == nil {
		reportSet(h.request, m)
	}
	h.settle(m.Updated, err)
}

// dial registers on a connection dialled for it.
func (h *heldRegistration) dial() {
	if h.over || h.dialled {
		return
	}
	h.dialled = true
	h.leave()
	r := h.request
	r.Hold = func(send func()) {
		if h.allowed {
			send()
		} else {
			h.sendDialed = send
		}
	}
	h.cancelDial = h.transport.dialRegistration(r, func(updated bool, err error) {
		h.cancelDial = nil
		h.settle(updated, err)
	})
}

// leave ends what is under way on the held connection.
func (h *heldRegistration) leave() {
	h.server.registrations = without(h.server.registrations, h)
	if h.timer != nil {
		h.timer.Stop()
	}
	if h.exchange != nil {
		h.exchange.stop()
	}
}

func (h *heldRegistration) settle(updated bool, err error) {
	if h.finish() {
		h.done(updated, err)
	}
}

// finish cancels what is pending, and reports whether the registration was not over.
func (h *heldRegistration) finish() bool {
	if h.over {
		return false
	}
	h.over = true
	h.leave()
	if h.cancelDial != nil {
		h.cancelDial()
	}
	return true
}
