package noise

import (
	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// The curve in Montgomery form is v² = u³ + A·u² + u, with u = (1+y)/(1-y) and v = √-(A+2)·u/x.
var (
	one         = new(field.Element).One()
	two         = number(2)
	half        = new(field.Element).Invert(two)
	montgomeryA = number(486662)
	scale       = root(new(field.Element).Negate(number(486664)))
	edwardsD    = mul(number(121665), new(field.Element).Invert(new(field.Element).Negate(number(121666))))
	// otherSign is √((A²-4)/√-1). Neither of the two numbers is a square.
	otherSign = root(mul(
		sub(mul(montgomeryA, montgomeryA), number(4)),
		new(field.Element).Invert(root(new(field.Element).Negate(one)))))
)

func number(n uint32) *field.Element { return new(field.Element).Mult32(one, n) }

// root returns the root of a constant, which has one.
func root(a *field.Element) *field.Element {
	r, square := new(field.Element).SqrtRatio(a, one)
	if square == 0 {
		panic("noise: a constant of the curve is not a square")
	}
	return r
}

func add(a, b *field.Element) *field.Element { return new(field.Element).Add(a, b) }
func sub(a, b *field.Element) *field.Element { return new(field.Element).Subtract(a, b) }
func mul(a, b *field.Element) *field.Element { return new(field.Element).Multiply(a, b) }

// inPrimeSubgroup reports whether a point that SetBytes has decoded is a member of the subgroup of prime order, and not the identity. It
// takes four exponentiations in the field, less than half of a multiplication of a point. Its time depends on the point: for public
// keys only.
//
// The points of this curve are a cyclic group of order 8·L, so those of order L are the ones that can be halved three times, P = 2Q,
// Q = 2R, R = 2S (Pornin, Point-Halving and Subgroup Membership in Twisted Edwards Curves, 2022). A point can be halved if its u is a
// square. For t = u(Q) + 1/u(Q), the formula for doubling says t² - 4u·t - 4(A·u + 1) = 0 with u = u(P), so
//
//	t = 2(u ± v/w)    with w = √u
//
// (v(Q)/u(Q))² = t+A, and the product of both signs' t+A is A²-4, which is not a square: one sign is that of Q. With s = √(t+A),
//
//	u(Q) = t/2 + w·s    v(Q) = s·u(Q)
//
// R is halved from Q in the same way. Its u is a square if t+2 = (u(R)+1)²/u(R) is one, for the sign that makes t+A a square. As the
// product of both signs' t+2 is 4u(Q)·(2-A), which is not a square, that is so if (t+A)·(t+2) is a square, for any sign.
//
// It does not matter which half is taken, of Q and Q + (0,0), nor the sign of v: (0,0) can be halved twice, and -Q as often as Q. None
// of what is inverted, and t+A and t+2, is 0, except for the identity and (0,0), where 1-y² is.
func inPrimeSubgroup(p *edwards25519.Point) bool {
	x, y, _, _ := p.ExtendedCoordinates() // affine, as it was decoded
	y2 := mul(y, y)
	r, square := new(field.Element).SqrtRatio(one, sub(one, y2)) // 1/√(1-y²)
	if square == 0 {
		return false
	}
	w := mul(add(one, y), r)
	u := mul(w, w)
	// 1/x = -x·(1+d·y²)/(1-y²): the equation of the curve. The sign is that of v, and left out.
	inverseX := mul(x, mul(add(one, mul(edwardsD, y2)), mul(r, r)))
	vw := mul(scale, mul(w, inverseX))

	t := mul(two, add(u, vw))
	s, square := new(field.Element).SqrtRatio(one, add(t, montgomeryA))
	if square == 1 {
		s = mul(s, add(t, montgomeryA))
	} else { // s is √(√-1/(t+A))
		s = mul(s, otherSign)
		t = mul(two, sub(u, vw))
	}
	u = add(mul(half, t), mul(w, s)) // of Q
	w, square = new(field.Element).SqrtRatio(u, one)
	if square == 0 {
		return false
	}
	t = mul(two, add(u, mul(s, w)))
	_, square = new(field.Element).SqrtRatio(mul(add(t, montgomeryA), add(t, two)), one)
	return square == 1
}
