package sim

import (
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/sim/parallel"
)

// Scenarios with lanes have one result, however their lanes are run.
func TestLanesRunInParallelOrInTurn(t *testing.T) {
	pool := parallel.New()
	defer pool.Close()
	for _, o := range []Options{
		{Scenario: swarmScenario.Name, Nodes: 60, Clients: 6, For: 20 * time.Second},
		{Scenario: publicLookupsScenario.Name, Nodes: 100, Clients: 8, For: 10 * time.Second},
	} {
		t.Run(o.Scenario, func(t *testing.T) {
			if s := Find(o.Scenario); !s.Lanes {
				t.Fatal("it has no lanes")
			}
			o.Seed = 1
			inTurn := play(t, o)
			o.Parallel = pool.Run
			parallel := play(t, o)
			o.Trace = io.Discard
			traced := play(t, o)
			for how, r := range map[string]*Result{"in parallel": parallel, "traced": traced} {
				if r.Hash != inTurn.Hash || r.Transcript != inTurn.Transcript {
					t.Errorf("%s: hash %016x, in turn %016x; %s", how, r.Hash, inTurn.Hash, difference(inTurn, r))
				}
				if !reflect.DeepEqual(r.Rows, inTurn.Rows) || !reflect.DeepEqual(r.Plots, inTurn.Plots) || r.Stats != inTurn.Stats {
					t.Errorf("%s: %v %+v, in turn %v %+v", how, r.Rows, r.Stats, inTurn.Rows, inTurn.Stats)
				}
			}
		})
	}
}
