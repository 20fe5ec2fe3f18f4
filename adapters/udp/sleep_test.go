package udp

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

func TestSteadyTimeIncludesSleep(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	slept := time.Duration(0)
	h.Do(func() { h.clock.suspended = func() time.Duration { return slept } })
	var before, after host.Instant
	h.Do(func() {
		before = h.clock.now
		slept = time.Hour
		h.clock.sleepCheck = 0 // as if a second had passed
	})
	h.Do(func() { after = h.clock.now })
	if d := after.Sub(before); d < time.Hour || d > time.Hour+time.Minute {
		t.Errorf("time moved by %v over a sleep of an hour", d)
	}
}

func TestTimersThatCameDueInASleepFireAfterIt(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	slept := time.Duration(0)
	fired := make(chan struct{})
	h.Do(func() {
		h.clock.suspended = func() time.Duration { return slept }
		h.AfterFunc(30*time.Minute, func() { close(fired) })
		slept = time.Hour
		h.clock.sleepCheck = 0
	})
	h.Do(func() {})
	select {
	case <-fired:
	case <-time.After(10 * time.Second):
		t.Fatal("the timer did not fire")
	}
}
