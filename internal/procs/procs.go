// Package procs adapts the number of processors that Go's scheduler uses to the work of the program.
//
// The programs of this repository work in short bursts: a datagram or a request starts a turn of some microseconds in which several
// goroutines hand over to each other. On one processor, a hand-over is a switch in the process. On more, the scheduler wakes another
// thread, which searches for work and finds little: where each scrape is small, that costs more processor time than the work. A program
// therefore begins with one processor, and has more while one is not enough.
package procs

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	// interval is the time between looks at the load. A wake-up of an idle process in a second costs less than its keep-alives.
	interval = time.Second
	// busy is the share of the present processors above which their number is doubled, if more than crowded goroutines for each of them
	// wait for their turn, on average. Two that hand over to each other use a processor and would not be faster on two.
	busy    = 0.85
	crowded = 1.5
	// idle is the share of half the processors below which half of them suffice, if that lasts for calm looks in a row.
	idle = 0.6
	calm = 10
)

// scale decides on the number of processors.
type scale struct {
	now, most int
	calm      int // looks in a row at which half of the processors would have sufficed
}

// look has the figures of a process since the last one.
type look struct {
	elapsed time.Duration
	used    time.Duration // of processors
	waited  time.Duration // of all goroutines, for a processor
}

// next returns the number of processors for the time until the next look.
func (s *scale) next(l look) int {
	load, waiting := l.used.Seconds()/l.elapsed.Seconds(), l.waited.Seconds()/l.elapsed.Seconds()
	switch {
	case load > busy*float64(s.now):
		if waiting > crowded*float64(s.now) {
			s.now = min(2*s.now, s.most)
		}
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
	last, waited, at := processorTime(), newWaits(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
		used, now := processorTime(), time.Now()
		before := s.now
		if n := s.next(look{now.Sub(at), used - last, waited.since()}); n != before {
			set(s, n)
		}
		last, at = used, now
	}
}

// waits reads the time that goroutines have waited for a processor.
type waits struct {
	sample []metrics.Sample
	last   float64 // in seconds
}

func newWaits() *waits {
	w := &waits{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
	w.since()
	return w
}

// tracked is the share of the waits that the runtime measures: one in so many.
const tracked = 8

// since returns the time waited since the last call, an estimate.
func (w *waits) since() time.Duration {
	metrics.Read(w.sample)
	if w.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := w.sample[0].Value.Float64Histogram()
	all := 0.0
	for i, n := range h.Counts {
		if low, high := max(h.Buckets[i], 0), h.Buckets[i+1]; n > 0 && !math.IsInf(high, 0) {
			all += float64(n) * (low + high) / 2
		}
	}
	was := w.last
	w.last = all
	return time.Duration(tracked * (all - was) * float64(time.Second))
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
