package wire_test

import (
	"bytes"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type announceVectors struct {
	Vectors []struct {
		Name, Kind                                                     string
		Seed, Target, NodeID, Token, Record, Refresh, Signature, Value vectors.Hex
		RelayAddresses                                                 []vectors.Addr
		Bump                                                           uint64
	}
}

func TestAnnounceSignaturesMatchVectors(t *testing.T) {
	for _, v := range vectors.Load[announceVectors](t, "announce").Vectors {
		t.Run(v.Name, func(t *testing.T) {
			kp := id.KeyPairFromSeed(v.Seed.Key(t))
			g := wire.Grant{Target: v.Target.Key(t), Node: v.NodeID.Key(t), Token: v.Token.Key(t)}
			m := wire.Announce{
				Peer:    &wire.Peer{PublicKey: kp.Public, RelayAddrs: vectors.AddrPorts(v.RelayAddresses)},
				Refresh: array32(t, v.Refresh), Bump: v.Bump,
			}
			if record := m.Peer.Append(nil); !bytes.Equal(record, v.Record) {
				t.Errorf("record %x, want %s", record, v.Record)
			}
			sign, verify, other := wire.SignAnnounce, wire.Announce.VerifyAnnounce, wire.Announce.VerifyUnannounce
			if v.Kind == "UNANNOUNCE" {
				sign, verify, other = wire.SignUnannounce, other, verify
			}
			sig := sign(kp, g, *m.Peer, m.Refresh)
			if !bytes.Equal(sig[:], v.Signature) {
				t.Errorf("signature %x, want %s", sig, v.Signature)
			}
			m.Signature = &sig
			check(t, wire.ParseAnnounce, m, v.Value)
			if !verify(m, g) {
				t.Error("own signature refused")
			}
			if other(m, g) {
				t.Error("the signature passes for the other command")
			}
		})
	}
}

func TestAnnounceSignatureIsBoundToEverythingSigned(t *testing.T) {
	kp := id.KeyPairFromSeed(id.Seed{1})
	g := wire.Grant{Target: id.Target{1}, Node: id.NodeID{2}, Token: id.Token{3}}
	peer := wire.Peer{PublicKey: kp.Public, RelayAddrs: addrs(1)}
	sig := wire.SignAnnounce(kp, g, peer, nil)
	for _, c := range []struct {
		name  string
		spoil func(m *wire.Announce, g *wire.Grant)
	}{
		{"target", func(_ *wire.Announce, g *wire.Grant) { g.Target[0]++ }},
		{"node", func(_ *wire.Announce, g *wire.Grant) { g.Node[0]++ }},
		{"token", func(_ *wire.Announce, g *wire.Grant) { g.Token[0]++ }},
		{"relay addresses", func(m *wire.Announce, _ *wire.Grant) { m.Peer.RelayAddrs = addrs(2) }},
		{"key", func(m *wire.Announce, _ *wire.Grant) { m.Peer.PublicKey = id.KeyPairFromSeed(id.Seed{2}).Public }},
		{"refresh", func(m *wire.Announce, _ *wire.Grant) { m.Refresh = &[32]byte{} }},
		{"no signature", func(m *wire.Announce, _ *wire.Grant) { m.Signature = nil }},
		{"no peer", func(m *wire.Announce, _ *wire.Grant) { m.Peer = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := peer
			m, g := wire.Announce{Peer: &p, Signature: &sig}, g
			if !m.VerifyAnnounce(g) {
				t.Fatal("refused before anything was changed")
			}
			c.spoil(&m, &g)
			if m.VerifyAnnounce(g) {
				t.Error("still verifies")
			}
		})
	}
}

func TestMutableSignaturesMatchVectors(t *testing.T) {
	f := vectors.Load[struct {
		Mutable []struct {
			Seed, PublicKey, Value, Signature, PutValue, GetReply vectors.Hex
			Seq                                                   uint64
		}
	}](t, "storage")
	for _, v := range f.Mutable {
		kp := id.KeyPairFromSeed(v.Seed.Key(t))
		m := wire.SignMutable(kp, v.Seq, v.Value)
		if !bytes.Equal(m.Signature[:], v.Signature) {
			t.Errorf("signature %x, want %s", m.Signature, v.Signature)
		}
		put := wire.MutablePut{PublicKey: kp.Public, MutableValue: m}
		check(t, wire.ParseMutableValue, m, v.GetReply)
		check(t, wire.ParseMutablePut, put, v.PutValue)
		if !put.Verify() {
			t.Error("own signature refused")
		}
		put.Seq++
		if put.Verify() {
			t.Error("verifies under another seq")
		}
	}
}
