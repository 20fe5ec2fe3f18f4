package hyperdht_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// forwarder is a host that sends a server what a relay would forward, and receives the answers. The server does not know that it
// is reachable, and so punches.
type forwarder struct {
	t      *testing.T
	net    *simnet.Net
	ch     *simnet.Host
	sock   host.Socket
	at     netip.AddrPort // the server
	peer   netip.AddrPort // the caller, as it says
	random *rand.ChaCha8
	answer []byte // the last one
	sent   uint16
}

func newForwarder(t *testing.T, opts hyperdht.ListenOptions) *forwarder {
	f := &forwarder{t: t, net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 5 * time.Millisecond}}), random: rand.NewChaCha8([32]byte{1})}
	sh := f.net.AddHost("server", netip.MustParseAddr("100.128.0.1"))
	f.ch = f.net.AddHost("forwarder", netip.MustParseAddr("100.128.0.2"))
	f.at = netip.AddrPortFrom(sh.Addr(), 49737)
	f.peer = netip.AddrPortFrom(f.ch.Addr(), 1234)
	opts.Keys, opts.HideLocalAddrs = keysOf(1), true
	opts.OnConnection = func(*hyperdht.Connection) {}
	var bootstrap []string
	for i := range byte(6) { // which report the server's address
		h := f.net.AddHost(string('a'+rune(i)), netip.AddrFrom4([4]byte{100, 128, 1, i}))
		at := netip.AddrPortFrom(h.Addr(), 49737)
		h.Do(func() {
			node(t, h, hyperdht.Config{Bootstrap: append([]string{}, bootstrap...), Listen: at, PublicAddr: at, Mode: hyperdht.Persistent})
		})
		if i == 0 {
			bootstrap = []string{at.String()}
		}
		f.net.Run(5 * time.Second)
	}
	sh.Do(func() {
		n := node(t, sh, hyperdht.Config{Bootstrap: bootstrap, Listen: f.at, NoQuickFirewall: true})
		listen(t, n, opts)
	})
	f.ch.Do(func() {
		var err error
		if f.sock, err = f.ch.OpenSocket(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		f.sock.OnReceive(func(_ netip.AddrPort, b []byte) { f.answer = append([]byte(nil), b...) })
	})
	f.net.Run(5 * time.Second)
	return f
}

// send sends a datagram and returns the last answer that comes soon.
func (f *forwarder) send(b []byte) []byte {
	f.answer = nil
	f.ch.Do(func() { f.sock.Send(f.at, 0, b) })
	f.net.Run(50 * time.Millisecond)
	return f.answer
}

func (f *forwarder) handshake(message []byte) []byte {
	f.sent++
	return f.send(forge.Handshake{Server: keysOf(1).Public, Message: message, Peer: f.peer}.Append(nil, f.at, f.sent))
}

func (f *forwarder) newCaller(keys id.KeyPair) (*noise.Handshake, []byte) {
	f.t.Helper()
	caller := noise.NewInitiator(keys, keysOf(1).Public, f.random)
	message, err := caller.WriteMessage(wire.NoisePayload{
		Version: 1, Firewall: wire.FirewallConsistent, Holepunch: &wire.HolepunchInfo{}, UDX: &wire.UDXInfo{ID: 7},
		SecretStream: &wire.SecretStreamInfo{}, RelayThrough: &wire.RelayThrough{Key: keysOf(9).Public, Token: [32]byte{1}},
	}.Append(nil))
	if err != nil {
		f.t.Fatal(err)
	}
	return caller, message
}

// dial shakes hands, and returns the server's payload and the box for punch rounds.
func (f *forwarder) dial(keys id.KeyPair) (wire.NoisePayload, *wire.PunchBox) {
	f.t.Helper()
	caller, message := f.newCaller(keys)
	r, err := wire.ParseRequest(f.handshake(message))
	if err != nil {
		f.t.Fatal(err)
	}
	m, err := wire.ParseHandshake(r.Value)
	if err != nil {
		f.t.Fatal(err)
	}
	plain, err := caller.ReadMessage(m.Noise)
	if err != nil {
		f.t.Fatal(err)
	}
	payload, err := wire.ParseNoisePayload(plain)
	if err != nil || payload.UDX == nil || payload.Holepunch == nil {
		f.t.Fatalf("the server answered %+v, %v", payload, err)
	}
	result, _ := caller.Result()
	return payload, wire.NewPunchBox(result.HolepunchSecret, f.random)
}

// round sends one punch round and returns the answer.
func (f *forwarder) round(to wire.NoisePayload, box *wire.PunchBox) []byte {
	f.sent++
	target := keysOf(1).Public.Target()
	sealed := box.Seal(wire.HolepunchPayload{Firewall: wire.FirewallConsistent})
	m := wire.Holepunch{Mode: wire.FromRelay, ID: to.Holepunch.ID, Payload: sealed, PeerAddr: f.peer}
	return f.send(wire.Request{TID: f.sent, To: f.at, Command: wire.CmdPeerHolepunch, Target: &target, Value: m.Append(nil)}.Append(nil))
}

func (f *forwarder) newKeys() id.KeyPair {
	keys, err := id.NewKeyPair(f.random)
	if err != nil {
		f.t.Fatal(err)
	}
	return keys
}

// While many callers have proven nothing, a server joins a caller's relay at its first punch round only. That round may
// come when the attempt is over: a path was found, or the caller has waited too long.
func TestFirstPunchRoundMayComeAfterTheAttempt(t *testing.T) {
	for name, test := range map[string]struct {
		connect bool // a packet of the stream comes first
		wait    time.Duration
	}{
		"after a path was found":    {true, time.Second},
		"after the server gave up":  {false, 12 * time.Second},
		"while the server waits":    {false, time.Second},
		"after all was forgotten":   {false, 25 * time.Second},
		"with a path, and too late": {true, 25 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForwarder(t, hyperdht.ListenOptions{})
			for range 40 {
				m, err := forge.NewMessage(keysOf(1).Public, f.random)
				if err != nil {
					t.Fatal(err)
				}
				f.handshake(m)
			}
			payload, box := f.dial(f.newKeys())
			if test.connect {
				f.send(udx.Header{Flags: udx.FlagData, StreamID: payload.UDX.ID, Window: udx.DefaultWindow}.Append(nil))
			}
			f.net.Run(test.wait)
			f.round(payload, box)
			f.net.Run(time.Minute)
		})
	}
}

// Relays see the handshakes that they forward, and can send them again. A caller that has answered under the keys of its own
// keeps its place.
func TestReplayedHandshakesOfAKnownKeyDoNotEndItsDial(t *testing.T) {
	f := newForwarder(t, hyperdht.ListenOptions{Known: func(id.PublicKey) bool { return true }})
	keys := f.newKeys()
	var recorded [][]byte
	for range 12 {
		_, message := f.newCaller(keys)
		recorded = append(recorded, message)
	}
	payload, box := f.dial(keys)
	if f.round(payload, box) == nil {
		t.Fatal("the server does not answer the first round")
	}
	for _, message := range recorded {
		f.handshake(message)
	}
	if f.round(payload, box) == nil {
		t.Error("the server has forgotten the dial")
	}
}

// replayers are hosts in networks of their own that send a server recorded handshakes.
func (f *forwarder) replayers(n int) (send func(messages [][]byte)) {
	var hosts []*simnet.Host
	var socks []host.Socket
	for i := range n {
		h := f.net.AddHost(fmt.Sprintf("replayer-%d", i), netip.AddrFrom4([4]byte{101, 64, byte(i), 1}))
		h.Do(func() {
			sock, err := h.OpenSocket(netip.AddrPort{})
			if err != nil {
				f.t.Fatal(err)
			}
			hosts, socks = append(hosts, h), append(socks, sock)
		})
	}
	return func(messages [][]byte) {
		for i, m := range messages {
			f.sent++
			b := forge.Handshake{Server: keysOf(1).Public, Message: m, Peer: netip.AddrPortFrom(hosts[i%n].Addr(), 99)}.Append(nil, f.at, f.sent)
			hosts[i%n].Do(func() { socks[i%n].Send(f.at, 0, b) })
		}
		f.net.Run(50 * time.Millisecond)
	}
}

// The same before the caller has answered: between its handshake and its first punch round, which takes it a round trip.
func TestReplayedHandshakesOfAKnownKeyDoNotEndADialThatHasNotAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		replayers int
		before    bool // the server has read them when they were sent
	}{
		"kept back by one node, and sent by it later":    {1, false},
		"sent again by one node":                         {1, true},
		"sent again by many, which may forge the source": {64, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForwarder(t, hyperdht.ListenOptions{Known: func(id.PublicKey) bool { return true }})
			keys := f.newKeys()
			var recorded [][]byte
			for range 64 {
				_, message := f.newCaller(keys)
				recorded = append(recorded, message)
			}
			replay := f.replayers(test.replayers)
			if test.before {
				replay(recorded)
				f.net.Run(time.Minute)
			}
			payload, box := f.dial(keys)
			replay(recorded)
			if f.round(payload, box) == nil {
				t.Error("the server has forgotten the dial")
			}
		})
	}
}
