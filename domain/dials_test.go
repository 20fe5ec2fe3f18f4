package domain

import (
	"testing"
	"time"
)

func TestDialStatsCountFirstDialsAndTimesByPath(t *testing.T) {
	var s DialStats
	s.Failed(false)
	s.Failed(true)
	s.Opened(PathPunched, 300*time.Millisecond, true)
	s.Opened(PathPunched, 500*time.Millisecond, false) // on the bound
	s.Opened(PathRelay, time.Minute, false)
	if s.FirstConnected != 1 || s.FirstFailed != 1 {
		t.Errorf("first dials: %d connected, %d failed", s.FirstConnected, s.FirstFailed)
	}
	punched, relay := s.Took[PathPunched], s.Took[PathRelay]
	if punched.Within != [10]uint64{3: 2} || punched.Sum != 800*time.Millisecond {
		t.Errorf("punched: %+v", punched)
	}
	if relay.Within != [10]uint64{9: 1} {
		t.Errorf("relay: %+v", relay)
	}
}
