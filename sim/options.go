package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options decide a run, together with the commit. What has a default is filled in from the scenario.
type Options struct {
	Scenario string
	Seed     uint64
	Nodes    int           // of the DHT, persistent ones
	Clients  int           // with a source of metrics
	For      time.Duration // how long the main part of the scenario lasts
	Without  []string      // kinds of faults that are left out; see FaultKinds

	// What follows only looks on.

	Trace    io.Writer // gets every delivery, drop, timer and event as text; nil for none
	Capture  io.Writer // gets every datagram, as a pcap file; nil for none
	Progress func(Progress)
	// OnPanic is called while the stack of a panic in a run still stands.
	OnPanic func(value any)
}

// Progress is how far a run is.
type Progress struct {
	Now      time.Duration // virtual time
	Doing    string
	Failures int
}

// fill takes what is not set from the scenario.
func (o Options) fill(s *Scenario) Options {
	if o.Nodes == 0 {
		o.Nodes = s.Nodes
	}
	if o.Clients == 0 {
		o.Clients = s.Clients
	}
	if o.For == 0 {
		o.For = s.For
	}
	return o
}

// Command is the line that replays a run.
func (o Options) Command() string {
	var b strings.Builder
	fmt.Fprintf(&b, "go run ./sim/cmd/dhtprom-sim -scenario %s -seed %d -nodes %d -clients %d -for %s", o.Scenario, o.Seed, o.Nodes, o.Clients, o.For)
	if len(o.Without) > 0 {
		fmt.Fprintf(&b, " -without %s", strings.Join(o.Without, ","))
	}
	return b.String()
}

// leftOut reports whether a kind of fault is.
func (o Options) leftOut(kind string) bool { return slices.Contains(o.Without, kind) }

// Scenario is a story with a World in it.
type Scenario struct {
	Name    string
	About   string // one line
	Nodes   int    // defaults
	Clients int
	For     time.Duration
	// Large scenarios take minutes: they are not among those that every test run plays.
	Large bool
	// Coarse leaves payloads out of the hash, for speed.
	Coarse bool
	// Loss is the probability that the internet loses a datagram.
	Loss float64

	Play func(*World)
}

var scenarios = []*Scenario{
	firstScrapeScenario, registrationScenario, natMatrixScenario, moveScenario, sliceScenario, restartScenario, powercutScenario, diskScenario, flashcrowdScenario, sleepersScenario,
	churnScenario, partitionScenario, clocksScenario, hostileScenario, chaosScenario, lookupsScenario, growthScenario, swarmScenario,
}

// Scenarios returns all scenarios, in the order in which a newcomer should meet them.
func Scenarios() []*Scenario { return scenarios }

// Find returns a scenario by name, or nil.
func Find(name string) *Scenario {
	i := slices.IndexFunc(scenarios, func(s *Scenario) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return scenarios[i]
}
