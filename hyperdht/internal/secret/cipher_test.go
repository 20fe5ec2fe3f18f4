package secret

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/crypto/blake2b"

	"github.com/dhtprom/dhtprom/spec/vectors"
)

// brief is a byte string that the vectors give in full, or by length, ends and hash.
type brief struct {
	Hex                         vectors.Hex
	Length                      int
	First32, Last32, Blake2b256 vectors.Hex
}

func (b brief) check(t *testing.T, got []byte) {
	t.Helper()
	if b.Length == 0 {
		if !bytes.Equal(got, b.Hex) {
			t.Errorf("got %x, want %v", got, b.Hex)
		}
		return
	}
	sum := blake2b.Sum256(got)
	if len(got) != b.Length || !bytes.HasPrefix(got, b.First32) || !bytes.HasSuffix(got, b.Last32) || !bytes.Equal(sum[:], b.Blake2b256) {
		t.Errorf("got %d bytes with hash %x, want %d with hash %v", len(got), sum, b.Length, b.Blake2b256)
	}
}

type push struct {
	Name        string
	Key, Header vectors.Hex // first entry only
	State       vectors.Hex // first entry only
	Plain       vectors.Hex
	PlainLength int
	Cipher      brief
	StateAfter  vectors.Hex
}

type rekey struct {
	Name                             string
	Tag                              byte
	Key, Header                      vectors.Hex
	StateBefore, StateBetween        vectors.Hex
	StateAfter                       vectors.Hex
	Plain1, Cipher1, Plain2, Cipher2 vectors.Hex
}

type message struct {
	PlainLength int
	Plain       vectors.Hex
	Frame       brief
}

type golden struct {
	SecretStream []push
	Rekey        []rekey
	Framing      struct {
		Key                  struct{ InitiatorToResponder, ResponderToInitiator vectors.Hex }
		HandshakeHash        vectors.Hex
		Initiator, Responder struct {
			HeaderMessage, SecretstreamHeader vectors.Hex
			Messages                          []message
		}
	}
	Unordered []struct {
		Sender     string
		Plain, Hex vectors.Hex
	}
	KeepAliveFrame struct{ HeaderMessage, EmptyMessage vectors.Hex }
	Failures       []struct {
		Note  string
		Input vectors.Hex
		Error string
	}
}

func load(t testing.TB) golden {
	t.Helper()
	g := vectors.Load[golden](t, "secret-stream")
	if len(g.SecretStream) < 2 || len(g.Rekey) == 0 || len(g.Unordered) == 0 || len(g.Failures) == 0 {
		t.Fatal("vectors are incomplete")
	}
	return g
}

// pattern is the long message of the vectors.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func plainOf(hex vectors.Hex, n int) []byte {
	if hex != nil {
		return hex
	}
	return pattern(n)
}

// bytes is the state as libsodium lays it out.
func (s *state) bytes() []byte {
	return append(append(bytes.Clone(s.key[:]), s.nonce[:]...), make([]byte, 8)...)
}

func stateOf(b []byte) state {
	var s state
	copy(s.key[:], b)
	copy(s.nonce[:], b[keyLen:])
	s.newKey()
	return s
}

// sealed is tag byte, message and authentication tag in one, as libsodium's push returns them.
func (s *state) sealed(plain []byte, tag byte) []byte {
	buf := make([]byte, headroom+len(plain)+tailroom)
	copy(buf[headroom:], plain)
	mac := s.seal(buf, len(plain), tag)
	return append(append([]byte{buf[0]}, buf[headroom:headroom+len(plain)]...), mac[:]...)
}

func (s *state) opened(body []byte) ([]byte, bool) {
	n := len(body) - tagLen - macLen
	buf := make([]byte, headroom+n+tailroom)
	buf[0] = body[0]
	copy(buf[headroom:], body[1:1+n])
	mac := [macLen]byte(body[1+n:])
	ok := s.open(buf, n, &mac)
	return buf[headroom : headroom+n], ok
}

func TestSecretstreamAgreesWithLibsodium(t *testing.T) {
	v := load(t).SecretStream
	for name, slow := range map[string]bool{"with the combined cipher": false, "with the plain cipher": true} {
		t.Run(name, func(t *testing.T) {
			key, header := v[0].Key.Key(t), [nonceLen]byte(v[0].Header)
			tx, rx := newState(&key, &header), newState(&key, &header)
			if slow {
				tx.aead, rx.aead = nil, nil
			}
			if !bytes.Equal(tx.bytes(), v[0].State) {
				t.Fatalf("initial state %x, want %v", tx.bytes(), v[0].State)
			}
			for _, p := range v[1:] {
				plain := plainOf(p.Plain, p.PlainLength)
				body := tx.sealed(plain, 0)
				p.Cipher.check(t, body)
				if !bytes.Equal(tx.bytes(), p.StateAfter) {
					t.Errorf("%s: state after sealing %x, want %v", p.Name, tx.bytes(), p.StateAfter)
				}
				got, ok := rx.opened(body)
				if !ok || !bytes.Equal(got, plain) {
					t.Errorf("%s: does not open again", p.Name)
				}
				if !bytes.Equal(rx.bytes(), p.StateAfter) {
					t.Errorf("%s: state after opening %x, want %v", p.Name, rx.bytes(), p.StateAfter)
				}
			}
		})
	}
}

func TestKeysChangeAsInLibsodium(t *testing.T) {
	for _, v := range load(t).Rekey {
		t.Run(v.Name, func(t *testing.T) {
			tx, rx := stateOf(v.StateBefore), stateOf(v.StateBefore)
			between := v.StateBetween
			for i, m := range []struct {
				tag           byte
				plain, cipher []byte
				after         []byte
			}{{v.Tag, v.Plain1, v.Cipher1, between}, {0, v.Plain2, v.Cipher2, v.StateAfter}} {
				if got := tx.sealed(m.plain, m.tag); !bytes.Equal(got, m.cipher) {
					t.Errorf("message %d sealed %x, want %x", i+1, got, m.cipher)
				}
				if got, ok := rx.opened(m.cipher); !ok || !bytes.Equal(got, m.plain) {
					t.Errorf("message %d opened %x, %v; want %x", i+1, got, ok, m.plain)
				}
				if m.after != nil && (!bytes.Equal(tx.bytes(), m.after) || !bytes.Equal(rx.bytes(), m.after)) {
					t.Errorf("states after message %d: %x and %x, want %x", i+1, tx.bytes(), rx.bytes(), m.after)
				}
			}
		})
	}
}

// The two ways to encrypt must give the same result, at any length around the thresholds and block limits.
func TestBothCiphersAgreeAtEveryLength(t *testing.T) {
	key := [keyLen]byte{1, 2, 3}
	header := [nonceLen]byte{4, 5, 6}
	lengths := []int{4095, 4096, 8191, 8192, 65537}
	for n := range 2*aeadMin + 1 {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		plain := pattern(n)
		for _, tag := range []byte{0, tagRekey} {
			fast, slow := newState(&key, &header), newState(&key, &header)
			slow.aead = nil
			a, b := fast.sealed(plain, tag), slow.sealed(plain, tag)
			if !bytes.Equal(a, b) || !bytes.Equal(fast.bytes(), slow.bytes()) {
				t.Fatalf("%d bytes with tag %d are sealed differently", n, tag)
			}
			fast, slow = newState(&key, &header), newState(&key, &header)
			slow.aead = nil
			for _, s := range []*state{&fast, &slow} {
				before := s.bytes()
				for _, at := range []int{0, 1 + n/2, len(a) - 1} {
					bad := bytes.Clone(a)
					bad[at] ^= 0x10
					if _, ok := s.opened(bad); ok {
						t.Fatalf("%d bytes open with a flipped bit at %d", n, at)
					}
				}
				if !bytes.Equal(s.bytes(), before) {
					t.Fatalf("%d bytes: a forged message changed the state", n)
				}
				if got, ok := s.opened(a); !ok || !bytes.Equal(got, plain) {
					t.Fatalf("%d bytes do not open again", n)
				}
			}
			if !bytes.Equal(fast.bytes(), slow.bytes()) {
				t.Fatalf("%d bytes leave different states", n)
			}
		}
	}
}

func TestCounterRunsOverIntoANewKey(t *testing.T) {
	s := newState(&[keyLen]byte{}, &[nonceLen]byte{})
	binary.LittleEndian.PutUint32(s.nonce[:], 1<<32-2)
	key := s.key
	s.sealed(nil, 0)
	if s.key != key {
		t.Error("the key changed too early")
	}
	s.sealed(nil, 0)
	if s.key == key || binary.LittleEndian.Uint32(s.nonce[:]) != 1 {
		t.Errorf("key changed: %v, counter %d; want a new key and 1", s.key != key, binary.LittleEndian.Uint32(s.nonce[:]))
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, n := range []int{64, 1024, 8191, 8192} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newState(&[keyLen]byte{}, &[nonceLen]byte{})
			buf := make([]byte, headroom+n+tailroom)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				s.seal(buf, n, 0)
			}
		})
	}
}
