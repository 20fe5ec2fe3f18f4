package forge_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

func TestAServerReadsAForgedHandshakeAsAnHonestOne(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	server := id.KeyPairFromSeed(id.Seed{2})
	message, err := forge.NewMessage(server.Public, random)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("82.0.0.1:49737")
	for name, test := range map[string]struct {
		peer netip.AddrPort
		mode wire.Mode
	}{
		"from a client": {mode: wire.FromClient},
		"from a relay":  {netip.MustParseAddrPort("7.7.7.7:7"), wire.FromRelay},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := wire.ParseRequest(forge.Handshake{Server: server.Public, Message: message, Peer: test.peer}.Append(nil, to, 9))
			if err != nil || r.TID != 9 || r.To != to || r.Command != wire.CmdPeerHandshake || *r.Target != server.Public.Target() {
				t.Fatalf("the request reads %+v, %v", r, err)
			}
			m, err := wire.ParseHandshake(r.Value)
			if err != nil || m.Mode != test.mode || m.PeerAddr != test.peer || !bytes.Equal(m.Noise, message) {
				t.Fatalf("the handshake reads %+v, %v", m, err)
			}
			plain, err := noise.NewResponder(server, random).ReadMessage(m.Noise)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := wire.ParseNoisePayload(plain); err != nil || p.UDX == nil || p.Version != 1 {
				t.Errorf("the payload reads %+v, %v", p, err)
			}
		})
	}
}
