package simnet

import (
	"math"
	"time"
)

// Shape is what the values of a Distribution look like.
type Shape uint8

const (
	// None is the shape of the zero Distribution, whose values are all 0.
	None Shape = iota
	// Constant values are all Scale.
	Constant
	// Uniform values lie evenly between 0 and Scale.
	Uniform
	// LogNormal values have the median Scale, and their logarithms the standard deviation Form: most networks, with a
	// Form of 0.3 to 1.
	LogNormal
	// Pareto values are Scale at least, and of those beyond any value, 2^-Form are beyond its double: a heavy tail. With a
	// Form of 2 or less the variance has no bound but Most.
	Pareto
)

// Distribution is how a duration is drawn, as data. The zero Distribution is always 0.
type Distribution struct {
	Shape Shape
	Scale time.Duration
	// Form is how much the values of LogNormal and Pareto differ; the others have none.
	Form float64
	// Most bounds LogNormal and Pareto, and they need it: what would be longer is Most.
	Most time.Duration
}

// Quantile returns the value that a share u of all values, from 0 to less than 1, lies below.
func (d Distribution) Quantile(u float64) time.Duration {
	var x float64 // in units of Scale
	switch d.Shape {
	case None:
		return 0
	case Constant:
		return d.Scale
	case Uniform:
		return time.Duration(u * float64(d.Scale))
	case LogNormal:
		x = math.Exp(d.Form * math.Sqrt2 * math.Erfinv(2*u-1))
	case Pareto:
		x = math.Pow(1-u, -1/d.Form)
	}
	return time.Duration(min(x*float64(d.Scale), float64(d.Most))) // the bound is applied while it cannot overflow
}

// nonsense says what is wrong with a distribution, or nothing.
func (d Distribution) nonsense() string {
	formed := d.Shape == LogNormal || d.Shape == Pareto
	switch {
	case d.Shape > Pareto:
		return "there is no such shape"
	case d.Shape == None && d != Distribution{}:
		return "a distribution without a shape"
	case d.Shape != None && d.Scale <= 0:
		return "a distribution without a scale"
	case formed && !(d.Form > 0 && d.Form <= mostForm):
		return "the form of a distribution is more than 0 and not immense"
	case formed && d.Most < d.Scale:
		return "a distribution needs a bound, of its scale at least"
	case !formed && (d.Form != 0 || d.Most != 0):
		return "this distribution has neither form nor bound"
	}
	return ""
}

// scaled returns the distribution of values x times as long.
func (d Distribution) scaled(x float64) Distribution {
	d.Scale, d.Most = scale(d.Scale, x), scale(d.Most, x)
	if d.Scale == 0 {
		return Distribution{}
	}
	return d
}
