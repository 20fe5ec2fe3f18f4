package simnet

import (
	"fmt"
	"math"
	"time"
)

// Shape is the family of a Distribution.
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

// Distribution describes random durations. The zero Distribution is always 0.
type Distribution struct {
	Shape Shape
	Scale time.Duration
	// Form is the spread of LogNormal and the exponent of Pareto; the others have none.
	Form float64
	// Most bounds LogNormal and Pareto, which need it: longer values become Most.
	Most time.Duration
}

// Quantile returns the value below which a share u of all values lies, with u from 0 to less than 1.
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
	return time.Duration(min(x*float64(d.Scale), float64(d.Most))) // bounded first, so that the conversion cannot overflow
}

// nonsense returns the reason why a distribution is invalid, or "".
func (d Distribution) nonsense() string {
	formed := d.Shape == LogNormal || d.Shape == Pareto
	switch {
	case d.Shape > Pareto:
		return "unknown shape"
	case d.Shape == None && d != Distribution{}:
		return "distribution without a shape"
	case d.Shape != None && d.Scale <= 0:
		return "distribution without a scale"
	case formed && !(d.Form > 0 && d.Form <= mostForm):
		return fmt.Sprintf("form of a distribution must be in (0, %v]", mostForm)
	case formed && d.Most < d.Scale:
		return "bound of a distribution must be at least its scale"
	case !formed && (d.Form != 0 || d.Most != 0):
		return "distribution of this shape has neither form nor bound"
	}
	return ""
}

// scaled returns the distribution with all values multiplied by x.
func (d Distribution) scaled(x float64) Distribution {
	d.Scale, d.Most = scale(d.Scale, x), scale(d.Most, x)
	if d.Scale == 0 {
		return Distribution{}
	}
	return d
}
