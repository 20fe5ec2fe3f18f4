// Package cost measures what a call costs, in steps and in allocated bytes, and holds it against a bound that grows
// with the input. Only tests import it.
//
// Time would be the natural measure, and no test may judge it: machines differ and are shared. Steps and bytes are
// the same on every machine.
//
// A step is an iteration of a loop, or a call of a function that is written in this module. The code that ships does
// not count them: command sim/cmd/fuzz compiles its targets with a copy of each source file in which every loop and
// every function begins with a call of Step. Under plain go test, no steps are counted and bytes alone are judged.
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
	limit  = math.MaxInt // where Step panics: the least of what the active meters allow
	active []*Meter      // the outermost first

	attempt int  // of Repeat, from 1; 0 outside of it
	again   bool // a meter of this attempt has found too many bytes
)

// errExceeded ends a call that takes more steps than its bound allows. An endless loop ends so, too.
var errExceeded = errors.New("cost: more steps than the bound allows")

// Step counts one step. Code compiled by sim/cmd/fuzz calls it; code in the repository does not.
func Step() {
	if steps++; steps > limit {
		limit = math.MaxInt // deferred calls of the code under test take steps, too
		panic(errExceeded)
	}
}

// Bound is what a call may cost: k·n+c steps and bytes for n bytes of input. Without any bytes, they are not judged,
// which saves the time to measure them: 50 µs.
type Bound struct {
	StepsPerByte, Steps int // k and c of the steps
	BytesPerByte, Bytes int // k and c of the allocated bytes
}

// Parsing is the bound of a parser. It reads each byte once, by a few calls for a field of one byte. An address of 6
// bytes becomes one of 32, and a list may grow in steps.
var Parsing = Bound{StepsPerByte: 8, Steps: 200, BytesPerByte: 16, Bytes: 2048}

// attempts is how often Check and Repeat repeat a call that allocates too much. Others allocate, too: the runtime a
// goroutine for the garbage collector or a block of timers, the fuzzing engine a buffer of 256 KiB. They do so once.
const attempts = 3

// Repeat calls f, the part of a test that uses a Meter, and calls it again if the meter finds too many bytes; what it
// finds the last time counts. So f has to do the same each time: it must not change what it captures.
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

// Check calls f, which works on n bytes of input, and fails the test if it costs more than the bound. It may call f more
// than once, and the cheapest call counts.
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

// Meter holds a test against a bound for input that arrives piece by piece.
type Meter struct {
	t         testing.TB
	bound     Bound
	input     int
	from      int // where the count of steps began
	allocated uint64
}

// Start begins to measure, with no input yet. Stop has to be deferred. Start panics outside of Repeat.
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

// Allow adds n bytes of input, and what they may cost.
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

// Steps is how many were taken since the start.
func (m *Meter) Steps() int { return steps - m.from }

func (m *Meter) limit() int { return m.from + m.bound.steps(m.input) }

// Stop ends the measurement and fails the test if the input has cost too much.
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

// call calls f with n bytes of input, judges its steps and returns the bytes that it allocated.
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

// judge ends the count of steps. A panic that means too many of them fails the test, any other goes on.
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

// allocated is how many bytes were allocated on the heap since the start, freed ones included.
func allocated() uint64 {
	runtime.ReadMemStats(&stats) // stops the world, which makes it exact; runtime/metrics is not
	return stats.TotalAlloc
}
