package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/dhtprom/dhtprom/bench/internal/load"
)

// ask measures a bulk or trips, and the processor time of both processes.
func (p *pair) ask(what string, n int) (seconds float64, cpu time.Duration, err error) {
	both := &load.Way{Programs: []*load.Child{p.listener, p.dialer}}
	before, err := both.ProcessorTime()
	if err != nil {
		return 0, 0, err
	}
	var t timed
	if err := p.dialer.Ask(&t, "%s %d", what, n); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", p.name, err)
	}
	after, err := both.ProcessorTime()
	return t.Seconds, after - before, err
}

// warm measures until the rate is level and a measurement takes as long as wanted, and returns its number.
func (p *pair) warm(what string, n int, d time.Duration) (int, error) {
	last := 0.
	for range 2 * maxWindows {
		seconds, _, err := p.ask(what, n)
		if err != nil {
			return 0, err
		}
		rate := float64(n) / seconds
		if seconds > d.Seconds()/4 && math.Abs(rate-last) < level*last {
			break
		}
		last = rate
		n = max(n, min(4*n, int(rate*d.Seconds())))
	}
	return n, nil
}

// streamFigures are the rows of a pair.
type streamFigures struct{ rate, cpu []float64 }

// measure measures all pairs in turns: rates in units per second, and processor time in units of time for one of them.
func (l *link) measure(o options, what string, first int, d time.Duration, unit, cpuUnit float64) ([]streamFigures, error) {
	all := make([]streamFigures, len(l.pairs))
	sizes := make([]int, len(l.pairs))
	for round := range o.rounds {
		for i := range l.pairs {
			turn := (i + round) % len(l.pairs)
			p, f := l.pairs[turn], &all[turn]
			if p.dialer == nil {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s, %s, round %d of %d: %s\n", l.route.name, what, round+1, o.rounds, p.name)
			if round == 0 {
				n, err := p.warm(what, first, d)
				if err != nil {
					return nil, err
				}
				sizes[turn] = n
			}
			seconds, cpu, err := p.ask(what, sizes[turn])
			if err != nil {
				return nil, err
			}
			units := float64(sizes[turn]) / unit
			f.rate, f.cpu = append(f.rate, units/seconds), append(f.cpu, cpu.Seconds()/cpuUnit/units)
		}
	}
	return all, nil
}

func (l *link) print(all []streamFigures, rate, cpu string) {
	rates, cpus := []string{l.route.name, rate}, []string{l.route.name, cpu}
	for i, f := range all {
		if l.pairs[i].dialer == nil {
			rates, cpus = append(rates, notMeasured), append(cpus, notMeasured)
			continue
		}
		rates, cpus = append(rates, cell(f.rate)), append(cpus, cell(f.cpu))
	}
	for len(rates) < streamColumns {
		rates, cpus = append(rates, "–"), append(cpus, "–")
	}
	fmt.Println(load.Row(rates...))
	fmt.Println(load.Row(cpus...))
}

// streamColumns are path, row, dhtprom, JavaScript, libudx, raw UDP.
const streamColumns = 6

func compareStreams(ctx context.Context, o options) error {
	for i, r := range o.routes {
		l, err := newLink(ctx, o, r)
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Println(load.Head("path", "", "dhtprom", "JavaScript", "libudx, not encrypted", "raw UDP"))
		}
		err = l.compare(o)
		l.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	fmt.Println()
	return nil
}

// compare prints the rows of one route: round trips only where they measure more than the path.
func (l *link) compare(o options) error {
	all, err := l.measure(o, "bulk", firstBulk, streamTimes*o.duration, 1e6, 1e-3)
	if err != nil {
		return err
	}
	l.print(all, "bulk, MB/s", "bulk, CPU s/GB")
	if !l.route.direct {
		return nil
	}
	raw := &pair{name: "raw UDP"}
	if raw.listener, err = l.Role("udp", o.self, "role", "udp"); err != nil {
		return err
	}
	var about struct{ Address string }
	if err := raw.listener.Read(&about); err != nil {
		return err
	}
	if raw.dialer, err = l.Role("caller", o.self, "role", "caller", about.Address); err != nil {
		return err
	}
	if err := raw.dialer.Read(&done{}); err != nil {
		return err
	}
	l.pairs = append(l.pairs, raw)
	if all, err = l.measure(o, "trips", firstTrips, o.duration, 1, 1e-6); err != nil {
		return err
	}
	l.print(all, "round trips of 64 B, /s", "round trip, CPU µs")
	return nil
}
