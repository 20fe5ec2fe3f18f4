package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// maxEager is the number of unproven callers for which a relay is joined.
const maxEager = 32

// strangers sends handshakes that are never followed up, each of which names a relay of its own.
func (c *fakeCaller) strangers(number int, firewall wire.Firewall) {
	p := callerPayload()
	p.Firewall = firewall
	target := keysOf(answererKey).Public.Target()
	for i := range number {
		p.RelayThrough = &wire.RelayThrough{Key: id.PublicKey{1, byte(i), byte(i >> 8)}, Token: [32]byte{byte(i), byte(i >> 8)}}
		c.tid++
		h := wire.Handshake{Mode: wire.FromClient, Noise: c.write(p.Append(nil))}
		c.send(c.relay.addr(), wire.Request{
			TID: c.tid, To: c.relay.addr(), Command: wire.CmdPeerHandshake, Target: &target, Value: h.Append(nil),
		}.Append(nil))
		c.l.run(5 * time.Millisecond)
	}
}

// Strangers that name relays, whatever they say of themselves and whichever paths the server allows, have it dial for a few of them.
func TestStrangersHaveFewRelaysJoined(t *testing.T) {
	for _, test := range []struct {
		name     string
		rule     hyperdht.PathRule
		answerer place
		firewall wire.Firewall
	}{
		{"behind NATs", hyperdht.AnyPath, cone(), wire.FirewallConsistent},
		{"open", hyperdht.AnyPath, cone(), wire.FirewallOpen},
		{"open, and the server is, too", hyperdht.AnyPath, open(), wire.FirewallOpen},
		{"behind NATs, where the server is open", hyperdht.AnyPath, open(), wire.FirewallConsistent},
		{"of which the server wants relays only", hyperdht.RelayOnly, cone(), wire.FirewallConsistent},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), test.answerer)
			l.listen(hyperdht.ListenOptions{Paths: func(id.PublicKey) hyperdht.PathRule { return test.rule }})
			c := l.fakeCaller()
			c.strangers(200, test.firewall)
			l.run(2 * time.Second)
			if s := l.answerer.node.Status().Peering; s.HandshakesRead < 150 || s.RelayAttempts > maxEager {
				t.Errorf("of %d handshakes read, %d relays are joined", s.HandshakesRead, s.RelayAttempts)
			}
		})
	}
}

// A caller beside so many strangers has a relay in reserve once it has proven itself, and gets one at once to which the server has
// a connection.
func TestStrangersDoNotKeepPeersFromRelays(t *testing.T) {
	for _, test := range []struct {
		name              string
		rule              hyperdht.PathRule
		dialler, answerer place
		path              hyperdht.Path
		reserves          int
	}{
		{"an open caller", hyperdht.AnyPath, open(), cone(), hyperdht.PathDirect, 1},
		{"a caller of an open server", hyperdht.AnyPath, cone(), open(), hyperdht.PathDirect, 1},
		{"a caller that may take nothing else", hyperdht.RelayOnly, cone(), cone(), hyperdht.PathRelayed, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, test.dialler, test.answerer)
			l.relay(hyperdht.RelayConfig{})
			l.listen(hyperdht.ListenOptions{Paths: func(id.PublicKey) hyperdht.PathRule { return test.rule }})
			if test.reserves == 0 {
				l.dial(hyperdht.ConnectOptions{RelayThrough: throughRelay})
				l.run(2 * time.Second)
			}
			l.fakeCaller().strangers(100, wire.FirewallConsistent)
			c := l.dial(hyperdht.ConnectOptions{RelayThrough: throughRelay})
			l.run(8 * time.Second)
			if !c.Opened() || c.Path() != test.path {
				t.Errorf("opened %v, path %v", c.Opened(), c.Path())
			}
			if n := l.answerer.node.Status().Peering.SecondWays; n != test.reserves {
				t.Errorf("%d relays in reserve", n)
			}
		})
	}
}
