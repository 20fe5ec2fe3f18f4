package sim

import (
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// Swarm testing is only as good as the coverage of its draws: over the seeds that every test run plays, each kind of fault
// must have struck at least once, on each kind of path.
func TestChaosCoversEveryFaultAndEveryPath(t *testing.T) {
	seeds := uint64(seedsEach["chaos"])
	struck, paths := map[string]int{}, map[string]int{}
	for seed := range seeds {
		r := playKept(t, Options{Scenario: "chaos", Seed: seed + 1})
		hit := func(row string, in map[string]int) {
			for part := range strings.SplitSeq(r.Row(row), ", ") {
				if _, what, ok := strings.Cut(part, " "); ok {
					in[what]++
				}
			}
		}
		if r.Row("strikes") == orNone(nil) {
			t.Errorf("seed %d: nothing went wrong at all", seed+1)
		}
		hit("strikes", struck)
		hit("paths of scrapes", paths)
	}
	kinds := []string{faultDisk, "roam", "TURN server", "UDP"}
	for _, kind := range simnet.FaultKinds() {
		if kind != simnet.FaultJump { // scenario clocks covers them
			kinds = append(kinds, string(kind))
		}
	}
	for _, kind := range kinds {
		if struck[kind] < 2 {
			t.Errorf("%s struck in %d of %d seeds", kind, struck[kind], seeds)
		}
	}
	for _, p := range []domain.Path{domain.PathDirect, domain.PathPunched, domain.PathRelay, domain.PathTURN} {
		if paths[p.String()] < 3 {
			t.Errorf("connections were %s in %d of %d seeds", p, paths[p.String()], seeds)
		}
	}
	t.Logf("seeds in which it struck: %v; on which paths: %v", struck, paths)
}
