package dht

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// heldGoodbye is a goodbye on the connection that the scraper scrapes the client on. The key that it gives up is proven
// there, so nothing has to be dialled.
//
//	asked ── answer ──▶ over
//	  └── heldPatience, method unknown, connection gone ──▶ dialled too ── the first answer ──▶ over
type heldGoodbye struct {
	transport  *Transport
	server     *metricsServer
	request    ports.Registration
	done       func(error)
	patience   host.Timer
	cancelDial func()
	over       bool
}

// heldPatience is how long a goodbye on a held connection may take before the scraper is dialled as well: two round trips of
// a slow path, and a third of what the application gives it.
const heldPatience = 500 * time.Millisecond

// held finds the metrics server of a registration's key on a connection with its scraper.
func (t *Transport) held(r ports.Registration) *metricsServer {
	for _, s := range t.listeners {
		if s.metrics.OnOpen == nil || s.key != r.Key {
			continue
		}
		for _, c := range s.adopted {
			if m, ok := c.(*metricsServer); ok && m.reaches(r.Scraper) {
				return m
			}
		}
		for _, l := range s.links {
			for _, role := range l.roles {
				if m, ok := role.(*metricsServer); ok && m.reaches(r.Scraper) {
					return m
				}
			}
		}
	}
	return nil
}

// reaches reports whether a scraper can be asked something on the connection.
func (s *metricsServer) reaches(scraper domain.PublicKey) bool {
	return s.active && s.rpc.Opened() && !s.rpc.Closed() && !s.link.ending && !s.link.closed && s.scraper() == scraper
}

// leaveHeld says goodbye on a held connection, which does not end before.
func (t *Transport) leaveHeld(m *metricsServer, r ports.Registration, done func(error)) (cancel func()) {
	g := &heldGoodbye{transport: t, server: m, request: r, done: done}
	o := SignOffer(t.metricsOffer(r).keys, m.link.conn.HandshakeHash())
	o.Instance = r.Instance
	req := AliasRequest{Secret: r.Secret, Register: r.Register, Offer: &o}
	if _, err := m.rpc.Request(methodLeave, req.Append(make([]byte, 0, req.Size())), g.onAnswer); err != nil {
		return t.dialLeave(r, done)
	}
	m.goodbyes++
	g.patience = t.host.AfterFunc(heldPatience, g.dial)
	return func() { g.finish() }
}

func (g *heldGoodbye) onAnswer(value []byte, err error) {
	if g.over {
		return
	}
	switch remote, refused := answered(err); {
	case refused && !remote.Unknown:
		remote.Scraper = true
		g.settle(remote)
	case err != nil: // a scraper of an earlier version, or the connection has gone
		g.dial()
	default:
		g.settle(goodbyeReply(value))
	}
}

// dial says the goodbye on a connection of its own, too.
func (g *heldGoodbye) dial() {
	if g.over || g.cancelDial != nil {
		return
	}
	g.cancelDial = g.transport.dialLeave(g.request, func(err error) {
		g.cancelDial = nil
		g.settle(err)
	})
}

func (g *heldGoodbye) settle(err error) {
	if g.finish() {
		g.done(err)
	}
}

// finish ends what is under way, and reports whether there was anything.
func (g *heldGoodbye) finish() bool {
	if g.over {
		return false
	}
	g.over = true
	g.patience.Stop()
	if g.cancelDial != nil {
		g.cancelDial()
	}
	if m := g.server; m.goodbyes > 0 {
		if m.goodbyes--; m.goodbyes == 0 && m.closing {
			m.Close(nil)
		}
	}
	return true
}
