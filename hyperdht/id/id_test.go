package id_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type keysFile struct {
	KeyPairs []struct {
		Seed, PublicKey, SecretKey, Target vectors.Hex
		Z32                                string
	}
	TextKeys []struct {
		Input, Normalized string
		PublicKey         vectors.Hex
	}
	RejectedTextKeys []struct {
		Input string
		Error *string
	}
	Addresses []struct {
		Key, Hex            vectors.Hex
		Nodes, DecodedNodes []vectors.Addr
		Note                string
	}
}

func TestKeyPairsFromSeedsMatchVectors(t *testing.T) {
	for _, v := range vectors.Load[keysFile](t, "keys").KeyPairs {
		kp := id.KeyPairFromSeed(v.Seed.Key(t))
		if !bytes.Equal(kp.Public[:], v.PublicKey) || !bytes.Equal(kp.Secret[:], v.SecretKey) {
			t.Errorf("seed %s: public %x, secret %x", v.Seed, kp.Public, kp.Secret[:])
		}
		if kp.Public.String() != v.Z32 || kp.Public.Hex() != v.PublicKey.String() {
			t.Errorf("text forms of %s: %s, %s", v.PublicKey, kp.Public, kp.Public.Hex())
		}
		if target := kp.Public.Target(); !bytes.Equal(target[:], v.Target) {
			t.Errorf("target of %s = %s, want %s", v.PublicKey, target, v.Target)
		}
		if s := kp.Secret.Seed(); !bytes.Equal(s[:], v.Seed) || kp.Secret.Public() != kp.Public {
			t.Errorf("secret key of %s does not give back its halves", v.PublicKey)
		}
	}
}

func TestNewKeyPairUsesTheReaderAlone(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, 32)
	kp, err := id.NewKeyPair(bytes.NewReader(seed))
	if err != nil || kp != id.KeyPairFromSeed(id.Seed(seed)) {
		t.Errorf("got %v, %v", kp.Public, err)
	}
	if _, err := id.NewKeyPair(bytes.NewReader(seed[1:])); err == nil {
		t.Error("31 random bytes were enough")
	}
}

func TestTextKeysParseToTheirBytes(t *testing.T) {
	for _, v := range vectors.Load[keysFile](t, "keys").TextKeys {
		k, err := id.ParsePublicKey(v.Input)
		if err != nil || !bytes.Equal(k[:], v.PublicKey) || k.String() != v.Normalized {
			t.Errorf("parse %q = %s, %v; want %s", v.Input, k, err, v.Normalized)
		}
	}
}

func TestMalformedTextKeysAreRefused(t *testing.T) {
	for _, v := range vectors.Load[keysFile](t, "keys").RejectedTextKeys {
		if v.Error == nil {
			continue
		}
		if k, err := id.ParsePublicKey(v.Input); !errors.Is(err, id.ErrKeyText) || !k.IsZero() {
			t.Errorf("parse %q = %s, %v", v.Input, k, err)
		}
	}
}

func TestKeyTextSurvivesJSON(t *testing.T) {
	want := map[string]id.PublicKey{"key": id.KeyPairFromSeed(id.Seed{1}).Public}
	text, err := json.Marshal(want)
	if err != nil || !strings.Contains(string(text), want["key"].String()) {
		t.Fatalf("%s, %v", text, err)
	}
	var got map[string]id.PublicKey
	if err := json.Unmarshal(text, &got); err != nil || got["key"] != want["key"] {
		t.Errorf("got %v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"key":"no key"}`), &got); !errors.Is(err, id.ErrKeyText) {
		t.Errorf("got %v, want ErrKeyText", err)
	}
}

func TestAddressesMatchVectorsBothWays(t *testing.T) {
	for _, v := range vectors.Load[keysFile](t, "keys").Addresses {
		a, err := id.ParseAddress(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		want := vectors.AddrPorts(v.DecodedNodes)
		if !bytes.Equal(a.Key[:], v.Key) || !slices.Equal(a.Nodes, want) || (a.Nodes == nil) != (want == nil) {
			t.Errorf("parse %s = %v", v.Hex, a)
		}
		if v.Note != "" { // the bare key is only ever decoded
			continue
		}
		if got := a.Append(nil); !bytes.Equal(got, v.Hex) || a.Size() != len(got) {
			t.Errorf("append %v = %x (size %d), want %s", a, got, a.Size(), v.Hex)
		}
	}
}

func TestAddressPrefixesAreRefused(t *testing.T) {
	a := id.Address{Key: id.PublicKey{1}, Nodes: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1")}}
	full := a.Append(nil)
	for n := range full {
		if n == 32 { // a bare key
			continue
		}
		if _, err := id.ParseAddress(full[:n]); err == nil {
			t.Errorf("a prefix of %d bytes was accepted", n)
		}
	}
}

type hashingFile struct {
	Blake2b []struct {
		Data, Key, Hash vectors.Hex
		Size            int
	}
	Namespaces []struct {
		Name, Label string
		Number      byte
		Namespace   vectors.Hex
	}
	NodeIds []struct {
		Host netip.Addr
		Port uint16
		ID   vectors.Hex
	}
	Targets []struct{ Key, Target vectors.Hex }
	Tokens  []struct {
		Host                                                       netip.Addr
		CurrentToken, PreviousToken, CurrentSecret, PreviousSecret vectors.Hex
	}
	HolepunchTokens []struct {
		LocalSecret, Token vectors.Hex
		Host               netip.Addr
	}
	Derived map[string]vectors.Hex
}

func TestHashesMatchVectors(t *testing.T) {
	for _, v := range vectors.Load[hashingFile](t, "hashing").Blake2b {
		if v.Size != 32 {
			continue // the 64-byte form belongs to Noise
		}
		got := id.KeyedHash(v.Key, v.Data)
		if !bytes.Equal(got[:], v.Hash) {
			t.Errorf("hash of %s under %s = %x, want %s", v.Data, v.Key, got, v.Hash)
		}
		half := len(v.Data) / 2
		if parts := id.KeyedHash(v.Key, v.Data[:half], v.Data[half:]); parts != got {
			t.Errorf("hash of %s in two parts differs", v.Data)
		}
		if v.Key == nil && (id.Hash(v.Data) != got || id.Hash(v.Data[:half], v.Data[half:]) != got) {
			t.Errorf("unkeyed hash of %s differs", v.Data)
		}
	}
}

func TestNamespacesMatchVectors(t *testing.T) {
	named := map[string][32]byte{
		"ANNOUNCE": id.NSAnnounce, "UNANNOUNCE": id.NSUnannounce, "MUTABLE_PUT": id.NSMutablePut,
		"PEER_HANDSHAKE": id.NSPeerHandshake, "PEER_HOLEPUNCH": id.NSPeerHolepunch, "PLUGIN": id.NSPlugin,
		"INITIATOR": id.NSInitiator, "RESPONDER": id.NSResponder, "SEND": id.NSSend,
	}
	list := vectors.Load[hashingFile](t, "hashing").Namespaces
	if len(list) != len(named) {
		t.Errorf("%d vectors for %d namespaces", len(list), len(named))
	}
	for _, v := range list {
		if ns := named[v.Label]; !bytes.Equal(ns[:], v.Namespace) || ns != id.Namespace(v.Name, v.Number) {
			t.Errorf("%s = %x, want %s", v.Label, ns, v.Namespace)
		}
	}
}

func TestIdsTokensAndTargetsMatchVectors(t *testing.T) {
	f := vectors.Load[hashingFile](t, "hashing")
	for _, v := range f.NodeIds {
		if got := id.NodeIDOf(netip.AddrPortFrom(v.Host, v.Port)); !bytes.Equal(got[:], v.ID) {
			t.Errorf("id of %s:%d = %s, want %s", v.Host, v.Port, got, v.ID)
		}
	}
	for _, v := range f.Targets {
		if got := id.PublicKey(v.Key.Key(t)).Target(); !bytes.Equal(got[:], v.Target) {
			t.Errorf("target of %s = %s, want %s", v.Key, got, v.Target)
		}
	}
	for _, v := range f.Tokens {
		now, before := id.TokenFor(v.CurrentSecret.Key(t), v.Host), id.TokenFor(v.PreviousSecret.Key(t), v.Host)
		if !bytes.Equal(now[:], v.CurrentToken) || !bytes.Equal(before[:], v.PreviousToken) {
			t.Errorf("tokens of %s = %x, %x", v.Host, now, before)
		}
	}
	for _, v := range f.HolepunchTokens {
		if got := id.TokenFor(v.LocalSecret.Key(t), v.Host); !bytes.Equal(got[:], v.Token) {
			t.Errorf("holepunch token of %s = %x, want %s", v.Host, got, v.Token)
		}
	}
}

func TestSecretsDerivedFromAHandshakeMatchVectors(t *testing.T) {
	d := vectors.Load[hashingFile](t, "hashing").Derived
	for _, c := range []struct {
		name  string
		parts [][]byte
	}{
		{"holepunchSecret", [][]byte{id.NSPeerHolepunch[:]}},
		{"initiatorStreamId", [][]byte{id.NSInitiator[:]}},
		{"responderStreamId", [][]byte{id.NSResponder[:]}},
		{"initiatorSendKey", [][]byte{id.NSInitiator[:], id.NSSend[:]}},
		{"responderSendKey", [][]byte{id.NSResponder[:], id.NSSend[:]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := id.KeyedHash(d["handshakeHash"], c.parts...); !bytes.Equal(got[:], d[c.name]) {
				t.Errorf("got %x, want %s", got, d[c.name])
			}
		})
	}
}

func TestSignaturesVerifyForTheirMessageAndKeyOnly(t *testing.T) {
	kp, other := id.KeyPairFromSeed(id.Seed{1}), id.KeyPairFromSeed(id.Seed{2})
	msg := []byte("message")
	sig := kp.Sign(msg)
	if !id.Verify(kp.Public, msg, sig[:]) {
		t.Fatal("own signature refused")
	}
	if id.Verify(other.Public, msg, sig[:]) || id.Verify(kp.Public, []byte("massage"), sig[:]) || id.Verify(kp.Public, msg, sig[:63]) {
		t.Error("a signature passed that must not")
	}
	sig[40] ^= 1
	if id.Verify(kp.Public, msg, sig[:]) {
		t.Error("a damaged signature passed")
	}
}

// With the identity as public key and as commitment, s = 0 satisfies the verification equation for
// every message. libsodium refuses such keys, and so must we, or any node could announce under them.
func TestKeysOfSmallOrderSignNothing(t *testing.T) {
	identity := edwards25519.NewIdentityPoint().Bytes()
	sig := append(slices.Clone(identity), make([]byte, 32)...)
	if id.Verify(id.PublicKey(identity), []byte("anything"), sig) {
		t.Error("a made-up signature passed")
	}
}

// Keys and commitments are judged by their bytes; this compares the result with the curve's.
func TestVerifyJudgesPointsAsTheCurveDoes(t *testing.T) {
	encoded, err := hex.DecodeString("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
	if err != nil {
		t.Fatal(err)
	}
	order8, err := new(edwards25519.Point).SetBytes(encoded)
	if err != nil {
		t.Fatal(err)
	}
	kp := id.KeyPairFromSeed(id.Seed{1})
	honest, err := new(edwards25519.Point).SetBytes(kp.Public[:])
	if err != nil {
		t.Fatal(err)
	}
	small := edwards25519.NewIdentityPoint()
	for i := range 8 {
		mixed := new(edwards25519.Point).Add(honest, small)
		if !id.PublicKey(mixed.Bytes()).Canonical() {
			t.Errorf("a key plus %d times the point of order 8 is not canonical", i)
		}
		for _, sign := range []byte{0, 0x80} {
			key := id.PublicKey(small.Bytes())
			key[31] ^= sign
			// With s = 0 and the key's negative as commitment, every message with a challenge of 1 modulo 8 is signed.
			for n := range 64 {
				for j := range 8 {
					r := edwards25519.NewIdentityPoint()
					for range j {
						r.Add(r, order8)
					}
					if sig := append(r.Bytes(), make([]byte, 32)...); id.Verify(key, []byte{byte(n)}, sig) {
						t.Fatalf("a made-up signature of %d passed for %d times the point of order 8, sign %#x", n, i, sign)
					}
				}
			}
		}
		small.Add(small, order8)
	}
	if small.Equal(edwards25519.NewIdentityPoint()) != 1 {
		t.Error("the point is not of order 8")
	}
	for low := range 256 {
		key := id.PublicKey(bytes.Repeat([]byte{0xff}, 32))
		key[0] = byte(low)
		for _, top := range []byte{0x7f, 0xff} {
			key[31] = top
			p, err := new(edwards25519.Point).SetBytes(key[:])
			if wantCanonical := low < 0xed; key.Canonical() != wantCanonical {
				t.Errorf("Canonical of %x is %v", key, !wantCanonical)
			}
			if err == nil && low >= 0xed && bytes.Equal(p.Bytes(), key[:]) {
				t.Errorf("%x is canonical on the curve", key)
			}
		}
	}
}

func TestSecretsPrintAsRedacted(t *testing.T) {
	seed := id.Seed(bytes.Repeat([]byte{0xab}, 32))
	kp := id.KeyPairFromSeed(seed)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, secret := range []any{seed, kp.Secret, &kp.Secret} {
			if out := fmt.Sprintf(verb, secret); !strings.Contains(out, "redacted") && !strings.HasPrefix(out, "0xc") {
				t.Errorf("%s of %T prints %s", verb, secret, out)
			}
		}
		if out := strings.ToLower(fmt.Sprintf(verb, kp)); strings.Contains(out, "abab") || strings.Contains(out, "171 171") {
			t.Errorf("%s of a key pair prints %s", verb, out)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "seed", seed, "secret", kp.Secret, "pair", kp)
	text, err := json.Marshal(kp)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{log.String(), string(text)} {
		if !strings.Contains(out, "redacted") || strings.Contains(out, "171,171") {
			t.Errorf("a secret leaks: %s", out)
		}
	}
}

func TestSecretsCompare(t *testing.T) {
	a, b := id.KeyPairFromSeed(id.Seed{1}), id.KeyPairFromSeed(id.Seed{2})
	if !a.Secret.Equal(a.Secret) || a.Secret.Equal(b.Secret) || !(id.Seed{1}).Equal(id.Seed{1}) || (id.Seed{1}).Equal(id.Seed{2}) {
		t.Error("Equal is wrong")
	}
}

func TestDistance(t *testing.T) {
	node := func(first, last byte) (n id.NodeID) { n[0], n[31] = first, last; return n }
	for _, c := range []struct {
		name   string
		target id.Target
		a, b   id.NodeID
		want   int
	}{
		{"same node", id.Target{1}, node(3, 0), node(3, 0), 0},
		{"first byte decides", id.Target{8}, node(9, 0xff), node(10, 0), -1},
		{"XOR, not difference", id.Target{7}, node(8, 0), node(4, 0), 1},
		{"last byte decides a tie", id.Target{}, node(1, 2), node(1, 1), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := id.Closer(c.target, c.a, c.b); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if got := id.Closer(c.target, c.b, c.a); got != -c.want {
				t.Errorf("swapped: got %d, want %d", got, -c.want)
			}
		})
	}
}

func TestCommonPrefix(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b id.NodeID
		want int
	}{
		{"nothing in common", id.NodeID{0x80}, id.NodeID{}, 0},
		{"a bit of the second byte", id.NodeID{1, 0x10}, id.NodeID{1, 0x1f}, 12},
		{"equal", id.NodeID{5}, id.NodeID{5}, 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := id.CommonPrefix(c.a, c.b); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func FuzzParseKey32(f *testing.F) {
	f.Add("7jfgaa9nutjyixzikb7tgmsf9gkwq7iqz498zr1nd5ig1fng4esy")
	f.Add("pear://ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c/x")
	f.Fuzz(func(t *testing.T, text string) {
		var k id.PublicKey
		var err error
		cost.Parsing.Check(t, len(text), func() { k, err = id.ParsePublicKey(text) })
		if err != nil {
			return
		}
		if again, err := id.ParsePublicKey(k.String()); err != nil || again != k {
			t.Fatalf("%q parses to %x, whose text parses to %x, %v", text, k, again, err)
		}
		if again, err := id.ParsePublicKey(k.Hex()); err != nil || again != k {
			t.Fatalf("hex of %x parses to %x, %v", k, again, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add(append(make([]byte, 32), 1, 1, 10, 0, 0, 1, 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a id.Address
		var err error
		cost.Parsing.Check(t, len(b), func() { a, err = id.ParseAddress(b) })
		if err != nil {
			return
		}
		again, err := id.ParseAddress(a.Append(nil))
		if err != nil || again.Key != a.Key || !slices.Equal(again.Nodes, a.Nodes) {
			t.Fatalf("%v became %v, %v", a, again, err)
		}
	})
}
