package peering_test

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
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

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
			net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 5 * time.Millisecond}})
			sh := net.AddHost("server", netip.MustParseAddr("100.128.0.1"))
			ch := net.AddHost("stranger", netip.MustParseAddr("100.128.0.2"))
			at := netip.AddrPortFrom(sh.Addr(), 49737)
			sh.Do(func() {
				n := node(t, sh, hyperdht.Config{Bootstrap: []string{}, Listen: at, NoQuickFirewall: true})
				listen(t, n, hyperdht.ListenOptions{Keys: keyPair(1), HideLocalAddrs: true, OnConnection: func(*hyperdht.Connection) {}})
			})
			net.Run(time.Second)

			random := rand.NewChaCha8([32]byte{1})
			var answer []byte
			var sock host.Socket
			ch.Do(func() {
				var err error
				if sock, err = ch.OpenSocket(netip.AddrPort{}); err != nil {
					t.Fatal(err)
				}
				sock.OnReceive(func(_ netip.AddrPort, b []byte) { answer = append([]byte(nil), b...) })
			})
			send := func(b []byte) { ch.Do(func() { sock.Send(at, 0, b) }) }
			peer := netip.AddrPortFrom(ch.Addr(), 1234)
			for i := range 40 {
				m, err := forge.NewMessage(keyPair(1).Public, random)
				if err != nil {
					t.Fatal(err)
				}
				send(forge.Handshake{Server: keyPair(1).Public, Message: m, Peer: peer}.Append(nil, at, uint16(i)))
			}
			net.Run(100 * time.Millisecond)

			keys, err := id.NewKeyPair(random)
			if err != nil {
				t.Fatal(err)
			}
			caller := noise.NewInitiator(keys, keyPair(1).Public, random)
			first, err := caller.WriteMessage(wire.NoisePayload{
				Version: 1, Firewall: wire.FirewallConsistent, Holepunch: &wire.HolepunchInfo{}, UDX: &wire.UDXInfo{ID: 7},
				SecretStream: &wire.SecretStreamInfo{}, RelayThrough: &wire.RelayThrough{Key: keyPair(9).Public, Token: [32]byte{1}},
			}.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			answer = nil
			send(forge.Handshake{Server: keyPair(1).Public, Message: first, Peer: peer}.Append(nil, at, 77))
			net.Run(100 * time.Millisecond)
			r, err := wire.ParseRequest(answer)
			if err != nil {
				t.Fatal(err)
			}
			m, err := wire.ParseHandshake(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := caller.ReadMessage(m.Noise)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := wire.ParseNoisePayload(plain)
			if err != nil {
				t.Fatal(err)
			}
			if payload.UDX == nil || payload.Holepunch == nil {
				t.Fatalf("the server answered %+v", payload)
			}
			if test.connect {
				send(udx.Header{Flags: udx.FlagData, StreamID: payload.UDX.ID, Window: udx.DefaultWindow}.Append(nil))
			}
			net.Run(test.wait)
			result, _ := caller.Result()
			round := wire.NewPunchBox(result.HolepunchSecret, random).Seal(wire.HolepunchPayload{Firewall: wire.FirewallConsistent})
			target := keyPair(1).Public.Target()
			send(wire.Request{
				TID: 78, To: at, Command: wire.CmdPeerHolepunch, Target: &target,
				Value: wire.Holepunch{Mode: wire.FromRelay, ID: payload.Holepunch.ID, Payload: round, PeerAddr: peer}.Append(nil),
			}.Append(nil))
			net.Run(time.Minute)
		})
	}
}
