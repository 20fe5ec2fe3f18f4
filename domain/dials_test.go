package domain

import (
	"testing"
	"time"
)

func TestDialStatsCountFirstDialsAndTimesByPath(t *testing.T) {
	var s DialStats
	s.Failed(LaterDial)
	s.Failed(FirstDial)
	s.Opened(PathPunched, 300*time.Millisecond, FirstDial)
	s.Opened(PathPunched, 500*time.Millisecond, LaterDial) // on the bound
	s.Opened(PathRelay, time.Minute, LaterDial)
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
