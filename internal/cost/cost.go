// Package cost measures the cost of a call, in steps and in allocated bytes, and compares it with a bound that grows with the
// input. Only tests import it.
//
// Time would be the natural measure, but no test may judge it: machines differ and are shared. Steps and bytes are the same on
// every machine.
//
// A step is an iteration of a loop, or a call of a function of this module. Released code does not count them: command
// sim/cmd/fuzz compiles its targets with a copy of each source file in which every loop and every function begins with a call of
// Step. Under plain go test, steps are not counted and only bytes are checked.
package cost

import (
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

// All of these belong to the one goroutine that runs the code under test.
var (
	steps  int           // taken since the start
	limit  = math.MaxInt // where Step panics: the minimum over the active meters
	active []*Meter      // the outermost first

	attempt int  // of Repeat, from 1; 0 outside of it
	again   bool // a meter of this attempt has measured too many bytes
)

// errExceeded ends a call that takes more steps than its bound allows, such as an endless loop.
var errExceeded = errors.New("cost: more steps than the bound allows")

// Step counts one step. Code compiled by sim/cmd/fuzz calls it; code in the repository does not.
func Step() {
	if steps++; steps > limit {
		limit = math.MaxInt // deferred calls of the code under test take steps, too
		panic(errExceeded)
	}
}

// Bound is the maximum cost of a call: k·n+c steps and bytes for n bytes of input. If both values for
// bytes are 0, bytes are not checked, which saves the time to measure them: 50 µs.
type Bound struct {
	StepsPerByte, Steps int // k and c of the steps
	BytesPerByte, Bytes int // k and c of the allocated bytes
}

// Parsing is the bound of a parser. It reads each byte once, by a few calls for a field of one byte. An address of 6
// bytes becomes one of 32, and a list may grow in steps.
var Parsing = Bound{StepsPerByte: 8, Steps: 200, BytesPerByte: 16, Bytes: 2048}

// attempts is the number of times that Check and Repeat call code that allocates too much. Other code allocates, too: the runtime
// a goroutine for the garbage collector or a block of timers, the fuzzing engine a buffer of 256 KiB, but only once.
const attempts = 3

// Repeat calls f, the part of a test that uses a Meter, and calls it again if the meter measures too many bytes; the last
// measurement counts. So f must do the same each time: it must not change captured variables.
func Repeat(t testing.TB, f func()) {
	t.Helper()
	defer func() { attempt, again = 0, false }()
	for attempt = 1; attempt <= attempts; attempt++ {
		again = false
		if f(); !again {
			return
		}
	}
}

// Check calls f, which processes n bytes of input, and fails the test if its cost exceeds the bound. It may call f more than
// once, and the cheapest call counts.
func (b Bound) Check(t testing.TB, n int, f func()) {
	t.Helper()
	for i := 1; ; i++ {
		m := start(t, b)
		bytes := m.call(n, f)
		if bytes <= b.bytes(n) || t.Failed() {
			return
		}
		if i == attempts {
			t.Errorf("%d bytes of input allocate %d bytes, want at most %d", n, bytes, b.bytes(n))
			return
		}
	}
}

func (b Bound) steps(n int) int { return b.StepsPerByte*n + b.Steps }

func (b Bound) bytes(n int) int { return b.BytesPerByte*n + b.Bytes }

func (b Bound) judgesBytes() bool { return b.BytesPerByte > 0 || b.Bytes > 0 }

// Meter checks a test against a bound for input that arrives piece by piece.
type Meter struct {
	t         testing.TB
	bound     Bound
	input     int
	from      int // steps at the start
	allocated uint64
}

// Start starts a measurement, with no input yet. Stop must be deferred. Start panics outside of Repeat.
func Start(t testing.TB, b Bound) *Meter {
	if attempt == 0 {
		panic("cost: Start outside of Repeat")
	}
	return start(t, b)
}

func start(t testing.TB, b Bound) *Meter {
	m := &Meter{t: t, bound: b, from: steps}
	active = append(active, m)
	m.Allow(0)
	if b.judgesBytes() {
		m.allocated = allocated() // not the meter itself
	}
	return m
}

// Allow adds n bytes of input, and their cost to the bound.
func (m *Meter) Allow(n int) {
	m.input += n
	updateLimit()
}

func updateLimit() {
	limit = math.MaxInt
	for _, m := range active {
		limit = min(limit, m.limit())
	}
}

// Free calls f, a part of the test itself, without counting the steps.
func Free(f func()) {
	taken := steps
	limit = math.MaxInt
	defer func() {
		steps = taken
		updateLimit()
	}()
	f()
}

// Steps is the number of steps since the start.
func (m *Meter) Steps() int { return steps - m.from }

func (m *Meter) limit() int { return m.from + m.bound.steps(m.input) }

// Stop ends the measurement and fails the test if the bound is exceeded.
func (m *Meter) Stop() {
	m.t.Helper()
	bytes := m.spent()
	m.judge(recover())
	most := m.bound.bytes(m.input)
	switch {
	case bytes <= most || m.t.Failed():
	case attempt < attempts:
		again = true
	default:
		m.t.Errorf("%d bytes of input allocate %d bytes, want at most %d", m.input, bytes, most)
	}
}

// call calls f with n bytes of input, checks its steps and returns the bytes that it allocated.
func (m *Meter) call(n int, f func()) (bytes int) {
	m.t.Helper()
	defer func() {
		m.t.Helper()
		bytes = m.spent()
		m.judge(recover())
	}()
	m.Allow(n)
	f()
	return 0
}

func (m *Meter) spent() int {
	if !m.bound.judgesBytes() {
		return 0
	}
	return int(allocated() - m.allocated)
}

// judge ends the count of steps. A panic because of too many fails the test, any other goes on.
func (m *Meter) judge(panicked any) {
	m.t.Helper()
	active = active[:slices.Index(active, m)]
	updateLimit()
	switch {
	case panicked == errExceeded && steps > m.limit():
		m.t.Fatalf("%d bytes of input take more than %d steps:\n%s", m.input, m.bound.steps(m.input), debug.Stack())
	case panicked != nil:
		panic(panicked)
	}
}

var stats runtime.MemStats // as a local it would count itself

// allocated returns the number of bytes allocated on the heap since the start, freed ones included.
func allocated() uint64 {
	runtime.ReadMemStats(&stats) // stops the world, which makes it exact; runtime/metrics is not
	return stats.TotalAlloc
}
