package hyperdht

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// relayProtocol is the channel on which clients and blind relays talk; messages pair and unpair
// (blind-relay index.js).
const relayProtocol = "blind-relay"

// relayLink is the connection of this node to a blind relay. All paths over the relay share it, so that another one costs a
// message.
type relayLink struct {
	p     *peering
	relay id.PublicKey
	born  host.Instant
	conn  *Connection
	ch    *mux.Channel
	paths []*relayPath // in the order in which they came
}

// linkTo connects to a relay, unless there is a usable connection.
func (p *peering) linkTo(relay id.PublicKey) *relayLink {
	if l := p.relayLinks[relay]; l != nil && l.usable() {
		return l
	}
	l := &relayLink{p: p, relay: relay, born: p.host.Now(), conn: p.connect(relay, ConnectOptions{Addrs: p.cfg.RelayAddrs[relay]})}
	p.relayLinks[relay] = l
	l.conn.link = true
	l.conn.SetKeepAlive(connectionKeepAlive)
	l.conn.unproven = true // the other side may have chosen the relay
	m := mux.New(l.conn)
	own := l.conn.PublicKey()
	ch, err := m.Open(mux.ChannelOptions{
		Protocol: relayProtocol, ID: own[:],
		Messages: []func([]byte){l.receivePair, l.receiveUnpair},
		OnClose: func(remote bool) {
			if remote {
				l.lose(ErrRelayAborted)
			}
		},
	})
	m.OnClose(func(error) { l.lose(ErrRelayAborted) })
	if err != nil {
		p.host.Defer(func() { l.lose(err) })
	}
	l.ch = ch
	return l
}

// linked reports whether there is an open connection to a relay, so that another path need not wait for one.
func (p *peering) linked(relay id.PublicKey) bool {
	l := p.relayLinks[relay]
	return l != nil && l.conn.open && l.usable()
}

// usable reports whether a packet of the relay has come lately, or the dial to it has not taken longer than usual.
func (l *relayLink) usable() bool {
	c, now := l.conn, l.p.host.Now()
	switch {
	case c.closed:
		return false
	case c.open: // or it has missed the time for its keep-alive
		return now.Sub(max(c.raw.LastReceived(), c.openedAt)) <= linkPatience
	}
	return now.Sub(l.born) <= linkPatience
}

// reserves returns the number of paths that are in reserve and answer.
func (l *relayLink) reserves() (n int) {
	for _, rp := range l.paths {
		if rp.in(relayWarm) {
			n++
		}
	}
	return n
}

// add asks for a path.
func (l *relayLink) add(rp *relayPath) {
	l.paths = append(l.paths, rp)
	if l.ch != nil {
		l.ch.Send(0, wire.RelayPair{Initiator: rp.initiator, Token: rp.token, ID: rp.raw.ID()}.Append(nil))
	}
}

// remove removes a path, and closes the connection with the last one: in good order if nothing of the path is under way.
func (l *relayLink) remove(rp *relayPath, how manner) {
	i := slices.Index(l.paths, rp)
	if i < 0 {
		return
	}
	l.paths = slices.Delete(l.paths, i, i+1)
	if len(l.paths) > 0 {
		l.ch.Send(1, wire.RelayUnpair{Token: rp.token}.Append(nil))
		return
	}
	l.forget()
	if how == inOrder {
		l.conn.Close()
	} else {
		l.conn.Destroy(nil)
	}
}

// lose ends all paths, since the relay is lost.
func (l *relayLink) lose(err error) {
	l.forget()
	paths := l.paths
	l.paths = nil
	for _, rp := range paths {
		rp.abort(err)
	}
	l.conn.Destroy(nil)
}

func (l *relayLink) forget() {
	if l.p.relayLinks[l.relay] == l {
		delete(l.p.relayLinks, l.relay)
	}
}

// receivePair handles the relay's answer: the id of its own stream.
func (l *relayLink) receivePair(b []byte) {
	m, err := wire.ParseRelayPair(b)
	if err != nil {
		return
	}
	for _, rp := range l.paths {
		if rp.token == m.Token && rp.initiator == m.Initiator {
			rp.paired(m.ID)
			return
		}
	}
}

// receiveUnpair handles the relay's refusal of a path, or the path's end.
func (l *relayLink) receiveUnpair(b []byte) {
	m, err := wire.ParseRelayUnpair(b)
	if err != nil {
		return
	}
	for _, rp := range slices.Clone(l.paths) {
		if rp.token == m.Token {
			rp.refused(m.Reason)
		}
	}
}
