package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// section is a part of a transcript file, with a lab of its own.
type section struct {
	name string
	text string
}

func sections(t *testing.T, name string, all []section) {
	t.Helper()
	text := ""
	for _, s := range all {
		text += "== " + s.name + "\n" + s.text + "\n"
	}
	keep(t, name, text)
}

// What a dialler makes of answers to its handshake that are no good, or strange.
func TestAnswersToHandshakes(t *testing.T) {
	t.Parallel()
	elsewhere := netip.MustParseAddrPort("100.128.9.9:1234")
	var all []section
	for _, test := range []struct {
		name string
		peer netip.AddrPort
		set  func(f *fakeServer)
	}{
		{name: "not Noise", set: func(f *fakeServer) { f.message = func(*noise.Handshake) []byte { return make([]byte, 100) } }},
		{name: "empty", set: func(f *fakeServer) { f.message = func(*noise.Handshake) []byte { return []byte{} } }},
		{name: "another mode", set: func(f *fakeServer) { f.mode = wire.FromServer }},
		{name: "a payload that cannot be read", set: func(f *fakeServer) {
			f.message = func(hs *noise.Handshake) []byte {
				b, _ := hs.WriteMessage([]byte{1})
				return b
			}
		}},
		{name: "another version", set: func(f *fakeServer) {
			f.message = func(hs *noise.Handshake) []byte {
				b, _ := hs.WriteMessage([]byte{2, 0, 0, 0})
				return b
			}
		}},
		{name: "version mismatch", set: func(f *fakeServer) { f.payload.Error = wire.ErrorVersionMismatch }},
		{name: "aborted", set: func(f *fakeServer) { f.payload.Error = wire.ErrorAborted }},
		{name: "try later", set: func(f *fakeServer) { f.payload.Error = wire.ErrorTryLater }},
		{name: "no stream", set: func(f *fakeServer) { f.payload.UDX = nil }},
		{name: "without a relay", set: func(f *fakeServer) { f.peer = netip.AddrPort{} }},
		{name: "through itself, and it does not punch", set: func(f *fakeServer) { f.peer, f.payload.Holepunch = f.addr(), nil }},
		{name: "through a relay, and it does not punch", set: func(f *fakeServer) { f.payload.Holepunch = nil }},
		{name: "through a relay, and has none to punch through", set: func(f *fakeServer) { f.payload.Holepunch.Relays = nil }},
		{name: "open, at a private address", set: func(f *fakeServer) {
			f.payload.Firewall = wire.FirewallOpen
			f.payload.Addrs4 = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1")}
		}},
		{name: "open, at another address than its relay sees", set: func(f *fakeServer) {
			f.payload.Firewall = wire.FirewallOpen
			f.payload.Addrs4 = []netip.AddrPort{netip.MustParseAddrPort("100.128.9.8:1")}
		}},
	} {
		l := newLab(t, 4, cone(), open())
		f := l.fakeServer(elsewhere)
		test.set(f)
		l.begin()
		l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
		l.run(20 * time.Second)
		all = append(all, section{test.name, l.finish()})
	}
	sections(t, "answers-to-handshakes", all)
}

// What a dialler makes of answers to its punch rounds.
func TestAnswersToRounds(t *testing.T) {
	t.Parallel()
	elsewhere := netip.MustParseAddrPort("100.128.9.9:1234")
	random := wire.HolepunchPayload{Firewall: wire.FirewallRandom, Addrs: []netip.AddrPort{elsewhere}, Token: &[32]byte{1}}
	consistent := random
	consistent.Firewall = wire.FirewallConsistent
	always := func(p wire.HolepunchPayload) func(wire.HolepunchPayload) []wire.HolepunchPayload {
		return func(wire.HolepunchPayload) []wire.HolepunchPayload { return []wire.HolepunchPayload{p} }
	}
	punching := func(p wire.HolepunchPayload) wire.HolepunchPayload {
		p.Punching = true
		return p
	}
	var all []section
	for _, test := range []struct {
		name  string
		punch func(wire.HolepunchPayload) []wire.HolepunchPayload
		wrap  func(*wire.Holepunch)
	}{
		{name: "silence"},
		{name: "sealed with another key", punch: always(consistent), wrap: func(h *wire.Holepunch) { h.Payload[30]++ }},
		{name: "another mode", punch: always(consistent), wrap: func(h *wire.Holepunch) { h.Mode = wire.FromServer }},
		{name: "aborted", punch: always(wire.HolepunchPayload{Error: wire.ErrorAborted})},
		{name: "try later, without a relay", punch: always(wire.HolepunchPayload{Error: wire.ErrorTryLater})},
		{name: "never knows its NAT", punch: always(wire.HolepunchPayload{})},
		{name: "no token, never punches", punch: always(wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Addrs: []netip.AddrPort{elsewhere}})},
		{name: "consistent, never punches", punch: always(consistent)},
		{name: "consistent, punches, at no address", punch: always(punching(wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Token: &[32]byte{1}}))},
		{name: "consistent, punches, proves nothing", punch: always(punching(consistent))},
		{name: "random, punches, proves nothing", punch: always(punching(random))},
		{name: "open, punches", punch: always(punching(wire.HolepunchPayload{Firewall: wire.FirewallOpen, Token: &[32]byte{1}}))},
		{name: "becomes random in the punch round", punch: func(m wire.HolepunchPayload) []wire.HolepunchPayload {
			if m.Punching {
				return []wire.HolepunchPayload{punching(random)}
			}
			return []wire.HolepunchPayload{consistent}
		}},
		{name: "proves its address, and does not come", punch: func(m wire.HolepunchPayload) []wire.HolepunchPayload {
			p := punching(consistent)
			p.RemoteToken = m.Token
			return []wire.HolepunchPayload{p}
		}},
	} {
		l := newLab(t, 4, cone(), open())
		f := l.fakeServer(elsewhere)
		f.punch, f.wrap = test.punch, test.wrap
		l.begin()
		l.log.muted = true
		l.await("dialler", hyperdht.AttemptProbing)
		l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
		l.awaited()
		l.show()
		l.run(40 * time.Second)
		all = append(all, section{test.name, l.finish()})
	}
	sections(t, "answers-to-rounds", all)
}

// What a server makes of handshakes that are no good, or strange, straight from a caller.
func TestHandshakesForAServer(t *testing.T) {
	t.Parallel()
	elsewhere := netip.MustParseAddrPort("100.128.9.9:1234")
	plain := callerPayload()
	var all []section
	for _, test := range []struct {
		name      string
		noise     func(c *fakeCaller) []byte
		handshake wire.Handshake
	}{
		{name: "not Noise", noise: func(*fakeCaller) []byte { return make([]byte, 100) }},
		{name: "empty", noise: func(*fakeCaller) []byte { return nil }},
		{name: "a payload that cannot be read", noise: func(c *fakeCaller) []byte { return c.write([]byte{1}) }},
		{name: "another version", noise: func(c *fakeCaller) []byte { return c.write([]byte{2, 0, 0, 0}) }},
		{name: "no stream", noise: func(c *fakeCaller) []byte {
			p := plain
			p.UDX = nil
			return c.write(p.Append(nil))
		}},
		{name: "straight from the caller", noise: func(c *fakeCaller) []byte { return c.write(plain.Append(nil)) }},
		{name: "from a relay that it did not announce to", noise: func(c *fakeCaller) []byte { return c.write(plain.Append(nil)) },
			handshake: wire.Handshake{Mode: wire.FromRelay, PeerAddr: elsewhere}},
		{name: "from a second relay", noise: func(c *fakeCaller) []byte { return c.write(plain.Append(nil)) },
			handshake: wire.Handshake{Mode: wire.FromSecondRelay, PeerAddr: elsewhere, RelayAddr: netip.MustParseAddrPort("100.128.1.2:49737")}},
		{name: "from a second relay that names no first", noise: func(c *fakeCaller) []byte { return c.write(plain.Append(nil)) },
			handshake: wire.Handshake{Mode: wire.FromSecondRelay, PeerAddr: elsewhere}},
		{name: "from a server", noise: func(c *fakeCaller) []byte { return c.write(plain.Append(nil)) }, handshake: wire.Handshake{Mode: wire.FromServer}},
		{name: "of an unknown mode", noise: func(c *fakeCaller) []byte { return c.write(plain.Append(nil)) }, handshake: wire.Handshake{Mode: 9}},
	} {
		l := newLab(t, 4, cone(), public())
		l.listen(hyperdht.ListenOptions{})
		c := l.fakeCaller()
		test.handshake.Noise = test.noise(c)
		l.begin()
		for range 2 { // the second one is a retransmission
			c.request(l.answerer.addr(), wire.CmdPeerHandshake, test.handshake.Append(nil))
		}
		l.run(30 * time.Second)
		all = append(all, section{test.name, l.finish()})
	}
	sections(t, "handshakes-for-a-server", all)
}

// What a server makes of punch rounds.
func TestRoundsForAServer(t *testing.T) {
	t.Parallel()
	var all []section
	for _, test := range []struct {
		name string
		do   func(c *fakeCaller)
	}{
		{name: "abort", do: func(c *fakeCaller) { c.round(wire.HolepunchPayload{Error: wire.ErrorAborted}) }},
		{name: "another caller", do: func(c *fakeCaller) {
			c.payload.Holepunch.ID++
			c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent})
		}},
		{name: "sealed with another key", do: func(c *fakeCaller) {
			c.box = wire.NewPunchBox([32]byte{1}, c.random)
			c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent})
		}},
		{name: "without a caller's address", do: func(c *fakeCaller) {
			c.vouch(wire.HolepunchPayload{Firewall: wire.FirewallConsistent}, netip.AddrPort{})
		}},
		{name: "punching, at no address", do: func(c *fakeCaller) {
			c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Punching: true})
		}},
		{name: "punching, random, proves nothing", do: func(c *fakeCaller) {
			c.round(wire.HolepunchPayload{Firewall: wire.FirewallRandom, Punching: true, Addrs: []netip.AddrPort{c.addr()}})
		}},
		{name: "punching, and does not come", do: func(c *fakeCaller) {
			c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Punching: true, Addrs: []netip.AddrPort{c.addr()}})
		}},
		{name: "open, in the middle of it", do: func(c *fakeCaller) {
			c.round(wire.HolepunchPayload{Firewall: wire.FirewallOpen, Punching: true})
		}},
		{name: "one round, and silence", do: func(c *fakeCaller) { c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent}) }},
		// The server's patience begins with the handshake and is not prolonged by rounds.
		{name: "a round each three seconds, never punching", do: func(c *fakeCaller) {
			for i := range uint64(4) {
				c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Round: i})
				c.l.run(3 * time.Second)
			}
		}},
	} {
		l := newLab(t, 4, cone(), public())
		l.listen(hyperdht.ListenOptions{})
		c := l.fakeCaller()
		l.begin()
		l.log.muted = true
		c.dial(callerPayload())
		l.show()
		test.do(c)
		l.run(40 * time.Second)
		all = append(all, section{test.name, l.finish()})
	}
	sections(t, "rounds-for-a-server", all)
}
