package simnet

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
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

// Spell is a fault that comes and goes. Both times are means; the real ones are drawn, most of them shorter and
// a few much longer.
type Spell struct {
	Every time.Duration // between two of them at one and the same victim; 0 means never
	For   time.Duration // how long one lasts
	At    string        // the group of victims that it strikes (Victims.Groups); "" means all of them
}

// Faults are what goes wrong on a net for a while. The zero Faults are none.
type Faults struct {
	// Seed decides who is hit when, and how hard.
	Seed uint64
	// Lasts is how long the faults will be loose at least. Each that is there strikes somebody within that time, then,
	// however rare it is. 0 means that nobody knows, and luck decides.
	Lasts time.Duration

	// Link is the worst that happens to datagrams on their way from or to a victim, on top of what its links do to
	// them. Each victim has its own share of it, in each direction: half of them nothing, few nearly all, and somebody a
	// fifth at least. Half a share of a bandwidth is twice the bandwidth. It cannot have hops.
	Link   Link
	LinkAt string // a group, as Spell.At
	// Partitions cut the internet between the victims in two parts, at random, or one group off from the others; half of
	// the partitions cut one direction only. Who is behind one router stays together, and that router sees nothing of
	// what the other side sends.
	Partitions Spell

	// Sleeps suspend hosts.
	Sleeps Spell
	// Crashes end hosts, which are restarted afterwards. They need Victims.Restart.
	Crashes Spell
	// Strains make hosts slow: TurnCost at most.
	Strains  Spell
	TurnCost time.Duration
	// Jumps put wall clocks wrong, by Jump at most and in either direction, until they jump back.
	Jumps Spell
	Jump  time.Duration
	// Drift is the most by which steady clocks go wrong, and WallDrift wall clocks, in seconds per second and in
	// either direction. It lasts as long as the faults do.
	Drift, WallDrift     float64
	DriftAt, WallDriftAt string // groups, as Spell.At

	// Reboots make routers forget their tables; they drop everything for as long as it takes.
	Reboots Spell
	// Renumberings give routers another public address. They need Victims.Renumber; For is not used.
	Renumberings Spell
}

// check panics where a fault could not be what was asked for.
func (f *Faults) check() {
	refuse := func(bad bool, why string) {
		if bad {
			panic(fmt.Sprintf("simnet: %s: %+v", why, *f))
		}
	}
	f.Link.check()
	refuse(f.Link.Hops != 0, "a bad link does not make the way longer")
	for _, s := range [...]Spell{f.Partitions, f.Sleeps, f.Crashes, f.Strains, f.Jumps, f.Reboots, f.Renumberings} {
		refuse(s.Every < 0 || s.For < 0, "times have no sign")
	}
	refuse(min(f.TurnCost, f.Jump, f.Lasts) < 0, "times have no sign")
	refuse(!(f.Drift >= 0 && f.Drift < 1) || !(f.WallDrift >= 0 && f.WallDrift < 1), "clocks go forward, and drift has no sign")
	refuse(f.Strains.Every > 0 && f.TurnCost == 0, "strains that cost nothing")
	refuse(f.Jumps.Every > 0 && f.Jump == 0, "jumps to where the clock is")
}

// DrawFaults draws faults by swarm: each kind is absent from about half of all draws, and where it is not, it is
// anything from a nuisance to a plague. Runs differ in kind, then, and not only in luck. Each kind is drawn by itself, so
// that one kind more moves no other; and where groups are given, it strikes one of them or all victims.
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
	if luck := d.of("mtu"); luck.hit(0.3) {
		l.MTU = 1280 + int(luck.below(200))
	}
	return f
}

// draw is how faults are drawn: each by luck of its own.
type draw struct {
	seed   uint64
	groups []string
}

func (d draw) of(what string) dice { return dice(split(d.seed, "faults/draw/"+what)) }

// always draws a time for something that may be there or not.
func (d draw) always(what string, least, most time.Duration) time.Duration {
	luck := d.of(what)
	return time.Duration(luck.between(float64(least), float64(most)))
}

// chance draws whether there is something, and how much.
func (d draw) chance(what string, least, most float64) float64 {
	luck := d.of(what)
	if !luck.hit(0.5) {
		return 0
	}
	return luck.between(least, most)
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

// tail draws an extra delay of single datagrams.
func (d draw) tail() Distribution {
	luck := d.of("tail")
	if !luck.hit(0.5) {
		return Distribution{}
	}
	t := Distribution{
		Shape: Uniform + Shape(luck.below(3)), Scale: time.Duration(luck.between(1e6, 300e6)),
	}
	switch t.Shape {
	case LogNormal:
		t.Form = luck.between(0.2, 2)
	case Pareto:
		t.Form = luck.between(0.5, 4)
	}
	if t.Form > 0 {
		t.Most = time.Duration(luck.between(float64(t.Scale), 10e9))
	}
	return t
}

// group draws one of the groups, or all victims.
func (d draw) group(what string) string {
	luck := d.of(what + "-at")
	i := luck.below(int64(len(d.groups)) + 1)
	if i == 0 {
		return ""
	}
	return d.groups[i-1]
}

// between draws from least to most so that all orders of magnitude are equally likely.
func (d *dice) between(least, most float64) float64 {
	return least * math.Pow(most/least, unit(d.next()))
}

// about draws around a mean: exponentially, as what happens without memory does, and ten times the mean at most.
func (d *dice) about(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * min(-math.Log(1-unit(d.next())), 10))
}

// Victims are whom faults may hit.
type Victims struct {
	// Hosts are machines: a host that was restarted meanwhile is meant as well.
	Hosts   []*Host
	Routers []*Router
	// Groups are parts of them that faults may be aimed at.
	Groups []Group
	// Restart starts the software on a machine that crashed and has just booted again; without it no host crashes.
	Restart func(*Host)
	// Renumber returns a free public address for a router; without it no router gets one.
	Renumber func(*Router) netip.Addr
}

// Group is some of the victims by their name. A fault that is aimed at a group in which it can hit nobody, as reboots
// can where there is no router, strikes all victims.
type Group struct {
	Name    string
	Hosts   []*Host
	Routers []*Router
}

// Outbreak is faults under way.
type Outbreak struct {
	net      *Net
	faults   Faults
	victims  Victims
	machines []*machine
	ends     []func() // of what lasts as long as the outbreak
	troubles []*trouble
	struck   map[FaultKind]int
	healed   bool
}

// trouble is a fault that ends by itself, if the outbreak does not before.
type trouble struct{ end func() }

// cut is a partition of the internet into two sides.
type cut uint8

const (
	cutNone cut = iota
	cutBoth
	cutUp // only from side 0 to side 1
)

// String returns the kind as it stands in traces.
func (c cut) String() string { return [...]string{"none", "both-ways", "one-way"}[c] }

func (c cut) between(from, to uint8) bool { return from < to || c == cutBoth && from > to }

// faulty is what a fault does to the datagrams of one node.
type faulty struct {
	out, in  Link
	up, down queue
}

// Inject lets faults loose until the outbreak is healed. Outbreaks of one net come one after the other. Faults that
// make no sense panic, as a group does that nobody knows.
func (n *Net) Inject(f Faults, v Victims) *Outbreak {
	if n.outbreak != nil {
		panic("simnet: an outbreak inside an outbreak")
	}
	f.check()
	o := &Outbreak{net: n, faults: f, victims: v, struck: map[FaultKind]int{}}
	n.outbreak = o
	n.mark(markScenario, f.Seed)
	o.machines = machinesOf(v.Hosts)
	o.infect()
	o.misclock()
	o.every(FaultPartition, f.Partitions, 1, o.partition(f.Partitions.At))
	o.everyHost(FaultSleep, f.Sleeps, o.sleep)
	o.everyHost(FaultStrain, f.Strains, o.strain)
	o.everyHost(FaultJump, f.Jumps, o.jump)
	o.everyRouter(FaultReboot, f.Reboots, nil, o.reboot)
	if v.Restart != nil {
		o.everyHost(FaultCrash, f.Crashes, o.crash)
	}
	if v.Renumber != nil {
		o.everyRouter(FaultRenumber, f.Renumberings, (*Router).translates, o.renumber)
	}
	return o
}

func machinesOf(hosts []*Host) (machines []*machine) {
	for _, h := range hosts {
		machines = append(machines, h.m)
	}
	return machines
}

// Struck returns how often a kind of faults has struck so far; for links and clocks that go wrong, how many victims
// they hit.
func (o *Outbreak) Struck(kind FaultKind) int { return o.struck[kind] }

// group returns the group that a fault is aimed at, or nil for all victims.
func (o *Outbreak) group(at string) *Group {
	if at == "" {
		return nil
	}
	for i := range o.victims.Groups {
		if g := &o.victims.Groups[i]; g.Name == at {
			return g
		}
	}
	panic("simnet: faults for a group of victims that is not there: " + at)
}

// hosts returns the machines that a fault is aimed at.
func (o *Outbreak) hosts(at string) []*machine {
	if g := o.group(at); g != nil && len(g.Hosts) > 0 {
		return machinesOf(g.Hosts)
	}
	return o.machines
}

// routers returns the routers that a fault is aimed at, among those that it can hit.
func (o *Outbreak) routers(at string, can func(*Router) bool) []*Router {
	able := func(all []*Router) (some []*Router) {
		for _, r := range all {
			if can == nil || can(r) {
				some = append(some, r)
			}
		}
		return some
	}
	if g := o.group(at); g != nil {
		if some := able(g.Routers); len(some) > 0 {
			return some
		}
	}
	return able(o.victims.Routers)
}

// Heal ends all faults at once: sleepers wake, the crashed restart, clocks go right, links do what they did
// before. Sessions and datagrams that were lost stay lost.
func (o *Outbreak) Heal() {
	if o.healed {
		return
	}
	o.healed = true
	o.net.outbreak = nil
	o.net.mark(markScenario, ^o.faults.Seed)
	troubles := o.troubles
	o.troubles = nil
	for _, t := range troubles {
		t.end()
	}
	for _, end := range o.ends {
		end()
	}
}

// strike hits somebody, if luck has not chosen one to whom that means nothing just now. A strike that lasts has an end.
type strike func(luck *dice) (end func(), struck bool)

// every strikes again and again, at one of some victims each time.
func (o *Outbreak) every(kind FaultKind, s Spell, victims int, strike strike) {
	if s.Every <= 0 || victims == 0 {
		return
	}
	luck := dice(split(o.faults.Seed, "faults/"+string(kind)))
	mean := max(s.Every/time.Duration(victims), 1)
	var next func()
	next = func() {
		if o.healed {
			return
		}
		duration := luck.about(s.For)
		end, struck := strike(&luck)
		if struck {
			o.struck[kind]++
		}
		if end != nil {
			t := &trouble{end}
			o.troubles = append(o.troubles, t)
			o.net.AfterFunc(duration, func() { o.over(t) })
		}
		wait := luck.about(mean)
		if o.faults.Lasts > 0 && o.struck[kind] == 0 {
			wait = min(wait, o.faults.Lasts/firstTries)
		}
		o.net.AfterFunc(wait, next)
	}
	first := luck.about(mean)
	if half := o.faults.Lasts / 2; half > 0 && first > half {
		sooner := dice(split(o.faults.Seed, "faults/first/"+string(kind)))
		first = time.Duration(sooner.below(int64(half)))
	}
	o.net.AfterFunc(first, next)
}

func (o *Outbreak) everyHost(kind FaultKind, s Spell, hit func(*machine, *dice) (end func(), struck bool)) {
	all := o.hosts(s.At)
	o.every(kind, s, len(all), func(luck *dice) (func(), bool) { return hit(all[luck.below(int64(len(all)))], luck) })
}

func (o *Outbreak) everyRouter(kind FaultKind, s Spell, can func(*Router) bool, hit func(*Router) (end func(), struck bool)) {
	all := o.routers(s.At, can)
	o.every(kind, s, len(all), func(luck *dice) (func(), bool) { return hit(all[luck.below(int64(len(all)))]) })
}

// over ends a trouble that the healing has not ended yet.
func (o *Outbreak) over(t *trouble) {
	if i := slices.Index(o.troubles, t); i >= 0 {
		o.troubles = slices.Delete(o.troubles, i, i+1)
		t.end()
	}
}

// shares draws how hard something hits each of some nodes, in each of some ways: half of them not at all, few with
// nearly all of it, and somebody with a fifth at least. It goes through the ways of one node after the other.
func (o *Outbreak) shares(of []*node, ways ...string) []float64 {
	var all []float64
	for _, node := range of {
		for _, way := range ways {
			x := 0.0
			if u := unit(mix(split(o.faults.Seed, way), node.salt)); u >= 0.5 {
				x = math.Pow(2*u-1, 3)
			}
			all = append(all, x)
		}
	}
	if len(all) > 0 && slices.Max(all) < leastShare {
		luck := dice(split(o.faults.Seed, ways[0]+"/least"))
		all[luck.below(int64(len(all)))] = luck.between(leastShare, 1)
	}
	return all
}

// infect gives nodes their shares of bad links.
func (o *Outbreak) infect() {
	if o.faults.Link == (Link{}) {
		return
	}
	machines, routers := o.machines, o.victims.Routers
	if g := o.group(o.faults.LinkAt); g != nil && len(g.Hosts)+len(g.Routers) > 0 {
		machines, routers = machinesOf(g.Hosts), g.Routers
	}
	var nodes []*node
	for _, m := range machines {
		nodes = append(nodes, &m.node)
	}
	for _, r := range routers {
		nodes = append(nodes, &r.node)
	}
	shares := o.shares(nodes, "out", "in")
	for i, of := range nodes {
		out, in := shares[2*i], shares[2*i+1]
		if out > 0 || in > 0 {
			o.struck[FaultLink]++
		}
		of.faulty = &faulty{out: o.faults.Link.share(out), in: o.faults.Link.share(in)}
		o.ends = append(o.ends, func() { of.faulty = nil })
	}
}

// share returns a link that is only partly as bad.
func (l Link) share(x float64) Link {
	if x == 0 {
		return Link{MTU: loopbackMTU}
	}
	if l.MTU == 0 {
		l.MTU = loopbackMTU
	}
	l.Delay, l.Spread, l.Jitter, l.Tail = scale(l.Delay, x), scale(l.Spread, x), scale(l.Jitter, x), l.Tail.scaled(x)
	l.Loss, l.Burst, l.Reorder, l.Duplicate, l.Replay = l.Loss*x, l.Burst*x, l.Reorder*x, l.Duplicate*x, l.Replay*x
	if wider := float64(l.Bandwidth) / x; wider < immense {
		l.Bandwidth = int64(wider)
	} else {
		l.Bandwidth = 0
	}
	return l
}

func scale(d time.Duration, x float64) time.Duration { return time.Duration(float64(d) * x) }

// misclock makes the clocks of machines go wrong.
func (o *Outbreak) misclock() {
	sign := func(what string, m *machine) float64 {
		if mix(split(o.faults.Seed, what), m.salt)&1 == 0 {
			return -1
		}
		return 1
	}
	each := func(kind FaultKind, most float64, at, way string, wrong func(*machine, float64) (right func())) {
		if most == 0 {
			return
		}
		machines := o.hosts(at)
		var nodes []*node
		for _, m := range machines {
			nodes = append(nodes, &m.node)
		}
		for i, x := range o.shares(nodes, way) {
			if x > 0 {
				o.struck[kind]++
				o.ends = append(o.ends, wrong(machines[i], x*most))
			}
		}
	}
	each(FaultDrift, o.faults.Drift, o.faults.DriftAt, "drift", func(m *machine, by float64) func() {
		old := m.drift
		m.setDrift(by * sign("fast", m))
		return func() { m.setDrift(old) }
	})
	each(FaultWallDrift, o.faults.WallDrift, o.faults.WallDriftAt, "wall", func(m *machine, by float64) func() {
		old, wrong := m.clock.drift, m.clock.wrong()
		m.clock.Drift(by * sign("early", m))
		return func() {
			m.clock.Drift(old)
			m.clock.Jump(wrong - m.clock.wrong())
		}
	})
}

func (o *Outbreak) partition(at string) strike {
	return func(luck *dice) (func(), bool) {
		n := o.net
		salt, oneWay := luck.next(), luck.hit(0.5)
		if n.cut != cutNone || len(o.machines) == 0 {
			return nil, false
		}
		n.cut = cutBoth
		if oneWay {
			n.cut = cutUp
		}
		n.note("", "partition-"+n.cut.String())
		if g := o.group(at); g != nil && len(g.Hosts) > 0 {
			o.sever(g, uint8(salt&1))
		} else {
			o.divide(salt)
		}
		return func() {
			n.cut = cutNone
			n.note("", "partition-ends")
		}, true
	}
}

// sever puts a group on one side, and all other victims on the other.
func (o *Outbreak) sever(g *Group, side uint8) {
	for _, m := range o.machines {
		m.top().side = side ^ 1
	}
	for _, h := range g.Hosts {
		h.m.top().side = side
	}
}

// divide puts the victims on one side or the other at random, never all of them on the same. Who is no victim is on side 0.
func (o *Outbreak) divide(salt uint64) {
	alike := true
	first := o.machines[0].top()
	for _, m := range o.machines {
		top := m.top()
		top.side = uint8(mix(salt, top.salt) & 1)
		alike = alike && top.side == first.side
	}
	if alike { // one goes to the other side, and a single victim to the one where nobody else is
		one := o.machines[salt%uint64(len(o.machines))].top()
		one.side ^= 1
		if !slices.ContainsFunc(o.machines, func(m *machine) bool { return m.top() != one }) {
			one.side = 1
		}
	}
}

func (o *Outbreak) sleep(m *machine, _ *dice) (func(), bool) {
	h := m.host
	if h == nil || h.Asleep() {
		return nil, false
	}
	h.Sleep()
	return h.Wake, true
}

func (o *Outbreak) crash(m *machine, _ *dice) (func(), bool) {
	if m.host == nil {
		return nil, false
	}
	m.host.Crash()
	return func() {
		if m.host == nil {
			o.victims.Restart(m.boot())
		}
	}, true
}

func (o *Outbreak) strain(m *machine, luck *dice) (func(), bool) {
	cost := time.Duration(luck.between(1e3, float64(max(o.faults.TurnCost, 1e3))))
	if m.strained {
		return nil, false
	}
	old := m.turnCost
	m.strained = true
	o.net.note(m.name, "strained")
	m.setTurnCost(old + cost)
	return func() {
		m.strained = false
		m.setTurnCost(old)
	}, true
}

func (o *Outbreak) jump(m *machine, luck *dice) (func(), bool) {
	by := time.Duration(luck.below(2*int64(o.faults.Jump)+1)) - o.faults.Jump
	m.clock.Jump(by)
	o.net.note(m.name, "clock-jump "+by.String())
	return func() { m.clock.Jump(-by) }, true
}

func (o *Outbreak) reboot(r *Router) (func(), bool) {
	if r.off {
		return nil, false
	}
	r.Reboot(Reboot{})
	r.off = true
	return func() { r.off = false }, true
}

func (o *Outbreak) renumber(r *Router) (func(), bool) {
	r.SetAddr(o.victims.Renumber(r))
	return nil, true
}
