package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// Options determine a run, together with the commit. Unset fields with a default are filled in from the scenario.
type Options struct {
	Scenario string
	Seed     uint64
	Nodes    int           // of the DHT, persistent ones
	Clients  int           // with a source of metrics
	For      time.Duration // how long the main part of the scenario lasts
	Without  []string      // kinds of faults to leave out; see FaultKinds

	// The fields below only observe.

	Trace    io.Writer // receives every delivery, drop, timer and event as text; nil for none
	Capture  io.Writer // receives every datagram, as a pcap file; nil for none
	Progress func(Progress)
	// Parallel runs lanes of scenarios that have some; see simnet.Config. The run is the same without it.
	Parallel func(n int, do func(i int))
	// OnPanic is called on the stack of a panic in a run.
	OnPanic func(value any)
	// Standing is called at the end of the scenario, before its world is closed, with the number of machines in it.
	Standing func(machines int)
}

// Progress is the progress of a run.
type Progress struct {
	Now      time.Duration // virtual time
	Doing    string
	Failures int
}

// fill sets unset fields from the scenario.
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

// Drawn returns the options with sizes that the seed decides, between the least and twice the scenario's own: half of them
// are nearer to the least. Set fields stay. Some faults show only at unusual sizes.
func (o Options) Drawn() Options {
	s := Find(o.Scenario)
	luck := rand.New(rand.NewPCG(o.Seed, binary.LittleEndian.Uint64(fold("sizes"))))
	between := func(least, usual float64) float64 { return least * math.Pow(2*usual/least, luck.Float64()) }
	nodes := int(between(float64(s.Least.Nodes), float64(s.Nodes)))
	clients := int(between(float64(s.Least.Clients), float64(s.Clients)))
	length := time.Duration(between(s.Least.For.Seconds(), s.For.Seconds())) * time.Second
	if o.Nodes == 0 {
		o.Nodes = nodes
	}
	if o.Clients == 0 {
		o.Clients = clients
	}
	if o.For == 0 {
		o.For = max(length, s.Least.For)
	}
	return o
}

// Check reports the error in options: an unknown scenario, a size below the scenario's least, or a kind of faults that it
// never draws. It names flags as the command has them.
func (o Options) Check() error {
	s := Find(o.Scenario)
	if s == nil {
		return fmt.Errorf("no scenario is called %q; there are %s", o.Scenario, strings.Join(names(), ", "))
	}
	size := o.fill(s)
	var faults []error
	if size.Nodes < s.Least.Nodes {
		faults = append(faults, fmt.Errorf("-nodes %d is too few: %s needs at least %d", size.Nodes, s.Name, s.Least.Nodes))
	}
	if size.Clients < s.Least.Clients {
		faults = append(faults, fmt.Errorf("-clients %d is too few: %s needs at least %d", size.Clients, s.Name, s.Least.Clients))
	}
	if size.For < s.Least.For {
		faults = append(faults, fmt.Errorf("-for %v is too short: %s needs at least %v", size.For, s.Name, s.Least.For))
	}
	for _, kind := range o.Without {
		switch {
		case !slices.Contains(FaultKinds(), kind):
			faults = append(faults, fmt.Errorf("-without %s: no kind of fault is called that; there are %s", kind, strings.Join(FaultKinds(), ", ")))
		case len(s.Faults) == 0:
			faults = append(faults, fmt.Errorf("-without %s: %s draws no faults, its story is always the same", kind, s.Name))
		case !slices.Contains(s.Faults, kind):
			faults = append(faults, fmt.Errorf("-without %s: %s draws none of these, only %s", kind, s.Name, strings.Join(s.Faults, ", ")))
		}
	}
	return errors.Join(faults...)
}

// args returns the arguments of the command that replay this.
func (o Options) args() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-scenario %s -seed %d -nodes %d -clients %d -for %s", o.Scenario, o.Seed, o.Nodes, o.Clients, o.For)
	if len(o.Without) > 0 {
		fmt.Fprintf(&b, " -without %s", strings.Join(o.Without, ","))
	}
	return b.String()
}

// Command returns the command line that replays a run.
func (o Options) Command() string { return "go run ./sim/cmd/dhtprom-sim " + o.args() }

// leftOut reports whether a kind of faults is left out.
func (o Options) leftOut(kind string) bool { return slices.Contains(o.Without, kind) }

// Scenario is a test run in a World.
type Scenario struct {
	Name    string
	About   string // one line
	Nodes   int    // defaults
	Clients int
	For     time.Duration
	// Least is the smallest valid size: below it, correct code breaks rules, too.
	Least Least
	// Faults are the kinds of faults that it draws; see FaultKinds.
	Faults []string
	// Large scenarios take minutes: they are not among those of every test run.
	Large bool
	// Coarse leaves payloads out of the hash, for speed.
	Coarse bool
	// Lanes spreads the DHT's nodes over lanes of the net, which Options.Parallel runs at the same time. What the scenario does
	// in turns of nodes has to leave them by Host.Outside.
	Lanes bool
	// Link is the internet, instead of the usual one.
	Link *simnet.Link
	// Loss is the probability that the internet loses a datagram.
	Loss float64

	Play func(*World)
}

// Least is the smallest size of a scenario.
type Least struct {
	Nodes   int
	Clients int
	For     time.Duration
}

var scenarios = []*Scenario{
	firstScrapeScenario, registrationScenario, scraperGroupScenario, groupChaosScenario, rotationScenario, identitiesScenario, expiryScenario, clockSetScenario, natMatrixScenario, natMixScenario, onePortScenario, turnScenario, moveScenario, roamScenario, recoveryScenario, guessesScenario, carriersScenario, driftScenario, dnsScenario, stunScenario, pairScenario, reserveScenario, newPathScenario, uplinkScenario, trafficScenario, hangupsScenario, breakOffsScenario, siteScenario, sliceScenario, restartScenario, powercutScenario, copiesScenario, diskScenario, flashcrowdScenario, sleepersScenario,
	churnScenario, outageScenario, outagesScenario, partitionScenario, clocksScenario, eldersScenario, hostileScenario, lengthsScenario, byzantineScenario, hoardScenario, floodScenario, fleetScenario, chaosScenario, onePortChaosScenario, lookupsScenario, publicLookupsScenario, growthScenario, swarmScenario, swarmsScenario, poolsScenario,
}

// Scenarios returns all scenarios, in reading order.
func Scenarios() []*Scenario { return scenarios }

// names returns the names of all scenarios.
func names() []string {
	all := make([]string, len(scenarios))
	for i, s := range scenarios {
		all[i] = s.Name
	}
	return all
}

// Find returns a scenario by name, or nil.
func Find(name string) *Scenario {
	i := slices.IndexFunc(scenarios, func(s *Scenario) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return scenarios[i]
}
