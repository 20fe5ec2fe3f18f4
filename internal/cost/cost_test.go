package cost_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/cost"
)

// recorder is a test that records its failure.
type recorder struct {
	testing.TB
	fault string
}

func (r *recorder) Helper()      {}
func (r *recorder) Failed() bool { return r.fault != "" }
func (r *recorder) Errorf(format string, args ...any) {
	r.fault = fmt.Sprintf(format, args...)
}

func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...) }

// fault runs f within a bound and returns the failure.
func fault(b cost.Bound, n int, f func()) string {
	r := &recorder{}
	b.Check(r, n, f)
	return r.fault
}

func steps(n int) func() {
	return func() {
		for range n {
			cost.Step()
		}
	}
}

var sink []byte

func allocate(n int) func() { return func() { sink = make([]byte, n) } }

func TestBoundsGrowWithTheInput(t *testing.T) {
	bound := cost.Bound{StepsPerByte: 3, Steps: 10, BytesPerByte: 1024, Bytes: 4096}
	for _, tc := range []struct {
		name string
		n    int
		call func()
		want string
	}{
		{"steps within", 100, steps(310), ""},
		{"a step too many", 100, steps(311), "100 bytes of input take more than 310 steps"},
		{"the same for more", 101, steps(311), ""},
		{"an endless loop", 1, steps(math.MaxInt), "1 bytes of input take more than 13 steps"},
		{"bytes within", 4, allocate(8192), ""},
		{"too many bytes", 3, allocate(8192), "3 bytes of input allocate 8192 bytes, want at most 7168"},
		{"many small ones", 3, func() {
			for range 1000 {
				sink = make([]byte, 8)
			}
		}, "3 bytes of input allocate 8000 bytes, want at most 7168"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := fault(bound, tc.n, tc.call); !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestInputIsAllowedPieceByPiece(t *testing.T) {
	r := &recorder{}
	cost.Repeat(t, func() {
		m := cost.Start(r, cost.Bound{StepsPerByte: 1, Steps: 5, Bytes: 1 << 20})
		defer m.Stop()
		steps(5)()
		m.Allow(10)
		steps(10)()
		m.Allow(1)
		steps(2)()
	})
	if want := "11 bytes of input take more than 16 steps"; !strings.HasPrefix(r.fault, want) {
		t.Errorf("got %q, want %q", r.fault, want)
	}
}

// Other code's allocations are measured once, those of the input each time.
func TestBytesOfOthersAreMeasuredAgain(t *testing.T) {
	for _, tc := range []struct {
		name        string
		times       int // number of calls that allocate too much
		calls       int
		wantFailing bool
	}{
		{"never", 0, 1, false},
		{"once", 1, 2, false},
		{"twice", 2, 3, false},
		{"each time", 9, 3, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, calls := &recorder{}, 0
			cost.Repeat(t, func() {
				// Far from what the runtime allocates by itself, which would count as a call that allocates too much.
				m := cost.Start(r, cost.Bound{Bytes: 1 << 20})
				defer m.Stop()
				if calls++; calls <= tc.times {
					allocate(4 << 20)()
				}
			})
			if calls != tc.calls || r.Failed() != tc.wantFailing {
				t.Errorf("called %d times, want %d, fault %q", calls, tc.calls, r.fault)
			}
		})
	}
}

func TestNothingIsMeasuredPieceByPieceJustOnce(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a meter starts outside of Repeat")
		}
	}()
	cost.Start(t, cost.Bound{})
}

func TestInnerBoundsHoldWithinOuterOnes(t *testing.T) {
	inner, outer := cost.Bound{Steps: 5, Bytes: 1 << 20}, cost.Bound{Steps: 100, Bytes: 1 << 20}
	var within string
	if got := fault(outer, 0, func() { within = fault(inner, 0, steps(6)) }); got != "" || within == "" {
		t.Errorf("inside %q, outside %q", within, got)
	}
	if got := fault(outer, 0, func() { within = fault(inner, 0, steps(5)); steps(96)() }); got == "" || within != "" {
		t.Errorf("inside %q, outside %q", within, got)
	}
	if got := fault(inner, 0, func() { within = fault(outer, 0, steps(6)) }); got == "" || within != "" {
		t.Errorf("the wide one %q, the narrow one around it %q", within, got)
	}
}

// Input allowed for an outer bound while an inner one is active counts for the outer one only, and remains counted.
func TestOuterBoundsAreRaisedWithinInnerOnes(t *testing.T) {
	r := &recorder{}
	var within string
	cost.Repeat(t, func() {
		outer := cost.Start(r, cost.Bound{StepsPerByte: 1, Steps: 10, Bytes: 1 << 20})
		defer outer.Stop()
		within = fault(cost.Bound{Steps: 20, Bytes: 1 << 20}, 0, func() {
			outer.Allow(20)
			steps(21)()
		})
		cost.Free(steps(1000))
		steps(9)()
	})
	if within == "" || r.fault != "" {
		t.Errorf("inside %q, outside %q", within, r.fault)
	}
}

func TestOtherPanicsPass(t *testing.T) {
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
	}()
	fault(cost.Bound{}, 0, func() { panic("mine") })
}
