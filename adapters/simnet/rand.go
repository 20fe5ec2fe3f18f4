package simnet

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

const (
	prime1 = 0x9e3779b97f4a7c15
	prime2 = 0xe7037ed1a0b428db
	prime3 = 0x8ebc6af09c88c6e3
)

// mix folds b into a: a 128-bit product folded to 64 bits, as in wyhash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^prime1, b^prime2)
	return hi ^ lo ^ bits.RotateLeft64(a, 23)
}

// mixBytes folds b into h, eight bytes at a time.
func mixBytes(h uint64, b []byte) uint64 {
	h = mix(h, uint64(len(b)))
	for len(b) >= 16 {
		hi, lo := bits.Mul64(binary.LittleEndian.Uint64(b)^prime2^h, binary.LittleEndian.Uint64(b[8:])^prime3)
		h = hi ^ lo ^ bits.RotateLeft64(h, 23)
		b = b[16:]
	}
	var tail [16]byte
	copy(tail[:], b)
	h = mix(h, binary.LittleEndian.Uint64(tail[:]))
	return mix(h, binary.LittleEndian.Uint64(tail[8:]))
}

// split derives the seed of one part of the run. Parts have different labels, so that a further draw in one of them changes
// nothing in the others.
func split(seed uint64, label string) uint64 {
	return mixBytes(mix(seed, prime3), []byte(label))
}

// dice is a stream of random numbers (SplitMix64). The zero dice is a valid stream.
type dice uint64

func (d *dice) next() uint64 {
	*d += prime1
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit maps a random number to [0, 1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }

// hit reports true with probability p and draws only if p is positive.
func (d *dice) hit(p float64) bool { return p > 0 && unit(d.next()) < p }

// below draws from [0, n); n must be positive.
func (d *dice) below(n int64) int64 {
	hi, _ := bits.Mul64(d.next(), uint64(n))
	return int64(hi)
}

// newReader returns a host's source of random bytes.
func newReader(seed uint64, label string) *rand.ChaCha8 {
	var key [32]byte
	d := dice(split(seed, label))
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], d.next())
	}
	return rand.NewChaCha8(key)
}
