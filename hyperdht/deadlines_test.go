package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// Deadlines that the transcripts do not show, because something else ends what they are for before.

// A caller acknowledges what it gets, so it is not silent, and never sends a packet under the keys of the handshake.
func TestConnectionsThatDoNotOpenEnd(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), open())
	var accepted time.Duration
	var why error
	closed := time.Duration(0)
	l.listen(hyperdht.ListenOptions{OnConnection: func(c *hyperdht.Connection) {
		accepted = l.net.Now()
		c.OnClose(func(err error) { closed, why = l.net.Now(), err })
	}})
	c := l.fakeCaller()
	c.relay = l.answerer // straight to the server
	c.sock.OnReceive(func(from netip.AddrPort, b []byte) {
		c.got = append(c.got, append([]byte(nil), b...))
		if p, err := udx.ParsePacket(b); err == nil && p.Flags&(udx.FlagData|udx.FlagDestroy) == udx.FlagData {
			c.sock.Send(from, 0, udx.Header{StreamID: l.log.streamIDs["answerer"], Window: udx.DefaultWindow, Ack: p.Seq + 1}.Append(nil))
		}
	})
	l.begin()
	c.dial(callerPayload())
	l.run(time.Minute)
	if why != hyperdht.ErrUnopened || closed-accepted != 15*time.Second {
		t.Errorf("closed with %v after %v", why, closed-accepted)
	}
	if s := l.holds(l.answerer); s != nothing {
		t.Errorf("the answerer holds%s", s)
	}
}

// A punched socket is kept for three seconds after its connection, for late retransmissions, and for no longer.
func TestSocketsLingerAfterTheirConnections(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(time.Second)
	l.dialler.host.Do(func() { c.Destroy(nil) })
	for _, test := range []struct {
		wait time.Duration
		want int
	}{{2900 * time.Millisecond, 1}, {200 * time.Millisecond, 0}} {
		l.run(test.wait)
		for _, a := range []*actor{l.dialler, l.answerer} {
			if n := size(a.node, "sockets for punching"); n != test.want {
				t.Errorf("the %s has %d sockets for punching, want %d", a.name, n, test.want)
			}
		}
	}
}

// A retransmission of a handshake is answered with the same answer for ten seconds after the attempt has ended, and as long as its connection waits to
// open, 13 s for a caller that sends nothing. It is a new attempt afterwards.
func TestCallersAreRememberedForTenSeconds(t *testing.T) {
	t.Parallel()
	refused := callerPayload()
	refused.UDX = nil
	for _, test := range []struct {
		name    string
		payload wire.NoisePayload
		lasts   time.Duration
	}{
		{"a connection that waits", callerPayload(), 13 * time.Second},
		{"a refused caller", refused, 10 * time.Second},
	} {
		l := newLab(t, 4, cone(), open())
		l.listen(hyperdht.ListenOptions{})
		c := l.fakeCaller()
		h := wire.Handshake{Mode: wire.FromClient, Noise: c.write(test.payload.Append(nil))}.Append(nil)
		first := c.request(l.answerer.addr(), wire.CmdPeerHandshake, h)
		l.run(test.lasts - 500*time.Millisecond)
		second := c.request(l.answerer.addr(), wire.CmdPeerHandshake, h)
		l.run(time.Second)
		third := c.request(l.answerer.addr(), wire.CmdPeerHandshake, h)
		if first == nil || string(first) != string(second) {
			t.Errorf("%s: a retransmission gets another answer", test.name)
		}
		if third == nil || string(third) == string(first) {
			t.Errorf("%s is remembered for more than %v", test.name, test.lasts)
		}
	}
}

// An own address that does not receive its own datagram within half a second is left out of the answers to callers.
func TestOwnAddressesAreCheckedForHalfASecond(t *testing.T) {
	t.Parallel()
	for _, works := range []bool{true, false} {
		l := newLab(t, 4, cone(), public())
		l.net.SetFilter(func(d simnet.Datagram) bool { return works || d.From.Addr() != d.To.Addr() })
		l.listenAt(l.answerer, hyperdht.ListenOptions{})
		c := l.fakeCaller()
		start := l.net.Now()
		answered := time.Duration(0)
		c.sock.OnReceive(func(netip.AddrPort, []byte) { answered = l.net.Now() - start })
		c.request(l.answerer.addr(), wire.CmdPeerHandshake, wire.Handshake{
			Mode: wire.FromRelay, Noise: c.write(callerPayload().Append(nil)), PeerAddr: c.addr(),
		}.Append(nil))
		l.run(time.Second)
		least, most := hop, 3*hop
		if !works {
			least, most = 400*time.Millisecond, 500*time.Millisecond+2*hop
		}
		if answered < least || answered > most {
			t.Errorf("the address works: %v; answered after %v", works, answered)
		}
	}
}

// A caller on the LAN of the server that vanishes after the handshake is given up like any other.
func TestCallersOfTheLANAreGivenUp(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, sameHome("answerer"), cone())
	l.listen(hyperdht.ListenOptions{})
	l.apart()
	l.begin()
	l.log.muted = true
	l.await("answerer", hyperdht.AttemptReceived)
	l.dial(hyperdht.ConnectOptions{})
	l.awaited()
	l.run(time.Millisecond)
	l.show()
	l.off(l.dialler)
	l.run(time.Minute)
	l.end("lan-dialler-is-cut-off")
}
