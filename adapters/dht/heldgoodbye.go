package dht

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// heldGoodbye is a goodbye on the connection that the scraper scrapes the client on. The client's key is proven there, so
// no dial is needed unless heldTimeout passes, the scraper does not support the method, or the connection closes. Then the first
// answer counts. Its states are in doc.go.
type heldGoodbye struct {
	transport  *Transport
	server     *metricsServer
	request    ports.Registration
	offer      *metricsOffer // of the metrics server, which may be closed before the scraper is dialled
	done       func(error)
	dialTimer  host.Timer
	cancelDial func()
	over       bool
}

// heldTimeout limits a goodbye on a held connection; after it the scraper is dialled as well. It is two round trips of a slow
// path, and a third of the application's limit.
const heldTimeout = 500 * time.Millisecond

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

// reaches reports whether requests can be sent to a scraper on the connection.
func (s *metricsServer) reaches(scraper domain.PublicKey) bool {
	return s.active && s.rpc.Opened() && !s.rpc.Closed() && !s.link.ending && !s.link.closed && s.scraper() == scraper
}

// leaveHeld says goodbye on a held connection, which is not closed before the goodbye is over.
func (t *Transport) leaveHeld(m *metricsServer, r ports.Registration, done func(error)) (cancel func()) {
	g := &heldGoodbye{transport: t, server: m, request: r, offer: t.metricsOffer(r), done: done}
	o := SignOffer(g.offer.keys, m.link.conn.HandshakeHash())
	o.Instance = r.Instance
	req := AliasRequest{Secret: r.Secret, Register: r.Register, Offer: &o}
	if _, err := m.rpc.Request(methodLeave, req.Append(make([]byte, 0, req.Size())), g.onAnswer); err != nil {
		return t.dialLeave(r, g.offer, done)
	}
	m.goodbyes = append(m.goodbyes, g)
	g.dialTimer = t.host.AfterFunc(heldTimeout, g.dial)
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
	case err != nil: // a scraper of an earlier version, or the connection closed
		g.dial()
	default:
		g.settle(goodbyeReply(value))
	}
}

// dial says goodbye on a separate connection as well.
func (g *heldGoodbye) dial() {
	if g.over || g.cancelDial != nil {
		return
	}
	g.cancelDial = g.transport.dialLeave(g.request, g.offer, func(err error) {
		g.cancelDial = nil
		g.settle(err)
	})
}

func (g *heldGoodbye) settle(err error) {
	if g.finish() {
		g.done(err)
	}
}

// finish cancels what is pending, and reports whether the goodbye was not over.
func (g *heldGoodbye) finish() bool {
	if g.over {
		return false
	}
	g.over = true
	g.dialTimer.Stop()
	if g.cancelDial != nil {
		g.cancelDial()
	}
	m := g.server
	if m.goodbyes = without(m.goodbyes, g); len(m.goodbyes) == 0 && m.closing {
		m.Close(nil)
	}
	return true
}
