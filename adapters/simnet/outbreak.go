package simnet

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// Victims are the machines and routers that faults may hit.
type Victims struct {
	// Hosts are machines: a host that was restarted meanwhile is included.
	Hosts   []*Host
	Routers []*Router
	// Groups are subsets that faults may be limited to.
	Groups []Group
	// Restart starts the software on a machine that has booted again after a crash; without it no host crashes.
	Restart func(*Host)
	// Renumber returns a free public address for a router; without it routers keep their addresses.
	Renumber func(*Router) netip.Addr
}

// Group is a named subset of the victims. A fault limited to a group without a possible victim, such as reboots where there
// is no router, strikes all victims.
type Group struct {
	Name    string
	Hosts   []*Host
	Routers []*Router
}

// Outbreak is a set of faults in progress.
type Outbreak struct {
	net      *Net
	faults   Faults
	victims  Victims
	machines []*machine
	ends     []func() // of the faults that last as long as the outbreak
	active   []*activeFault
	struck   map[FaultKind]int
	healed   bool
}

// activeFault is a fault in progress that ends by itself, if the outbreak does not end first.
type activeFault struct{ end func() }

// cut is a partition of the internet into two sides.
type cut uint8

const (
	cutNone cut = iota
	cutBoth
	cutUp // only from side 0 to side 1
)

// String returns the kind as it appears in traces.
func (c cut) String() string { return [...]string{"none", "both-ways", "one-way"}[c] }

func (c cut) between(from, to uint8) bool { return from < to || c == cutBoth && from > to }

// faulty is the effect of a fault on the datagrams of one node.
type faulty struct {
	out, in  Link
	up, down queue
}

// Inject starts faults, which strike until the outbreak is healed. A net has one outbreak at a time. Invalid faults and
// unknown groups panic.
func (n *Net) Inject(f Faults, v Victims) *Outbreak {
	if n.outbreak != nil {
		panic("simnet: the net already has an outbreak")
	}
	f.check()
	o := &Outbreak{net: n, faults: f, victims: v, struck: map[FaultKind]int{}}
	n.outbreak = o
	n.main.mark(markScenario, f.Seed)
	o.machines = machinesOf(v.Hosts)
	o.degradeLinks()
	o.skewClocks()
	o.every(FaultPartition, f.Partitions, 1, o.partition(f.Partitions.At))
	o.everyHost(FaultSleep, f.Sleeps, o.sleep)
	o.everyHost(FaultStrain, f.Strains, o.slowDown)
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

// Struck returns how often a kind of faults has struck so far; for links and clocks, the number of victims.
func (o *Outbreak) Struck(kind FaultKind) int { return o.struck[kind] }

// group returns the group that a fault is limited to, or nil for all victims.
func (o *Outbreak) group(at string) *Group {
	if at == "" {
		return nil
	}
	for i := range o.victims.Groups {
		if g := &o.victims.Groups[i]; g.Name == at {
			return g
		}
	}
	panic("simnet: unknown group of victims: " + at)
}

// hosts returns the machines that a fault may hit.
func (o *Outbreak) hosts(at string) []*machine {
	if g := o.group(at); g != nil && len(g.Hosts) > 0 {
		return machinesOf(g.Hosts)
	}
	return o.machines
}

// routers returns the routers that a fault may hit.
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

// Heal ends all faults at once: sleeping hosts wake, crashed ones restart, clocks are corrected, links are restored. Lost
// sessions and datagrams stay lost.
func (o *Outbreak) Heal() {
	if o.healed {
		return
	}
	o.healed = true
	o.net.outbreak = nil
	o.net.main.mark(markScenario, ^o.faults.Seed)
	active := o.active
	o.active = nil
	for _, t := range active {
		t.end()
	}
	for _, end := range o.ends {
		end()
	}
}

// strike applies a fault to a random victim. It reports false if the fault does not apply to it. The end of a fault that
// lasts is not nil.
type strike func(random *dice) (end func(), struck bool)

// every strikes repeatedly, at one of the victims each time.
func (o *Outbreak) every(kind FaultKind, s Spell, victims int, strike strike) {
	if s.Every <= 0 || victims == 0 {
		return
	}
	random := dice(split(o.faults.Seed, "faults/"+string(kind)))
	mean := max(s.Every/time.Duration(victims), 1)
	var next func()
	next = func() {
		if o.healed {
			return
		}
		duration := random.about(s.For)
		end, struck := strike(&random)
		if struck {
			o.struck[kind]++
		}
		if end != nil {
			t := &activeFault{end}
			o.active = append(o.active, t)
			o.net.AfterFunc(duration, func() { o.over(t) })
		}
		wait := random.about(mean)
		if o.faults.Lasts > 0 && o.struck[kind] == 0 {
			wait = min(wait, o.faults.Lasts/firstTries)
		}
		o.net.AfterFunc(wait, next)
	}
	first := random.about(mean)
	if half := o.faults.Lasts / 2; half > 0 && first > half {
		sooner := dice(split(o.faults.Seed, "faults/first/"+string(kind)))
		first = time.Duration(sooner.below(int64(half)))
	}
	o.net.AfterFunc(first, next)
}

func (o *Outbreak) everyHost(kind FaultKind, s Spell, hit func(*machine, *dice) (end func(), struck bool)) {
	all := o.hosts(s.At)
	o.every(kind, s, len(all), func(random *dice) (func(), bool) { return hit(all[random.below(int64(len(all)))], random) })
}

func (o *Outbreak) everyRouter(kind FaultKind, s Spell, can func(*Router) bool, hit func(*Router) (end func(), struck bool)) {
	all := o.routers(s.At, can)
	o.every(kind, s, len(all), func(random *dice) (func(), bool) { return hit(all[random.below(int64(len(all)))]) })
}

// over ends an active fault, unless the outbreak was healed before.
func (o *Outbreak) over(t *activeFault) {
	if i := slices.Index(o.active, t); i >= 0 {
		o.active = slices.Delete(o.active, i, i+1)
		t.end()
	}
}

// shares draws the severity of a fault for each of some nodes, in each of some ways: none for half of them, nearly all of
// it for few, and a fifth at least for the worst-affected one. The result has all ways of one node, then those of the next.
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
		random := dice(split(o.faults.Seed, ways[0]+"/least"))
		all[random.below(int64(len(all)))] = random.between(leastShare, 1)
	}
	return all
}

// degradeLinks gives nodes their shares of bad links.
func (o *Outbreak) degradeLinks() {
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

// share returns the link at a share x of its severity.
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

// skewClocks makes the clocks of machines drift.
func (o *Outbreak) skewClocks() {
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
	return func(random *dice) (func(), bool) {
		n := o.net
		salt, oneWay := random.next(), random.hit(0.5)
		if n.cut != cutNone || len(o.machines) == 0 {
			return nil, false
		}
		n.cut = cutBoth
		if oneWay {
			n.cut = cutUp
		}
		n.main.note("", "partition-"+n.cut.String())
		if g := o.group(at); g != nil && len(g.Hosts) > 0 {
			o.sever(g, uint8(salt&1))
		} else {
			o.divide(salt)
		}
		return func() {
			n.cut = cutNone
			n.main.note("", "partition-ends")
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

// divide puts the victims on one side or the other at random, never all of them on the same. Machines that are not victims
// are on side 0.
func (o *Outbreak) divide(salt uint64) {
	alike := true
	first := o.machines[0].top()
	for _, m := range o.machines {
		top := m.top()
		top.side = uint8(mix(salt, top.salt) & 1)
		alike = alike && top.side == first.side
	}
	if alike { // one goes to the other side, and a single victim to side 1, away from all other machines
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

func (o *Outbreak) slowDown(m *machine, random *dice) (func(), bool) {
	cost := time.Duration(random.between(1e3, float64(max(o.faults.TurnCost, 1e3))))
	if m.slowed {
		return nil, false
	}
	old := m.turnCost
	m.slowed = true
	o.net.main.note(m.name, "strained")
	m.setTurnCost(old + cost)
	return func() {
		m.slowed = false
		m.setTurnCost(old)
	}, true
}

func (o *Outbreak) jump(m *machine, random *dice) (func(), bool) {
	by := time.Duration(random.below(2*int64(o.faults.Jump)+1)) - o.faults.Jump
	m.clock.Jump(by)
	o.net.main.note(m.name, "clock-jump "+by.String())
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
