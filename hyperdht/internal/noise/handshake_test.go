package noise

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"testing"

	"crypto/hkdf"

	"filippo.io/edwards25519"
	"github.com/flynn/noise"
	"golang.org/x/crypto/blake2b"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

type step struct {
	Op                              string
	Input, Output                   vectors.Hex
	RemotePublicKey, LocalPublicKey vectors.Hex
	DH                              vectors.Hex
	H, CK, K                        vectors.Hex
	N                               uint64
}

type transcript struct {
	Name                                           string
	InitiatorSeed, InitiatorPublicKey              vectors.Hex
	ResponderSeed, ResponderPublicKey              vectors.Hex
	InitiatorEphemeralSeed, ResponderEphemeralSeed vectors.Hex
	AfterInitialise                                struct{ H, CK vectors.Hex }
	Payload1, Message1, Payload2, Message2         vectors.Hex
	Message1Steps, Message2Steps                   []step
	HandshakeHash, InitiatorTx, InitiatorRx        vectors.Hex
	HolepunchSecret                                vectors.Hex
}

type golden struct {
	ProtocolName      string
	Prologue          vectors.Hex
	DH                []struct{ SecretSeed, PublicKey, Shared vectors.Hex }
	InvalidPublicKeys []struct {
		Note      string
		PublicKey vectors.Hex
		Rejected  bool
	}
	HKDF   []struct{ ChainingKey, Input, Output1, Output2 vectors.Hex }
	Cipher []struct {
		Key, AD, Plaintext, Ciphertext vectors.Hex
		Nonce                          uint64
	}
	Transcripts           []transcript
	RejectedFirstMessages []struct {
		Note     string
		Message1 vectors.Hex
		Rejected bool
	}
}

func load(t testing.TB) golden {
	g := vectors.Load[golden](t, "noise-ik")
	if len(g.Transcripts) == 0 || len(g.DH) == 0 || len(g.HKDF) == 0 || len(g.Cipher) == 0 {
		t.Fatal("vectors are incomplete")
	}
	return g
}

// pair makes both sides of a recorded handshake, with the recorded ephemeral keys.
func (tr transcript) pair(t testing.TB) (initiator, responder *Handshake) {
	i := id.KeyPairFromSeed(id.Seed(tr.InitiatorSeed.Key(t)))
	r := id.KeyPairFromSeed(id.Seed(tr.ResponderSeed.Key(t)))
	return NewInitiator(i, r.Public, bytes.NewReader(tr.InitiatorEphemeralSeed)),
		NewResponder(r, bytes.NewReader(tr.ResponderEphemeralSeed))
}

func TestDHAgreesWithLibsodium(t *testing.T) {
	for _, v := range load(t).DH {
		got, err := new(curve).DH(scalarOf(v.SecretSeed), v.PublicKey)
		if err != nil || !bytes.Equal(got, v.Shared) {
			t.Errorf("DH(%v, %v) = %x, %v; want %v", v.SecretSeed, v.PublicKey, got, err, v.Shared)
		}
	}
}

func TestInvalidPublicKeysAreRefused(t *testing.T) {
	for _, v := range load(t).InvalidPublicKeys {
		t.Run(v.Note, func(t *testing.T) {
			c := new(curve)
			// The cache of checked keys must not help a bad key through the second time.
			for range 2 {
				if _, err := c.DH(scalarOf(make([]byte, 32)), v.PublicKey); !errors.Is(err, ErrInvalidKey) || !v.Rejected {
					t.Errorf("DH with %v: error %v, want ErrInvalidKey", v.PublicKey, err)
				}
			}
			h := NewInitiator(id.KeyPairFromSeed(id.Seed{1}), id.PublicKey(v.PublicKey.Key(t)), bytes.NewReader(make([]byte, 32)))
			if _, err := h.WriteMessage(nil); !errors.Is(err, ErrInvalidKey) {
				t.Errorf("WriteMessage to %v: error %v, want ErrInvalidKey", v.PublicKey, err)
			}
		})
	}
	t.Run("of the wrong length", func(t *testing.T) {
		if _, err := new(curve).DH(scalarOf(make([]byte, 32)), make([]byte, 31)); !errors.Is(err, ErrInvalidKey) {
			t.Errorf("error %v, want ErrInvalidKey", err)
		}
	})
}

func TestEveryPointOfSmallOrderIsRefused(t *testing.T) {
	p := order8(t)
	valid := edwards25519.NewGeneratorPoint()
	q := edwards25519.NewIdentityPoint()
	for i := range 8 {
		if _, err := new(curve).check(q.Bytes()); !errors.Is(err, ErrInvalidKey) {
			t.Errorf("%d times the point of order 8: error %v, want ErrInvalidKey", i, err)
		}
		mixed := new(edwards25519.Point).Add(valid, q)
		if _, err := new(curve).check(mixed.Bytes()); (err == nil) != (i == 0) {
			t.Errorf("base point plus %d times the point of order 8: error %v", i, err)
		}
		q.Add(q, p)
	}
}

func hkdf2(t testing.TB, ck, input []byte) (out []byte) {
	t.Helper()
	newHash := func() hash.Hash { return noise.HashBLAKE2b.Hash() }
	out, err := hkdf.Key(newHash, input, ck, "", 2*blake2b.Size)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHKDFAgreesWithVectors(t *testing.T) {
	for _, v := range load(t).HKDF {
		out := hkdf2(t, v.ChainingKey, v.Input)
		if !bytes.Equal(out[:64], v.Output1) || !bytes.Equal(out[64:], v.Output2) {
			t.Errorf("HKDF(%v, %v) = %x, want %v %v", v.ChainingKey, v.Input, out, v.Output1, v.Output2)
		}
	}
}

func TestCipherAgreesWithVectors(t *testing.T) {
	for _, v := range load(t).Cipher {
		c := noise.CipherChaChaPoly.Cipher(v.Key.Key(t))
		if got := c.Encrypt(nil, v.Nonce, v.AD, v.Plaintext); !bytes.Equal(got, v.Ciphertext) {
			t.Errorf("nonce %d: encrypted %x, want %v", v.Nonce, got, v.Ciphertext)
		}
		if got, err := c.Decrypt(nil, v.Nonce, v.AD, v.Ciphertext); err != nil || !bytes.Equal(got, v.Plaintext) {
			t.Errorf("nonce %d: decrypted %x, %v; want %v", v.Nonce, got, err, v.Plaintext)
		}
	}
}

// The recorded states between the operations, replayed with our curve and the library's hash and cipher.
func TestIntermediateStatesAgreeWithVectors(t *testing.T) {
	g := load(t)
	for _, x := range g.Transcripts {
		t.Run(x.Name, func(t *testing.T) {
			scalars := map[string][]byte{}
			for _, seed := range []vectors.Hex{x.InitiatorSeed, x.ResponderSeed, x.InitiatorEphemeralSeed, x.ResponderEphemeralSeed} {
				kp := id.KeyPairFromSeed(id.Seed(seed.Key(t)))
				scalars[string(kp.Public[:])] = scalarOf(seed)
			}
			mixHash := func(h, data []byte) []byte {
				sum := blake2b.Sum512(append(bytes.Clone(h), data...))
				return sum[:]
			}

			ck := append([]byte(g.ProtocolName), make([]byte, 64-len(g.ProtocolName))...)
			h := mixHash(mixHash(ck, g.Prologue), x.ResponderPublicKey)
			if !bytes.Equal(g.Prologue, id.NSPeerHandshake[:]) {
				t.Errorf("prologue %v is not the namespace", g.Prologue)
			}
			if !bytes.Equal(h, x.AfterInitialise.H) || !bytes.Equal(ck, x.AfterInitialise.CK) {
				t.Fatalf("after initialise: h %x, ck %x; want %+v", h, ck, x.AfterInitialise)
			}

			var k []byte
			var n uint64
			c := new(curve)
			for i, s := range append(append([]step(nil), x.Message1Steps...), x.Message2Steps...) {
				switch s.Op {
				case "mixHash":
					h = mixHash(h, s.Input)
				case "mixKey":
					dh, err := c.DH(scalars[string(s.LocalPublicKey)], s.RemotePublicKey)
					if err != nil || !bytes.Equal(dh, s.DH) {
						t.Fatalf("step %d: dh %x, %v; want %v", i, dh, err, s.DH)
					}
					out := hkdf2(t, ck, dh)
					ck, k, n = out[:64], out[64:96], 0
				case "encryptAndHash":
					out := noise.CipherChaChaPoly.Cipher([32]byte(k)).Encrypt(nil, n, h, s.Input)
					n++
					if !bytes.Equal(out, s.Output) {
						t.Fatalf("step %d: encrypted %x, want %v", i, out, s.Output)
					}
					h = mixHash(h, out)
				default:
					t.Fatalf("unknown operation %q", s.Op)
				}
				if !bytes.Equal(h, s.H) || !bytes.Equal(ck, s.CK) || !bytes.Equal(k, s.K) || n != s.N {
					t.Fatalf("step %d (%s): h %x ck %x k %x n %d; want %+v", i, s.Op, h, ck, k, n, s)
				}
			}
		})
	}
}

func TestHandshakesAgreeWithTranscripts(t *testing.T) {
	for _, x := range load(t).Transcripts {
		t.Run(x.Name, func(t *testing.T) {
			i, r := x.pair(t)
			m1, err := i.WriteMessage(x.Payload1)
			if err != nil || !bytes.Equal(m1, x.Message1) {
				t.Fatalf("message 1 = %x, %v; want %v", m1, err, x.Message1)
			}
			if r.RemoteStatic() != (id.PublicKey{}) {
				t.Error("the responder knows a key before it read a message")
			}
			p1, err := r.ReadMessage(x.Message1)
			if err != nil || !bytes.Equal(p1, x.Payload1) {
				t.Fatalf("payload 1 = %x, %v; want %v", p1, err, x.Payload1)
			}
			if got := r.RemoteStatic(); !bytes.Equal(got[:], x.InitiatorPublicKey) {
				t.Errorf("the responder learned %v, want %v", got.Hex(), x.InitiatorPublicKey)
			}
			if _, ok := r.Result(); ok {
				t.Error("result before the second message")
			}
			m2, err := r.WriteMessage(x.Payload2)
			if err != nil || !bytes.Equal(m2, x.Message2) {
				t.Fatalf("message 2 = %x, %v; want %v", m2, err, x.Message2)
			}
			p2, err := i.ReadMessage(x.Message2)
			if err != nil || !bytes.Equal(p2, x.Payload2) {
				t.Fatalf("payload 2 = %x, %v; want %v", p2, err, x.Payload2)
			}

			want := Result{
				Hash:            [64]byte(x.HandshakeHash),
				Tx:              x.InitiatorTx.Key(t),
				Rx:              x.InitiatorRx.Key(t),
				HolepunchSecret: x.HolepunchSecret.Key(t),
				RemotePublicKey: id.PublicKey(x.ResponderPublicKey.Key(t)),
			}
			if got, ok := i.Result(); !ok || got != want {
				t.Errorf("the initiator's result differs from the recorded one")
			}
			want.Tx, want.Rx = want.Rx, want.Tx
			want.RemotePublicKey = id.PublicKey(x.InitiatorPublicKey.Key(t))
			if got, ok := r.Result(); !ok || got != want {
				t.Errorf("the responder's result differs from the recorded one")
			}
		})
	}
}

func TestHolepunchSecretAgreesWithVectors(t *testing.T) {
	v := vectors.Load[struct {
		Derived struct{ HandshakeHash, HolepunchSecret vectors.Hex }
	}](t, "hashing")
	got := id.KeyedHash(v.Derived.HandshakeHash, id.NSPeerHolepunch[:])
	if !bytes.Equal(got[:], v.Derived.HolepunchSecret) {
		t.Errorf("secret %x, want %v", got, v.Derived.HolepunchSecret)
	}
}

func TestResponderRefusesBadFirstMessages(t *testing.T) {
	g := load(t)
	for _, v := range g.RejectedFirstMessages {
		t.Run(v.Note, func(t *testing.T) {
			_, r := g.Transcripts[0].pair(t)
			if _, err := r.ReadMessage(v.Message1); err == nil || !v.Rejected {
				t.Error("accepted")
			}
			if r.RemoteStatic() != (id.PublicKey{}) {
				t.Error("a refused message told us a key")
			}
			if _, err := r.ReadMessage(g.Transcripts[0].Message1); !errors.Is(err, ErrOutOfTurn) {
				t.Errorf("a spent responder reads on: %v", err)
			}
			if _, err := r.WriteMessage(nil); !errors.Is(err, ErrOutOfTurn) {
				t.Errorf("a spent responder answers: %v", err)
			}
		})
	}
}

func TestEveryPrefixOfAMessageIsRefused(t *testing.T) {
	x := load(t).Transcripts[0]
	for n := range x.Message1 {
		_, r := x.pair(t)
		if _, err := r.ReadMessage(x.Message1[:n]); err == nil {
			t.Errorf("the responder accepts %d bytes of %d", n, len(x.Message1))
		}
	}
	i, _ := x.pair(t)
	if _, err := i.WriteMessage(x.Payload1); err != nil {
		t.Fatal(err)
	}
	for n := range x.Message2 {
		if _, err := i.ReadMessage(x.Message2[:n]); err == nil {
			t.Errorf("the initiator accepts %d bytes of %d", n, len(x.Message2))
		}
	}
}

func TestInitiatorSurvivesForgedReplies(t *testing.T) {
	g := load(t)
	x := g.Transcripts[0]
	flip := func(at int) []byte {
		b := bytes.Clone(x.Message2)
		b[at] ^= 1
		return b
	}
	withKey := func(key []byte) []byte {
		b := bytes.Clone(x.Message2)
		copy(b, key)
		return b
	}
	forged := map[string][]byte{
		"empty":                        {},
		"truncated":                    x.Message2[:40],
		"another valid ephemeral":      withKey(x.ResponderPublicKey),
		"ephemeral outside the group":  withKey(g.InvalidPublicKeys[len(g.InvalidPublicKeys)-1].PublicKey),
		"ephemeral of small order":     withKey(g.InvalidPublicKeys[0].PublicKey),
		"flipped bit in the payload":   flip(40),
		"flipped bit in the tag":       flip(len(x.Message2) - 1),
		"flipped bit in the ephemeral": flip(0),
		"the first message":            x.Message1,
		"too long":                     make([]byte, MaxMessage+1),
	}
	for name, reply := range forged {
		t.Run(name, func(t *testing.T) {
			i, _ := x.pair(t)
			if _, err := i.WriteMessage(x.Payload1); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := i.ReadMessage(reply); err == nil {
					t.Fatal("forged reply accepted")
				}
			}
			if _, ok := i.Result(); ok {
				t.Fatal("result after a forged reply")
			}
			p, err := i.ReadMessage(x.Message2)
			if err != nil || !bytes.Equal(p, x.Payload2) {
				t.Fatalf("good reply after a forged one: %x, %v", p, err)
			}
			if r, ok := i.Result(); !ok || !bytes.Equal(r.Hash[:], x.HandshakeHash) {
				t.Error("the forged reply left its mark on the result")
			}
		})
	}
}

func TestReadMessageLeavesItsInputAlone(t *testing.T) {
	x := load(t).Transcripts[0]
	i, r := x.pair(t)
	m1 := bytes.Clone(x.Message1)
	if _, err := r.ReadMessage(m1); err != nil || !bytes.Equal(m1, x.Message1) {
		t.Errorf("message 1 was changed: %v", err)
	}
	if _, err := i.WriteMessage(x.Payload1); err != nil {
		t.Fatal(err)
	}
	m2 := bytes.Clone(x.Message2)
	if _, err := i.ReadMessage(m2); err != nil || !bytes.Equal(m2, x.Message2) {
		t.Errorf("message 2 was changed: %v", err)
	}
}

func TestMessagesOutOfTurnAreMisuse(t *testing.T) {
	x := load(t).Transcripts[0]
	i, r := x.pair(t)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrOutOfTurn) {
			t.Errorf("%s: error %v, want ErrOutOfTurn", what, err)
		}
	}
	_, err := i.ReadMessage(x.Message2)
	check("initiator reads first", err)
	_, err = r.WriteMessage(nil)
	check("responder writes first", err)
	i.WriteMessage(x.Payload1)
	_, err = i.WriteMessage(nil)
	check("initiator writes twice", err)
	r.ReadMessage(x.Message1)
	_, err = r.ReadMessage(x.Message1)
	check("responder reads twice", err)
	r.WriteMessage(x.Payload2)
	i.ReadMessage(x.Message2)
	_, err = i.ReadMessage(x.Message2)
	check("initiator reads twice", err)
	_, err = r.WriteMessage(nil)
	check("responder writes twice", err)
}

func TestMessagesAreAtMost65535Bytes(t *testing.T) {
	x := load(t).Transcripts[0]
	i, r := x.pair(t)
	if _, err := i.WriteMessage(make([]byte, MaxMessage-Overhead1+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte too many: error %v, want ErrTooLong", err)
	}
	m1, err := i.WriteMessage(make([]byte, MaxMessage-Overhead1))
	if err != nil || len(m1) != MaxMessage {
		t.Fatalf("largest message: %d bytes, %v", len(m1), err)
	}
	if _, err := r.ReadMessage(m1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteMessage(make([]byte, MaxMessage-Overhead2+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte too many: error %v, want ErrTooLong", err)
	}
	if m2, err := r.WriteMessage(make([]byte, MaxMessage-Overhead2)); err != nil || len(m2) != MaxMessage {
		t.Fatalf("largest reply: %d bytes, %v", len(m2), err)
	}
}

func TestFailingRandomnessIsReported(t *testing.T) {
	kp := id.KeyPairFromSeed(id.Seed{1})
	h := NewInitiator(kp, kp.Public, bytes.NewReader(nil))
	if _, err := h.WriteMessage(nil); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want io.EOF", err)
	}
}

func TestResultPrintsNoSecrets(t *testing.T) {
	r := Result{RemotePublicKey: id.KeyPairFromSeed(id.Seed{1}).Public}
	for _, key := range [][]byte{r.Hash[:], r.Tx[:], r.Rx[:], r.HolepunchSecret[:]} {
		for i := range key {
			key[i] = 0xab
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		got := fmt.Sprintf(verb, r)
		if !strings.Contains(got, r.RemotePublicKey.Short()) || strings.Contains(got, "171") || strings.Contains(strings.ToLower(got), "ab, ") || strings.Contains(got, "0xab") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	g := load(f)
	x := g.Transcripts[0]
	f.Add([]byte(x.Message1))
	f.Add([]byte(x.Message2))
	for _, v := range g.RejectedFirstMessages {
		f.Add([]byte(v.Message1))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		cost.Repeat(t, func() {
			i, r := x.pair(t)
			work := cost.Start(t, cost.Bound{StepsPerByte: 4, Steps: 2000, BytesPerByte: 8, Bytes: 64 << 10})
			defer work.Stop()
			work.Allow(2 * len(msg))
			if _, err := r.ReadMessage(msg); err == nil && !bytes.Equal(msg, x.Message1) {
				// A valid message takes the responder's key, which the fuzzer does not know.
				t.Errorf("the responder accepts %x", msg)
			}
			i.WriteMessage(x.Payload1)
			if _, err := i.ReadMessage(msg); err == nil && !bytes.Equal(msg, x.Message2) {
				t.Errorf("the initiator accepts %x", msg)
			}
			if _, err := i.ReadMessage(x.Message2); err != nil && !bytes.Equal(msg, x.Message2) {
				t.Errorf("no good reply after %x: %v", msg, err)
			}
		})
	})
}

func BenchmarkHandshake(b *testing.B) {
	x := load(b).Transcripts[0]
	for b.Loop() {
		i, r := x.pair(b)
		m1, _ := i.WriteMessage(x.Payload1)
		r.ReadMessage(m1)
		m2, _ := r.WriteMessage(x.Payload2)
		if _, err := i.ReadMessage(m2); err != nil {
			b.Fatal(err)
		}
	}
}
