package hyperdht_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// message is message 1 of caller number n, which says it has this firewall.
func message(t *testing.T, n byte, f wire.Firewall, addrs ...netip.AddrPort) []byte {
	random := rand.NewChaCha8([32]byte{n})
	keys, err := id.NewKeyPair(random)
	if err != nil {
		t.Fatal(err)
	}
	m := wire.NoisePayload{
		Version: 1, Firewall: f, Addrs4: addrs, UDX: &wire.UDXInfo{ID: 77}, SecretStream: &wire.SecretStreamInfo{},
	}
	b, err := noise.NewInitiator(keys, keysOf(1).Public, random).WriteMessage(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Handshakes from a forged source, or naming one, are never followed up. What the server sends is at most three times what
// it got, however long it waits.
func TestHandshakesAreNotAmplified(t *testing.T) {
	victim := netip.MustParseAddrPort("100.128.0.9:1234")
	for name, test := range map[string]struct {
		firewall wire.Firewall
		peer     netip.AddrPort
	}{
		"from the victim's address":                     {wire.FirewallUnknown, netip.AddrPort{}},
		"naming the victim as an open client":           {wire.FirewallOpen, victim},
		"naming the victim as a client to punch":        {wire.FirewallConsistent, victim},
		"from the victim's address, as if it were open": {wire.FirewallOpen, netip.AddrPort{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, hyperdht.ListenOptions{})
			received, sent, packets := 0, 0, 0
			p.net.SetFilter(func(d simnet.Datagram) bool {
				switch {
				case d.From.Addr() == p.ch.Addr() && d.From.Port() == 1234:
					received += len(d.Payload)
				case d.From.Addr() == p.sh.Addr():
					sent += len(d.Payload)
					packets++
				}
				return true
			})
			p.ch.Do(func() { p.stranger.Suspend(func() {}) })
			p.net.Run(10 * time.Second)
			received, sent, packets = 0, 0, 0
			var sock host.Socket
			p.ch.Do(func() {
				var err error
				if sock, err = p.ch.OpenSocket(netip.MustParseAddrPort("0.0.0.0:1234")); err != nil {
					t.Fatal(err)
				}
			})
			for i := range 20 {
				h := forge.Handshake{Server: keysOf(1).Public, Message: message(t, byte(i), test.firewall, victim), Peer: test.peer}
				p.ch.Do(func() { sock.Send(p.at, 0, h.Append(nil, p.at, uint16(i))) })
			}
			p.net.Run(time.Minute)
			t.Logf("%d bytes in %d packets for %d bytes", sent, packets, received)
			if received == 0 || sent > 3*received {
				t.Error("more than three times the bytes")
			}
			if sent == 0 {
				t.Error("honest callers would have no answer either")
			}
		})
	}
}

// A caller with a path of its own is not slowed: the page that the server sends first is longer than the allowance.
func TestHonestCallersAreNotHeldUp(t *testing.T) {
	p := newPair(t, hyperdht.ListenOptions{OnConnection: func(c *hyperdht.Connection) {
		c.OnMessage(func([]byte) { c.Send(make([]byte, 40_000)) })
	}})
	got := 0
	start := p.net.Now()
	var took time.Duration
	p.ch.Do(func() {
		c := p.dial(0, func(*hyperdht.Connection) {})
		c.Send([]byte("a page, please"))
		c.OnMessage(func(b []byte) {
			got += len(b)
			took = p.net.Now() - start
		})
	})
	p.net.Run(5 * time.Second)
	// A round trip for the handshake, one for the request, one for the rest of the initial window, and half of one; and up to a
	// millisecond for each of the four computations of a handshake.
	if got != 40_000 || took > 44*time.Millisecond {
		t.Errorf("%d bytes after %v", got, took)
	}
}
