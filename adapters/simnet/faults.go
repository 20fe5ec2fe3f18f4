package simnet

import (
	"fmt"
	"math"
	"time"
)

// FaultKind is a kind of faults.
type FaultKind string

// The kinds of faults.
const (
	FaultLink      FaultKind = "link"
	FaultPartition FaultKind = "partition"
	FaultSleep     FaultKind = "sleep"
	FaultCrash     FaultKind = "crash"
	FaultStrain    FaultKind = "strain"
	FaultJump      FaultKind = "jump"
	FaultDrift     FaultKind = "drift"
	FaultWallDrift FaultKind = "wall-drift"
	FaultReboot    FaultKind = "reboot"
	FaultRenumber  FaultKind = "renumber"
)

// FaultKinds returns all kinds of faults.
func FaultKinds() []FaultKind {
	return []FaultKind{
		FaultLink, FaultPartition, FaultSleep, FaultCrash, FaultStrain, FaultJump, FaultDrift, FaultWallDrift, FaultReboot,
		FaultRenumber,
	}
}

// Spell is a fault that comes and goes. Both times are means; the actual ones are drawn, most of them shorter and a few
// much longer.
type Spell struct {
	Every time.Duration // between two of them at one and the same victim; 0 means never
	For   time.Duration // how long one lasts
	At    string        // the group of victims that it strikes (Victims.Groups); "" means all of them
}

// Faults describe a period of faults on a net. The zero Faults are none.
type Faults struct {
	// Seed decides which victims are hit when, and how hard.
	Seed uint64
	// Lasts is the least duration of the outbreak. Each kind of faults that was drawn strikes at least once within it,
	// however rare it is. 0 means unknown: rare kinds may not strike at all.
	Lasts time.Duration

	// Link is the worst case for datagrams from or to a victim, on top of its own links. Each victim has its own share of
	// it, in each direction: half of them nothing, few nearly all, and the worst-affected one a fifth at least. Half a
	// share of a bandwidth is twice the bandwidth. Hops must be 0.
	Link   Link
	LinkAt string // a group, as Spell.At
	// Partitions cut the internet between the victims in two parts, at random, or one group off from the others; half of
	// the partitions cut one direction only. Hosts behind one router stay together, and that router sees nothing of what
	// the other side sends.
	Partitions Spell

	// Sleeps suspend hosts.
	Sleeps Spell
	// Crashes crash hosts and restart them afterwards. They need Victims.Restart.
	Crashes Spell
	// Strains make hosts slow, by TurnCost at most.
	Strains  Spell
	TurnCost time.Duration
	// Jumps set wall clocks wrong, by Jump at most and in either direction, until they jump back.
	Jumps Spell
	Jump  time.Duration
	// Drift is the largest drift of steady clocks, and WallDrift of wall clocks, in seconds per second and in either
	// direction. Both last as long as the faults do.
	Drift, WallDrift     float64
	DriftAt, WallDriftAt string // groups, as Spell.At

	// Reboots make routers forget their tables; a router drops everything while it reboots.
	Reboots Spell
	// Renumberings give routers another public address. They need Victims.Renumber; For is ignored.
	Renumberings Spell
}

// check panics if a fault is invalid or would have no effect.
func (f *Faults) check() {
	refuse := func(bad bool, why string) {
		if bad {
			panic(fmt.Sprintf("simnet: %s: %+v", why, *f))
		}
	}
	f.Link.check()
	refuse(f.Link.Hops != 0, "a bad link cannot have hops")
	for _, s := range [...]Spell{f.Partitions, f.Sleeps, f.Crashes, f.Strains, f.Jumps, f.Reboots, f.Renumberings} {
		refuse(s.Every < 0 || s.For < 0, "negative duration")
	}
	refuse(min(f.TurnCost, f.Jump, f.Lasts) < 0, "negative duration")
	refuse(!(f.Drift >= 0 && f.Drift < 1) || !(f.WallDrift >= 0 && f.WallDrift < 1), "drift must be in [0, 1)")
	refuse(f.Strains.Every > 0 && f.TurnCost == 0, "strains without a turn cost")
	refuse(f.Jumps.Every > 0 && f.Jump == 0, "jumps of no length")
}

// DrawFaults draws faults by swarm: each kind is absent from about half of all draws, and otherwise anything from mild to
// severe. So runs differ in kind and not only in their draws. Each kind is drawn by itself, so that a further kind changes
// no other; where groups are given, it strikes one of them or all victims.
func DrawFaults(seed uint64, groups ...string) Faults {
	d := draw{seed, groups}
	f := Faults{
		Seed: seed, LinkAt: d.group("links"),
		Link: Link{
			Delay: d.span("delay", time.Millisecond, 2*time.Second), Spread: d.span("spread", time.Millisecond, time.Second),
			Jitter: d.span("jitter", time.Millisecond, time.Second), Tail: d.tail(),
			Loss: d.chance("loss", 0.001, 0.6), Burst: d.chance("burst", 0.001, 0.4),
			Reorder: d.chance("reorder", 0.001, 0.5), Duplicate: d.chance("duplicate", 0.001, 0.5),
			Replay:    d.chance("replay", 0.001, 0.1),
			Bandwidth: int64(d.chance("bandwidth", 20e3, 20e6)),
		},
		Partitions: d.spell("partitions", 10*time.Minute, 2*time.Minute),
		Sleeps:     d.spell("sleeps", 20*time.Minute, 10*time.Minute),
		Crashes:    d.spell("crashes", 20*time.Minute, time.Minute),
		Strains:    d.spell("strains", 10*time.Minute, time.Minute),
		TurnCost:   d.always("turn-cost", 10*time.Microsecond, 100*time.Millisecond),
		Jumps:      d.spell("jumps", 30*time.Minute, 10*time.Minute),
		Jump:       d.always("jump", time.Second, 24*time.Hour),
		Drift:      d.chance("drift", 1e-6, 1e-2), DriftAt: d.group("drift"),
		WallDrift: d.chance("wall-drift", 1e-6, 1e-2), WallDriftAt: d.group("wall-drift"),
		Reboots:      d.spell("reboots", 20*time.Minute, time.Minute),
		Renumberings: d.spell("renumberings", 20*time.Minute, time.Minute),
	}
	l := &f.Link
	if l.Burst > 0 {
		l.BurstFor = d.always("burst-for", 10*time.Millisecond, 10*time.Second)
	}
	if l.Reorder > 0 || l.Duplicate > 0 {
		l.Late = d.always("late", time.Millisecond, time.Second)
	}
	if l.Replay > 0 {
		l.Stale = d.always("stale", time.Second, 10*time.Minute)
	}
	if l.Bandwidth > 0 {
		l.Queue = int64(d.always("queue", 4<<10, 1<<20))
	}
	if random := d.of("mtu"); random.hit(0.3) {
		l.MTU = 1280 + int(random.below(200))
	}
	return f
}

// draw draws faults, each kind from a random stream of its own.
type draw struct {
	seed   uint64
	groups []string
}

func (d draw) of(what string) dice { return dice(split(d.seed, "faults/draw/"+what)) }

// always draws a duration, whether or not its fault occurs.
func (d draw) always(what string, least, most time.Duration) time.Duration {
	random := d.of(what)
	return time.Duration(random.between(float64(least), float64(most)))
}

// chance draws whether a fault occurs and its severity: 0 in half of all draws.
func (d draw) chance(what string, least, most float64) float64 {
	random := d.of(what)
	if !random.hit(0.5) {
		return 0
	}
	return random.between(least, most)
}

func (d draw) span(what string, least, most time.Duration) time.Duration {
	return time.Duration(d.chance(what, float64(least), float64(most)))
}

func (d draw) spell(what string, every, most time.Duration) Spell {
	s := Spell{Every: d.span(what, every/10, every*10)}
	if s.Every > 0 {
		s.For, s.At = d.always(what+"-for", most/100, most), d.group(what)
	}
	return s
}

// tail draws an extra delay for single datagrams.
func (d draw) tail() Distribution {
	random := d.of("tail")
	if !random.hit(0.5) {
		return Distribution{}
	}
	t := Distribution{
		Shape: Uniform + Shape(random.below(3)), Scale: time.Duration(random.between(1e6, 300e6)),
	}
	switch t.Shape {
	case LogNormal:
		t.Form = random.between(0.2, 2)
	case Pareto:
		t.Form = random.between(0.5, 4)
	}
	if t.Form > 0 {
		t.Most = time.Duration(random.between(float64(t.Scale), 10e9))
	}
	return t
}

// group draws one of the groups, or all victims.
func (d draw) group(what string) string {
	random := d.of(what + "-at")
	i := random.below(int64(len(d.groups)) + 1)
	if i == 0 {
		return ""
	}
	return d.groups[i-1]
}

// between draws from least to most so that all orders of magnitude are equally likely.
func (d *dice) between(least, most float64) float64 {
	return least * math.Pow(most/least, unit(d.next()))
}

// about draws from an exponential distribution with that mean, cut off at ten times the mean.
func (d *dice) about(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * min(-math.Log(1-unit(d.next())), 10))
}
