package simnet_test

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

func TestSpreadIsAConstantOfEachPair(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 10 * ms, Spread: 100 * ms}})
	a := newEnd(net, 1)
	var delays []time.Duration
	for i := range 20 {
		b := newEnd(net, 2+i)
		for range 3 {
			sent := net.Now()
			a.send(b, "x")
			net.Run(time.Second)
			delays = append(delays, b.times[len(b.times)-1]-sent)
		}
		sent := net.Now()
		b.send(a, "back")
		net.Run(time.Second)
		one := delays[3*i]
		if delays[3*i+1] != one || delays[3*i+2] != one || a.times[i]-sent != one {
			t.Errorf("pair %d: delays %v, and %v back", i, delays[3*i:], a.times[i]-sent)
		}
	}
	least, most := slices.Min(delays), slices.Max(delays)
	if least < 10*ms || most > 110*ms || most-least < 50*ms {
		t.Errorf("pairs are from %v to %v apart", least, most)
	}
}

// All datagrams sent within one spell share its fate.
func TestBurstsLoseAllOfASpell(t *testing.T) {
	tests := []struct {
		name string
		link simnet.Link
		last time.Duration
	}{
		{"as long as it says", simnet.Link{Burst: 0.5, BurstFor: 100 * ms}, 100 * ms},
		{"as long as we say", simnet.Link{Burst: 0.5}, 200 * ms},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, a, b := pair(1, test.link)
			lost, kept := 0, 0
			for range 40 {
				before := len(b.got)
				for range 10 {
					a.send(b, "x")
					net.Run(test.last / 10)
				}
				switch len(b.got) - before {
				case 0:
					lost++
				case 10:
					kept++
				default:
					t.Errorf("%d of 10 arrived in one spell", len(b.got)-before)
				}
			}
			if lost < 10 || kept < 10 {
				t.Errorf("%d spells lost all, %d nothing", lost, kept)
			}
		})
	}
}

// Late and stale datagrams arrive within the bounds of the link, and some of them late.
func TestLateAndStaleAreBounded(t *testing.T) {
	tests := []struct {
		name string
		link simnet.Link
		most time.Duration
	}{
		{"reordered", simnet.Link{Reorder: 1, Late: 80 * ms}, 80 * ms},
		{"reordered, by our choice", simnet.Link{Reorder: 1}, 10 * ms},
		{"duplicated", simnet.Link{Duplicate: 1, Late: 80 * ms}, 80 * ms},
		{"duplicated, by our choice", simnet.Link{Duplicate: 1}, 10 * ms},
		{"replayed", simnet.Link{Replay: 1, Stale: 8 * time.Second}, 8 * time.Second},
		{"replayed, by our choice", simnet.Link{Replay: 1}, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, a, b := pair(1, test.link)
			var last time.Duration
			for range 100 {
				sent := net.Now()
				a.send(b, "x")
				net.Run(2 * time.Minute)
				last = max(last, b.times[len(b.times)-1]-sent)
			}
			if last > test.most || last < test.most*9/10 {
				t.Errorf("the last came after %v, want nearly %v", last, test.most)
			}
		})
	}
}

func TestMTUIsThatOfTheLink(t *testing.T) {
	for _, mtu := range []int{600, 1500, 9000} {
		net, a, b := pair(1, simnet.Link{MTU: mtu})
		a.send(b, strings.Repeat("x", mtu-28))
		a.send(b, strings.Repeat("x", mtu-27))
		net.Run(time.Second)
		if len(b.got) != 1 || len(b.got[0]) != mtu-28 || net.Stats().Dropped(simnet.DropMTU) != 1 {
			t.Errorf("MTU %d: %d arrived, %d dropped", mtu, len(b.got), net.Stats().Dropped(simnet.DropMTU))
		}
	}
}

func TestLinksThatMakeNoSenseAreRefused(t *testing.T) {
	pareto := simnet.Distribution{Shape: simnet.Pareto, Scale: ms, Form: 1, Most: time.Second}
	tail := func(change func(*simnet.Distribution)) simnet.Link {
		d := pareto
		change(&d)
		return simnet.Link{Tail: d}
	}
	refused := func(f func()) (yes bool) {
		defer func() { yes = recover() != nil }()
		f()
		return false
	}
	tests := []struct {
		name string
		link simnet.Link
	}{
		{"negative delay", simnet.Link{Delay: -1}},
		{"negative spread", simnet.Link{Spread: -1}},
		{"negative jitter", simnet.Link{Jitter: -1}},
		{"negative spell", simnet.Link{Burst: 0.5, BurstFor: -1}},
		{"negative lateness", simnet.Link{Reorder: 0.5, Late: -1}},
		{"negative staleness", simnet.Link{Replay: 0.5, Stale: -1}},
		{"negative MTU", simnet.Link{MTU: -1}},
		{"negative hops", simnet.Link{Hops: -1}},
		{"negative bandwidth", simnet.Link{Bandwidth: -1}},
		{"negative queue", simnet.Link{Bandwidth: 1, Queue: -1}},
		{"loss above 1", simnet.Link{Loss: 1.1}},
		{"negative loss", simnet.Link{Loss: -0.1}},
		{"loss that is no number", simnet.Link{Loss: math.NaN()}},
		{"bursts above 1", simnet.Link{Burst: 1.1}},
		{"reordering above 1", simnet.Link{Reorder: 1.1}},
		{"duplicates above 1", simnet.Link{Duplicate: 1.1}},
		{"replays above 1", simnet.Link{Replay: 1.1}},
		{"spells without bursts", simnet.Link{BurstFor: time.Second}},
		{"nothing that is late", simnet.Link{Late: time.Second}},
		{"nothing that is stale", simnet.Link{Stale: time.Second}},
		{"queue without a bandwidth", simnet.Link{Queue: 1}},
		{"tail of an unknown shape", tail(func(d *simnet.Distribution) { d.Shape = simnet.Pareto + 1 })},
		{"tail without a shape", tail(func(d *simnet.Distribution) { d.Shape = simnet.None })},
		{"tail without a scale", tail(func(d *simnet.Distribution) { d.Scale = 0 })},
		{"tail without a form", tail(func(d *simnet.Distribution) { d.Form = 0 })},
		{"tail with an immense form", tail(func(d *simnet.Distribution) { d.Form = 1e6 })},
		{"tail without a bound", tail(func(d *simnet.Distribution) { d.Most = 0 })},
		{"uniform tail with a form", tail(func(d *simnet.Distribution) { d.Shape, d.Most = simnet.Uniform, 0 })},
		{"constant tail with a bound", tail(func(d *simnet.Distribution) { d.Shape, d.Form = simnet.Constant, 0 })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !refused(func() { simnet.New(simnet.Config{Link: test.link}) }) {
				t.Error("accepted")
			}
		})
	}
	if refused(func() { simnet.New(simnet.Config{Link: simnet.Link{Tail: pareto, Loss: 1, Queue: 1, Bandwidth: 1}}) }) {
		t.Error("a good link was refused")
	}
	bad := simnet.Link{Loss: 2}
	net, a, b := pair(1, simnet.Link{})
	r := net.AddRouter("r", simnet.Open(), netip.Addr{})
	for where, set := range map[string]func(){
		"of a pair": func() { net.SetLink(a.Host, b.Host, bad) }, "of a segment": func() { net.Internet().SetLink(bad) },
		"of a LAN": func() { net.AddLAN("lan", bad) }, "of a host": func() { a.SetAccess(bad) }, "of a router": func() { r.SetAccess(bad) },
		"of faults": func() { net.Inject(simnet.Faults{Link: bad}, simnet.Victims{}) },
	} {
		if !refused(set) {
			t.Errorf("a bad link %s was accepted", where)
		}
	}
}

// Quantiles by hand: of a log-normal, one and two standard deviations; of a Pareto, powers of its form.
func TestTailsHaveTheirQuantiles(t *testing.T) {
	sec := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	tests := []struct {
		name  string
		d     simnet.Distribution
		least time.Duration
		at    map[float64]time.Duration
		most  time.Duration
	}{
		{"constant", simnet.Distribution{Shape: simnet.Constant, Scale: sec(1)}, sec(1), map[float64]time.Duration{0.5: sec(1)}, sec(1)},
		{"uniform", simnet.Distribution{Shape: simnet.Uniform, Scale: sec(1)}, 0, map[float64]time.Duration{0.1: sec(0.1), 0.5: sec(0.5), 0.9: sec(0.9)}, sec(1)},
		{"log-normal", simnet.Distribution{Shape: simnet.LogNormal, Scale: sec(1), Form: math.Ln2, Most: sec(20)}, 0,
			map[float64]time.Duration{0.02275: sec(0.25), 0.15866: sec(0.5), 0.5: sec(1), 0.84134: sec(2), 0.97725: sec(4)}, sec(20)},
		{"Pareto", simnet.Distribution{Shape: simnet.Pareto, Scale: sec(1), Form: 2, Most: sec(20)}, sec(1),
			map[float64]time.Duration{0.75: sec(2), 0.9375: sec(4), 0.99: sec(10)}, sec(20)},
		{"cut off", simnet.Distribution{Shape: simnet.Pareto, Scale: sec(1), Form: 0.5, Most: sec(4)}, sec(1),
			map[float64]time.Duration{0.29289: sec(2), 0.5: sec(4), 0.9: sec(4)}, sec(4)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const count = 20_000
			net, a, b := pair(1, simnet.Link{Delay: 10 * ms, Tail: test.d})
			var delays []time.Duration
			for range count {
				sent := net.Now()
				a.send(b, "x")
				net.Run(time.Minute)
				delays = append(delays, b.times[len(b.times)-1]-sent-10*ms)
			}
			slices.Sort(delays)
			if delays[0] < test.least || delays[count-1] > test.most {
				t.Errorf("from %v to %v", delays[0], delays[count-1])
			}
			for u, want := range test.at {
				if got := test.d.Quantile(u); got < want*999/1000 || got > want*1001/1000 {
					t.Errorf("quantile %v: %v, want %v", u, got, want)
				}
				got := delays[int(u*count)]
				if got < want*93/100 || got > want*107/100 {
					t.Errorf("quantile %v of %d datagrams: %v, want about %v", u, count, got, want)
				}
			}
		})
	}
}

func TestDatagramsOvertakeEachOtherByTheTail(t *testing.T) {
	net, a, b := pair(1, simnet.Link{Tail: simnet.Distribution{Shape: simnet.Uniform, Scale: 100 * ms}})
	for i := range 100 {
		a.send(b, fmt.Sprintf("%02d", i))
	}
	net.Run(time.Second)
	if len(b.got) != 100 || slices.IsSorted(b.got) {
		t.Errorf("arrived in the order of sending: %q", b.got)
	}
}

// A late datagram does not hold up those that overtake it, even where they enter a queue after that.
func TestQueueDoesNotWaitForTheLate(t *testing.T) {
	tests := []struct {
		name string
		link simnet.Link
	}{
		{"reordered", simnet.Link{Reorder: 0.5, Late: time.Second}},
		{"of a tail", simnet.Link{Tail: simnet.Distribution{Shape: simnet.Uniform, Scale: time.Second}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, a, b := pair(1, simnet.Link{Bandwidth: 100_000, Queue: 2_000})
			a.SetAccess(test.link)
			for i := range 100 { // at half the bandwidth
				net.AfterFunc(time.Duration(i)*20*ms, func() { a.send(b, strings.Repeat("x", 972)) })
			}
			net.Run(time.Minute)
			if len(b.got) != 100 || slices.Max(b.times) > 3010*ms {
				t.Errorf("%d of 100 arrived, the last after %v", len(b.got), slices.Max(b.times))
			}
			for range 100 { // all at once
				a.send(b, strings.Repeat("x", 972))
			}
			net.Run(time.Minute)
			if n := len(b.got) - 100; n != 2 && n != 3 {
				t.Errorf("%d of a burst arrived, want one on the wire and 2000 bytes of queue", n)
			}
		})
	}
}
