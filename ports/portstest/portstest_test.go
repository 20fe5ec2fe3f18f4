package portstest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestStoreInMemoryKeepsTheContract(t *testing.T) {
	portstest.TestAliasStore(t, func(*testing.T) portstest.StoreBench {
		loop, disk := portstest.NewLoop(1), portstest.NewDisk()
		return portstest.StoreBench{
			Open: func(*testing.T) ports.AliasStore { return portstest.NewStore(loop, disk) },
			Run: func(t *testing.T, f func(func())) {
				finished := false
				loop.Turn(func() { f(func() { finished = true }) })
				if !finished {
					t.Error("done was not called")
				}
			},
		}
	})
}

// Differences of deadlines do not fit an int where that has 32 bits.
func TestTimersFarApartFireInOrder(t *testing.T) {
	l := portstest.NewLoop(1)
	var fired []time.Duration
	for _, d := range []time.Duration{time.Hour, time.Nanosecond, 3 * time.Second, 48 * time.Hour, 4 * time.Second, 90 * time.Minute, time.Second} {
		l.AfterFunc(d, func() { fired = append(fired, d) })
	}
	l.Advance(72 * time.Hour)
	if len(fired) != 7 || !slices.IsSorted(fired) {
		t.Errorf("fired in the order %v", fired)
	}
}
