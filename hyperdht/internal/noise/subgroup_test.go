package noise

import (
	"math/rand/v2"
	"testing"

	"filippo.io/edwards25519"

	"github.com/dhtprom/dhtprom/spec/vectors"
)

// minusOne is L-1, the order of the prime subgroup less one.
func minusOne(t testing.TB) *edwards25519.Scalar {
	t.Helper()
	one, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, keyLen-1)...))
	if err != nil {
		t.Fatal(err)
	}
	return one.Negate(one)
}

// hasPrimeOrder multiplies instead: (L-1)·P = -P in the prime order subgroup, and nowhere else.
func hasPrimeOrder(t testing.TB, p *edwards25519.Point) bool {
	t.Helper()
	q := edwards25519.NewIdentityPoint().VarTimeDoubleScalarBaseMult(minusOne(t), p, edwards25519.NewScalar())
	return q.Equal(edwards25519.NewIdentityPoint().Negate(p)) == 1 && p.Equal(edwards25519.NewIdentityPoint()) == 0
}

// order8 decodes a point of order 8, which generates all points of small order.
func order8(t testing.TB) *edwards25519.Point {
	t.Helper()
	for _, v := range load(t).InvalidPublicKeys {
		if v.Note == "point of order 8" {
			return decoded(t, v.PublicKey)
		}
	}
	t.Fatal("no point of order 8 in the vectors")
	return nil
}

func decoded(t testing.TB, b vectors.Hex) *edwards25519.Point {
	t.Helper()
	p, err := edwards25519.NewIdentityPoint().SetBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each coset of the prime order subgroup is reached, from many points and from the identity: all points of small order are among these.
func TestMembersOfThePrimeSubgroupAreThosePointsThatMultiplyingFinds(t *testing.T) {
	torsion := order8(t)
	source := rand.NewChaCha8([32]byte{7})
	for i := range 500 {
		p := edwards25519.NewIdentityPoint()
		if i > 0 {
			var wide [64]byte
			_, _ = source.Read(wide[:])
			s, err := edwards25519.NewScalar().SetUniformBytes(wide[:])
			if err != nil {
				t.Fatal(err)
			}
			p.ScalarBaseMult(s)
		}
		for coset := range 8 {
			want := coset == 0 && i > 0
			q := decoded(t, p.Bytes())
			if hasPrimeOrder(t, q) != want {
				t.Fatalf("point %d, coset %d: multiplication does not say %v", i, coset, want)
			}
			if got := inPrimeSubgroup(q); got != want {
				t.Errorf("point %d, coset %d, %x: member %v", i, coset, q.Bytes(), got)
			}
			p.Add(p, torsion)
		}
	}
}

// Points of random bytes are no multiples of a known point.
func TestMembershipOfDecodedBytesIsThatWhichMultiplyingFinds(t *testing.T) {
	source := rand.NewChaCha8([32]byte{8})
	members, others := 0, 0
	for range 2000 {
		var b [keyLen]byte
		_, _ = source.Read(b[:])
		p, err := edwards25519.NewIdentityPoint().SetBytes(b[:])
		if err != nil {
			continue
		}
		want := hasPrimeOrder(t, p)
		if got := inPrimeSubgroup(p); got != want {
			t.Errorf("%x: member %v, by multiplying %v", b, got, want)
		}
		if want {
			members++
		} else {
			others++
		}
	}
	if members < 50 || others < 400 {
		t.Errorf("%d members and %d others, want an eighth and the rest of a thousand", members, others)
	}
}

func BenchmarkCheck(b *testing.B) {
	p := decoded(b, load(b).DH[0].PublicKey)
	b.Run("halving", func(b *testing.B) {
		for b.Loop() {
			if !inPrimeSubgroup(p) {
				b.Fatal("not a member")
			}
		}
	})
	b.Run("multiplying", func(b *testing.B) {
		for b.Loop() {
			if !hasPrimeOrder(b, p) {
				b.Fatal("not a member")
			}
		}
	})
}
