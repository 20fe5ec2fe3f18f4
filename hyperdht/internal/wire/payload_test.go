package wire_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// payloadParts is a Noise payload in JSON; absent parts are null or missing.
type payloadParts struct {
	Version   uint64
	Error     wire.PayloadError
	Firewall  wire.Firewall
	Holepunch *struct {
		ID     uint64
		Relays []struct{ RelayAddress, PeerAddress vectors.Addr }
	}
	Addresses4, Addresses6 []vectors.Addr
	UDX                    *struct {
		Version        uint64
		ReusableSocket bool
		ID             uint32
		Seq            uint64
	}
	SecretStream *struct{ Version uint64 }
	RelayThrough *struct {
		Version          uint64
		PublicKey, Token vectors.Hex
	}
	RelayAddresses []vectors.Addr
}

func (p payloadParts) payload(t *testing.T) wire.NoisePayload {
	m := wire.NoisePayload{
		Version: p.Version, Error: p.Error, Firewall: p.Firewall,
		RelayAddrs: vectors.AddrPorts(p.RelayAddresses),
	}
	if len(p.Addresses4) > 0 {
		m.Addrs4 = vectors.AddrPorts(p.Addresses4)
	}
	if len(p.Addresses6) > 0 {
		m.Addrs6 = vectors.AddrPorts(p.Addresses6)
	}
	if p.Holepunch != nil {
		m.Holepunch = &wire.HolepunchInfo{ID: p.Holepunch.ID, Relays: []wire.RelayInfo{}}
		for _, r := range p.Holepunch.Relays {
			m.Holepunch.Relays = append(m.Holepunch.Relays, wire.RelayInfo{RelayAddr: r.RelayAddress.AddrPort, PeerAddr: r.PeerAddress.AddrPort})
		}
	}
	if u := p.UDX; u != nil {
		m.UDX = &wire.UDXInfo{Version: u.Version, ReusableSocket: u.ReusableSocket, ID: u.ID, Seq: u.Seq}
	}
	if p.SecretStream != nil {
		m.SecretStream = &wire.SecretStreamInfo{Version: p.SecretStream.Version}
	}
	if r := p.RelayThrough; r != nil {
		m.RelayThrough = &wire.RelayThrough{Version: r.Version, Key: r.PublicKey.Key(t), Token: r.Token.Key(t)}
	}
	return m
}

type payloadVectors struct {
	Parts        payloadParts
	Combinations []struct {
		Flags byte
		Hex   vectors.Hex
	}
	Examples []struct {
		Name    string
		Decoded payloadParts
		Hex     vectors.Hex
	}
	OtherVersions, Lenient []struct {
		Decoded payloadParts
		Hex     vectors.Hex
	}
}

func TestNoisePayloadsMatchVectorsInEveryCombination(t *testing.T) {
	f := vectors.Load[payloadVectors](t, "noise-payload")
	all := f.Parts.payload(t)
	all.Version, all.UDX.Version, all.SecretStream.Version, all.RelayThrough.Version = 1, 1, 1, 1
	for _, v := range f.Combinations {
		m := all
		for bit, drop := range []func(){
			func() { m.Holepunch = nil }, func() { m.Addrs4 = nil }, func() { m.Addrs6 = nil }, func() { m.UDX = nil },
			func() { m.SecretStream = nil }, func() { m.RelayThrough = nil }, func() { m.RelayAddrs = nil },
		} {
			if v.Flags&(1<<bit) == 0 {
				drop()
			}
		}
		check(t, wire.ParseNoisePayload, m, v.Hex)
	}
}

func TestNoisePayloadExamplesMatchVectorsBothWays(t *testing.T) {
	for _, v := range vectors.Load[payloadVectors](t, "noise-payload").Examples {
		t.Run(v.Name, func(t *testing.T) {
			check(t, wire.ParseNoisePayload, v.Decoded.payload(t), v.Hex)
		})
	}
}

func TestForeignPayloadsParseLeniently(t *testing.T) {
	f := vectors.Load[payloadVectors](t, "noise-payload")
	for _, v := range append(f.OtherVersions, f.Lenient...) {
		got, err := wire.ParseNoisePayload(v.Hex)
		if want := v.Decoded.payload(t); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parse %s = %+v, %v; want %+v", v.Hex, got, err, want)
		}
	}
}

type boxVectors struct {
	Sealed []struct {
		Name                   string
		HolepunchSecret, Nonce vectors.Hex
		Payload                holepunchPayloadValue
		Clear, Hex             vectors.Hex
	}
	Refused []struct {
		Note string
		Hex  vectors.Hex
	}
}

func TestSealedPayloadsMatchVectorsBothWays(t *testing.T) {
	for _, v := range vectors.Load[boxVectors](t, "holepunch").Sealed {
		t.Run(v.Name, func(t *testing.T) {
			local := make([]byte, 32)
			box := wire.NewPunchBox(v.HolepunchSecret.Key(t), bytes.NewReader(append(local, v.Nonce...)))
			m := v.Payload.payload(t)
			check(t, wire.ParseHolepunchPayload, m, v.Clear)
			if got := box.Seal(m); !bytes.Equal(got, v.Hex) {
				t.Errorf("sealed %x, want %s", got, v.Hex)
			}
			if got, ok := box.Open(v.Hex); !ok || !reflect.DeepEqual(got, m) {
				t.Errorf("opened %+v, %v", got, ok)
			}
			for n := range v.Hex {
				if _, ok := box.Open(v.Hex[:n]); ok {
					t.Errorf("%d of %d bytes opened", n, len(v.Hex))
				}
			}
		})
	}
}

func TestForgedPayloadsStayClosed(t *testing.T) {
	f := vectors.Load[boxVectors](t, "holepunch")
	box := wire.NewPunchBox(f.Sealed[0].HolepunchSecret.Key(t), bytes.NewReader(make([]byte, 32)))
	for _, v := range f.Refused {
		t.Run(v.Note, func(t *testing.T) {
			if m, ok := box.Open(v.Hex); ok {
				t.Errorf("opened %+v", m)
			}
		})
	}
}

// The other side can seal whatever it likes, so what is inside need not decode.
func TestSealedNonsenseStaysClosed(t *testing.T) {
	secret, nonce := [32]byte{1}, [24]byte{2}
	sealed := secretbox.Seal(nonce[:], []byte{0x10, 0, 2, 0}, &nonce, &secret) // announces a token, has none
	if m, ok := wire.NewPunchBox(secret, bytes.NewReader(make([]byte, 32))).Open(sealed); ok {
		t.Errorf("opened %+v", m)
	}
}

func TestPunchTokensMatchVectors(t *testing.T) {
	f := vectors.Load[struct {
		HolepunchTokens []struct {
			LocalSecret, Token vectors.Hex
			Host               netip.Addr
		}
	}](t, "hashing")
	for _, v := range f.HolepunchTokens {
		box := wire.NewPunchBox([32]byte{}, bytes.NewReader(v.LocalSecret))
		if got := box.Token(v.Host); !bytes.Equal(got[:], v.Token) {
			t.Errorf("token of %s = %x, want %s", v.Host, got, v.Token)
		}
	}
}

func TestNoRandomnessNoSealing(t *testing.T) {
	box := wire.NewPunchBox([32]byte{}, bytes.NewReader(make([]byte, 40)))
	defer func() {
		if recover() == nil {
			t.Error("sealed with half a nonce")
		}
	}()
	box.Seal(wire.HolepunchPayload{})
}

func FuzzParseNoisePayload(f *testing.F) {
	f.Add([]byte{2, 0, 0})
	fuzz(f, func(b []byte) (wire.NoisePayload, error) {
		m, err := wire.ParseNoisePayload(b)
		if err == nil && m.Version != 1 {
			m = wire.NoisePayload{} // Append writes version 1 only
		}
		return m, err
	}, wire.NoisePayload{
		Holepunch: &wire.HolepunchInfo{ID: 300, Relays: []wire.RelayInfo{{RelayAddr: addrs(1)[0], PeerAddr: addrs(1)[0]}}},
		Addrs4:    addrs(2), Addrs6: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:80")},
		UDX: &wire.UDXInfo{ID: 70000}, SecretStream: &wire.SecretStreamInfo{}, RelayThrough: &wire.RelayThrough{},
		RelayAddrs: []netip.AddrPort{},
	})
}

func FuzzOpenPunchBox(f *testing.F) {
	box := wire.NewPunchBox([32]byte{1}, bytes.NewReader(make([]byte, 32+24)))
	f.Add(box.Seal(wire.HolepunchPayload{Punching: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		cost.Parsing.Check(t, len(b), func() { box.Open(b) })
	})
}
