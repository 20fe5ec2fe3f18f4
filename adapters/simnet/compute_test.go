package simnet_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// computed runs a hundred computations of a host and returns the order in which they ended, each with the time that it took, and how
// many had done their work before Compute returned.
func computed(seed uint64) (ends []int, took []time.Duration, atOnce int) {
	net := simnet.New(simnet.Config{Seed: seed})
	h := net.AddHost("a", netip.MustParseAddr("192.0.2.1"))
	h.Do(func() {
		begun := h.Now()
		for i := range 100 {
			worked := false
			h.Compute(func() { worked = true }, func() {
				ends = append(ends, i)
				took = append(took, h.Now().Sub(begun))
			})
			if worked {
				atOnce++
			}
		}
	})
	net.Run(time.Second)
	return ends, took, atOnce
}

// What differs between machines and their loads differs here: the order of the ends, short and long computations, and whether work runs
// at once or late.
func TestComputationsEndInDrawnOrders(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(10) {
		ends, took, atOnce := computed(seed)
		again, _, _ := computed(seed)
		if !slices.Equal(ends, again) {
			t.Errorf("seed %d: %v, then %v", seed, ends, again)
		}
		if len(ends) != 100 || slices.IsSorted(ends) {
			t.Errorf("seed %d: ends in the order %v", seed, ends)
		}
		if took[50] > time.Millisecond || took[99] < 5*time.Millisecond || took[99] > 50*time.Millisecond {
			t.Errorf("seed %d: half took %v, all %v", seed, took[50], took[99])
		}
		if atOnce < 20 || atOnce > 80 {
			t.Errorf("seed %d: %d of 100 worked at once", seed, atOnce)
		}
		orders[fmt.Sprint(ends)] = true
	}
	if len(orders) != 10 {
		t.Errorf("%d orders with 10 seeds", len(orders))
	}
}
