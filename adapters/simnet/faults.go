package simnet

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// Spell is a fault that comes and goes. Both times are means; the real ones are drawn, most of them shorter and
// a few much longer.
type Spell struct {
	Every time.Duration // between two of them at one and the same victim; 0 means never
	For   time.Duration // how long one lasts
}

// Faults are what goes wrong on a net for a while. The zero Faults are none.
type Faults struct {
	// Seed decides who is hit when, and how hard.
	Seed uint64

	// Link is the worst that happens to datagrams on their way from or to a victim, on top of what its links do to
	// them. Each victim has its own share of it, in each direction: half of them nothing, few nearly all.
	// Its hops, bandwidth and queue are not used.
	Link Link
	// Partitions cut the internet between the victims in two parts, at random; half of the partitions cut one direction
	// only. Who is behind one router stays together, and that router sees nothing of what the other side sends.
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
	Drift, WallDrift float64

	// Reboots make routers forget their tables; they drop everything for as long as it takes.
	Reboots Spell
	// Renumberings give routers another public address. They need Victims.Renumber; For is not used.
	Renumberings Spell
}

// DrawFaults draws faults by swarm: each kind is absent from about half of all draws, and where it is not, it is
// anything from a nuisance to a plague. Runs differ in kind, then, and not only in luck.
func DrawFaults(seed uint64) Faults {
	d := dice(split(seed, "faults"))
	f := Faults{Seed: seed}
	chance := func(least, most float64) float64 {
		present, x := d.hit(0.5), d.between(least, most) // both are drawn, so that kinds do not depend on each other
		if !present {
			return 0
		}
		return x
	}
	span := func(least, most time.Duration) time.Duration {
		return time.Duration(chance(float64(least), float64(most)))
	}
	spell := func(every, most time.Duration) Spell {
		return Spell{Every: span(every/10, every*10), For: time.Duration(d.between(float64(most)/100, float64(most)))}
	}
	f.Link = Link{
		Delay: span(time.Millisecond, 2*time.Second), Jitter: span(time.Millisecond, time.Second),
		Loss: chance(0.001, 0.6), Burst: chance(0.001, 0.4), BurstFor: time.Duration(d.between(10e6, 10e9)),
		Reorder: chance(0.001, 0.5), Duplicate: chance(0.001, 0.5), Late: time.Duration(d.between(1e6, 1e9)),
		Replay: chance(0.001, 0.1), Stale: time.Duration(d.between(1e9, 600e9)),
	}
	if d.hit(0.3) {
		f.Link.MTU = 1280 + int(d.below(200))
	}
	f.Partitions = spell(10*time.Minute, 2*time.Minute)
	f.Sleeps = spell(20*time.Minute, 10*time.Minute)
	f.Crashes = spell(20*time.Minute, time.Minute)
	f.Strains = spell(10*time.Minute, time.Minute)
	f.TurnCost = time.Duration(d.between(10e3, 100e6))
	f.Jumps = spell(30*time.Minute, 10*time.Minute)
	f.Jump = time.Duration(d.between(1e9, 24*3600e9))
	f.Drift, f.WallDrift = chance(1e-6, 1e-2), chance(1e-6, 1e-2)
	f.Reboots = spell(20*time.Minute, time.Minute)
	f.Renumberings = spell(20*time.Minute, time.Minute)
	return f
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
	// Restart starts the software on a machine that crashed and has just booted again; without it no host crashes.
	Restart func(*Host)
	// Renumber returns a free public address for a router; without it no router gets one.
	Renumber func(*Router) netip.Addr
}

// Outbreak is faults under way.
type Outbreak struct {
	net      *Net
	faults   Faults
	victims  Victims
	machines []*machine
	ends     []func() // of what lasts as long as the outbreak
	troubles []*trouble
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
type faulty struct{ out, in Link }

// Inject lets faults loose until the outbreak is healed. Outbreaks of one net come one after the other.
func (n *Net) Inject(f Faults, v Victims) *Outbreak {
	if n.outbreak != nil {
		panic("simnet: an outbreak inside an outbreak")
	}
	o := &Outbreak{net: n, faults: f, victims: v}
	n.outbreak = o
	n.mark(markScenario, f.Seed)
	for _, h := range v.Hosts {
		o.machines = append(o.machines, h.m)
		o.infect(&h.m.node)
		o.misclock(h.m)
	}
	for _, r := range v.Routers {
		o.infect(&r.node)
	}
	hosts, routers := len(o.machines), len(v.Routers)
	o.every("partition", f.Partitions, 1, o.partition)
	o.every("sleep", f.Sleeps, hosts, o.sleep)
	o.every("strain", f.Strains, hosts, o.strain)
	o.every("jump", f.Jumps, hosts, o.jump)
	o.every("reboot", f.Reboots, routers, o.reboot)
	if v.Restart != nil {
		o.every("crash", f.Crashes, hosts, o.crash)
	}
	if v.Renumber != nil {
		o.every("renumber", f.Renumberings, routers, o.renumber)
	}
	return o
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

// every strikes again and again, at one of some victims each time.
func (o *Outbreak) every(what string, s Spell, victims int, strike func(luck *dice) (end func())) {
	if s.Every <= 0 || victims == 0 {
		return
	}
	luck := dice(split(o.faults.Seed, "faults/"+what))
	mean := max(s.Every/time.Duration(victims), 1)
	var next func()
	next = func() {
		if o.healed {
			return
		}
		duration := luck.about(s.For)
		if end := strike(&luck); end != nil {
			t := &trouble{end}
			o.troubles = append(o.troubles, t)
			o.net.AfterFunc(duration, func() { o.over(t) })
		}
		o.net.AfterFunc(luck.about(mean), next)
	}
	o.net.AfterFunc(luck.about(mean), next)
}

// over ends a trouble that the healing has not ended yet.
func (o *Outbreak) over(t *trouble) {
	if i := slices.Index(o.troubles, t); i >= 0 {
		o.troubles = slices.Delete(o.troubles, i, i+1)
		t.end()
	}
}

// share draws how hard something hits a node: half of them not at all, few with nearly all of it.
func (o *Outbreak) share(of *node, what string) float64 {
	x := unit(mix(split(o.faults.Seed, what), of.salt))
	if x < 0.5 {
		return 0
	}
	return math.Pow(2*x-1, 3)
}

// infect gives a node its share of bad links.
func (o *Outbreak) infect(of *node) {
	if o.faults.Link == (Link{}) {
		return
	}
	part := func(what string) Link {
		l, x := o.faults.Link, o.share(of, what)
		if x == 0 {
			return Link{MTU: loopbackMTU}
		}
		if l.MTU == 0 {
			l.MTU = loopbackMTU
		}
		l.Delay, l.Spread, l.Jitter = scale(l.Delay, x), scale(l.Spread, x), scale(l.Jitter, x)
		l.Loss, l.Burst, l.Reorder, l.Duplicate, l.Replay = l.Loss*x, l.Burst*x, l.Reorder*x, l.Duplicate*x, l.Replay*x
		l.Hops, l.Bandwidth = 0, 0
		return l
	}
	of.faulty = &faulty{out: part("out"), in: part("in")}
	o.ends = append(o.ends, func() { of.faulty = nil })
}

func scale(d time.Duration, x float64) time.Duration { return time.Duration(float64(d) * x) }

// misclock makes the clocks of a machine go wrong.
func (o *Outbreak) misclock(m *machine) {
	sign := func(what string) float64 {
		if mix(split(o.faults.Seed, what), m.salt)&1 == 0 {
			return -1
		}
		return 1
	}
	if x := o.share(&m.node, "drift") * o.faults.Drift; x > 0 {
		old := m.drift
		m.setDrift(x * sign("fast"))
		o.ends = append(o.ends, func() { m.setDrift(old) })
	}
	if x := o.share(&m.node, "wall") * o.faults.WallDrift; x > 0 {
		old, wrong := m.clock.drift, m.clock.wrong()
		m.clock.Drift(x * sign("early"))
		o.ends = append(o.ends, func() {
			m.clock.Drift(old)
			m.clock.Jump(wrong - m.clock.wrong())
		})
	}
}

func (o *Outbreak) machine(luck *dice) *machine {
	return o.machines[luck.below(int64(len(o.machines)))]
}

func (o *Outbreak) partition(luck *dice) func() {
	n := o.net
	salt, oneWay := luck.next(), luck.hit(0.5)
	if n.cut != cutNone {
		return nil
	}
	n.cut = cutBoth
	if oneWay {
		n.cut = cutUp
	}
	n.note("", "partition-"+n.cut.String())
	for _, m := range o.machines {
		top := m.top()
		top.side = uint8(mix(salt, top.salt) & 1)
	}
	return func() {
		n.cut = cutNone
		n.note("", "partition-ends")
	}
}

func (o *Outbreak) sleep(luck *dice) func() {
	h := o.machine(luck).host
	if h == nil || h.Asleep() {
		return nil
	}
	h.Sleep()
	return h.Wake
}

func (o *Outbreak) crash(luck *dice) func() {
	m := o.machine(luck)
	if m.host == nil {
		return nil
	}
	m.host.Crash()
	return func() {
		if m.host == nil {
			o.victims.Restart(m.boot())
		}
	}
}

func (o *Outbreak) strain(luck *dice) func() {
	m, cost := o.machine(luck), time.Duration(luck.between(1e3, float64(max(o.faults.TurnCost, 1e3))))
	if m.strained {
		return nil
	}
	old := m.turnCost
	m.strained = true
	o.net.note(m.name, "strained")
	m.setTurnCost(old + cost)
	return func() {
		m.strained = false
		m.setTurnCost(old)
	}
}

func (o *Outbreak) jump(luck *dice) func() {
	m, by := o.machine(luck), time.Duration(luck.below(2*int64(o.faults.Jump)+1))-o.faults.Jump
	m.clock.Jump(by)
	o.net.note(m.name, "clock-jump "+by.String())
	return func() { m.clock.Jump(-by) }
}

func (o *Outbreak) reboot(luck *dice) func() {
	r := o.victims.Routers[luck.below(int64(len(o.victims.Routers)))]
	if r.off {
		return nil
	}
	r.Reboot(Reboot{})
	r.off = true
	return func() { r.off = false }
}

func (o *Outbreak) renumber(luck *dice) func() {
	r := o.victims.Routers[luck.below(int64(len(o.victims.Routers)))]
	if r.addr.IsValid() {
		r.SetAddr(o.victims.Renumber(r))
	}
	return nil
}
