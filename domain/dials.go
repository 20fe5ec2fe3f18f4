package domain

import (
	"slices"
	"time"
)

// DialStats counts connection attempts to clients. The zero value is empty.
type DialStats struct {
	// First counts the first dials of a session, and those after a connection that has ended: their success rate shows how well
	// paths are found. Later dials repeat failed ones.
	FirstConnected, FirstFailed uint64
	// SecondDirect, SecondRelayed and SecondFailed count the connections that were dialled beside one that a relay had taken
	// over: those that were direct and replaced it, those that were relayed as well, and those that failed.
	SecondDirect, SecondRelayed, SecondFailed uint64
	// Took is the time from a dial to the open connection, by path.
	Took map[Path]Durations
}

// Durations counts durations within each of DialBounds, and sums them.
type Durations struct {
	Within [len(dialBounds) + 1]uint64 // the last has those beyond all bounds
	Sum    time.Duration
}

// dialBounds begin above the round trips of a LAN and end at the connect timeout.
var dialBounds = [...]time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 20 * time.Second,
}

// DialBounds are the upper bounds of Durations, in ascending order.
func DialBounds() []time.Duration { return dialBounds[:] }

// DialOrder distinguishes the first dial of a connection from later ones.
type DialOrder bool

// The orders.
const (
	FirstDial DialOrder = true
	LaterDial DialOrder = false
)

// Opened counts a connection that opened.
func (s *DialStats) Opened(p Path, took time.Duration, dial DialOrder) {
	if dial == FirstDial {
		s.FirstConnected++
	}
	if s.Took == nil {
		s.Took = map[Path]Durations{}
	}
	d := s.Took[p]
	i, _ := slices.BinarySearch(dialBounds[:], took)
	d.Within[i]++
	d.Sum += took
	s.Took[p] = d
}

// Failed counts a dial that failed.
func (s *DialStats) Failed(dial DialOrder) {
	if dial == FirstDial {
		s.FirstFailed++
	}
}
