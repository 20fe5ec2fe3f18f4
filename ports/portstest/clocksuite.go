package portstest

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports"
)

// ClockBench has a clock that is not set meanwhile, and lets time pass.
type ClockBench struct {
	Clock ports.Clock
	Pass  func(time.Duration)
}

// TestClock checks a clock against the contract of ports.Clock.
func TestClock(t *testing.T, bench func(t *testing.T) ClockBench) {
	b := bench(t)
	begun := b.Clock.Now()
	if begun.IsZero() {
		t.Error("it shows no time")
	}
	for _, d := range []time.Duration{time.Second, 25 * time.Hour} {
		before := b.Clock.Now()
		b.Pass(d)
		// Without the steady time that a time.Time may have beside: what is shown is stored, and compared after a restart.
		if passed := b.Clock.Now().Round(0).Sub(before.Round(0)); passed < d-time.Millisecond || passed > d+time.Second {
			t.Errorf("it shows that %v have passed after %v", passed, d)
		}
	}
}
