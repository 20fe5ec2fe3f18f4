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

func TestALiarsAnswersCanBeReadAndAreFalse(t *testing.T) {
	l := forge.Liar{
		Self: netip.MustParseAddrPort("9.9.9.9:49737"), Closer: []netip.AddrPort{netip.MustParseAddrPort("8.8.8.8:8")},
		Relays: forge.Strand, Random: rand.NewChaCha8([32]byte{1}),
	}
	from, server := netip.MustParseAddrPort("7.7.7.7:7"), netip.MustParseAddrPort("6.6.6.6:6")
	target := id.Target{1}
	ask := func(from netip.AddrPort, command uint64, value []byte) forge.Sent {
		t.Helper()
		sent := l.Receive(from, wire.Request{TID: 5, To: l.Self, Command: command, Target: &target, Value: value}.Append(nil))
		if len(sent) != 1 {
			t.Fatalf("command %d: %d datagrams", command, len(sent))
		}
		return sent[0]
	}
	first, err := wire.ParseResponse(ask(from, wire.CmdFindPeer, nil).Payload)
	if err != nil || first.To == from || first.To != forge.Mask(from, forge.FalsePort) || *first.ID != id.NodeIDOf(l.Self) || len(first.Closer) != 1 {
		t.Fatalf("answers %+v, %v", first, err)
	}
	if _, err := wire.ParsePeer(first.Value); err != nil {
		t.Errorf("the record cannot be read: %v", err)
	}
	if again, _ := wire.ParseResponse(ask(from, wire.CmdFindPeer, nil).Payload); *again.Token == *first.Token {
		t.Error("the token is the same")
	}
	ask(server, wire.CmdAnnounce, nil)
	handshake := wire.Handshake{Mode: wire.FromClient, Noise: []byte("message 1")}.Append(nil)
	for relays, to := range map[forge.RelayLie]netip.AddrPort{forge.Strand: server, forge.Misname: server, forge.Replay: server, forge.Garble: from} {
		if l.Relays = relays; ask(from, wire.CmdPeerHandshake, handshake).To != to {
			t.Errorf("lie %d: the handshake does not go to %v", relays, to)
		}
	}
	l.Relays = forge.Swallow
	if sent := l.Receive(from, wire.Request{To: l.Self, Command: wire.CmdPeerHandshake, Target: &target, Value: handshake}.Append(nil)); sent != nil {
		t.Error("a handshake is answered")
	}
	if forge.Mask(forge.Mask(from, forge.FalseHostAndPort), forge.FalseHostAndPort) != from {
		t.Error("the mask of a mask is another address")
	}
}
