package portstest_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
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

func TestSourceInMemoryKeepsTheContract(t *testing.T) {
	portstest.TestMetricsSource(t, func(*testing.T) portstest.SourceBench {
		l := portstest.NewLoop(1)
		return portstest.SourceBench{
			Do: l.Turn, Until: until(l),
			Open: func(_ *testing.T, says portstest.SourceAnswer) ports.MetricsSource {
				s := portstest.NewSource(l, string(says.Body))
				s.Silent = says.Hangs
				if says.Fails {
					s.Err = errors.New("no metrics")
				}
				return s
			},
		}
	})
}

// until runs a loop until a condition holds.
func until(l *portstest.Loop) func(*testing.T, string, func() bool) {
	return func(t *testing.T, what string, cond func() bool) {
		t.Helper()
		if !l.Until(time.Hour, cond) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestNetworkKeepsTheContract(t *testing.T) {
	portstest.TestTransport(t, func(*testing.T) portstest.TransportBench {
		l := portstest.NewLoop(1)
		n := portstest.NewNetwork(l)
		return portstest.TransportBench{
			Open: func(*testing.T, string) (ports.Transport, host.Loop, func(func())) {
				return portstest.NewTransport(n), l, l.Turn
			},
			Until:  until(l),
			Settle: func() { l.Advance(time.Minute) },
		}
	})
}

func TestClockOfALoopKeepsTheContract(t *testing.T) {
	portstest.TestClock(t, func(*testing.T) portstest.ClockBench {
		l := portstest.NewLoop(1)
		return portstest.ClockBench{Clock: portstest.NewClock(l, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), Pass: l.Advance}
	})
}
