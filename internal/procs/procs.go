// Package procs adapts the number of processors that Go's scheduler uses to the work of the program.
//
// The programs of this repository work in short bursts: a datagram or a request starts a turn of some microseconds in which several
// goroutines hand over to each other. On one processor, a hand-over is a switch in the process. On more, the scheduler wakes another
// thread, which searches for work and finds little: where each scrape is small, that costs more processor time than the work. A program
// therefore begins with one processor, and has more while one is not enough.
package procs

import (
	"context"
	"os"
	"runtime"
	"time"
)

const (
	// interval is the time between looks at the load. A wake-up of an idle process in a second costs less than its keep-alives.
	interval = time.Second
	// busy is the share of the present processors above which their number is doubled.
	busy = 0.85
	// idle is the share of half the processors below which half of them suffice, if that lasts for calm looks in a row.
	idle = 0.6
	calm = 10
)

// scale decides on the number of processors.
type scale struct {
	now, most int
	calm      int // looks in a row at which half of the processors would have sufficed
}

// next takes the processor time that the process used since the last look, and the time since then, and returns the number of processors
// for the time until the next one.
func (s *scale) next(used, elapsed time.Duration) int {
	load := used.Seconds() / elapsed.Seconds()
	switch {
	case load > busy*float64(s.now):
		s.now = min(2*s.now, s.most)
		s.calm = 0
	case s.now == 1 || load >= idle*float64(s.now/2):
		s.calm = 0
	default:
		if s.calm++; s.calm == calm {
			s.now, s.calm = s.now/2, 0
		}
	}
	return s.now
}

// Adapt begins with one processor and adapts the number to the load until ctx ends. The most is what Go would use: the machine's, or the
// limit of the container. The environment variable GOMAXPROCS fixes the number instead.
func Adapt(ctx context.Context) {
	most := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" || most == 1 || !measurable {
		return
	}
	runtime.GOMAXPROCS(1)
	go adapt(ctx, &scale{now: 1, most: most})
}

func adapt(ctx context.Context, s *scale) {
	looks := time.NewTicker(interval)
	defer looks.Stop()
	last, at := processorTime(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
		used, now := processorTime(), time.Now()
		before := s.now
		if n := s.next(used-last, now.Sub(at)); n != before {
			set(s, n)
		}
		last, at = used, now
	}
}

// set sets the number of processors. The most is Go's own, which it keeps up to date with the limit of the container.
func set(s *scale, n int) {
	if n < s.most {
		runtime.GOMAXPROCS(n)
		return
	}
	runtime.SetDefaultGOMAXPROCS()
	s.most = runtime.GOMAXPROCS(0)
	s.now = s.most
}
