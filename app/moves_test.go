package app

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// The pause counts from the first of the repetitions that happen at once, however long ago the moves before those were.
func TestPauseAfterMovesCountsFromTheFirstOfThem(t *testing.T) {
	var m moves
	start := host.Instant(time.Hour)
	for _, first := range []host.Instant{start, start.Add(10*movedPause - time.Second)} {
		if wait := m.wait(first); wait != 0 {
			t.Errorf("the first move after a while waits %v", wait)
		}
		for range movedBurst {
			m.count(first)
		}
		if wait := m.wait(first.Add(time.Second)); wait != movedPause-time.Second {
			t.Errorf("the next move after a burst waits %v more, want %v", wait, movedPause-time.Second)
		}
	}
}
