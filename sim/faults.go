package sim

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/domain"
)

// The kinds of faults, the values of Options.Without.
const (
	faultLinks      = "links"
	faultPartitions = "partitions"
	faultSleeps     = "sleeps"
	faultCrashes    = "crashes"
	faultStrains    = "strains"
	faultJumps      = "jumps"
	faultDrift      = "drift"
	faultReboots    = "reboots"
	faultMoves      = "moves"
	faultDisk       = "disk"
	faultTURN       = "turn"
)

// FaultKinds lists all kinds of faults.
func FaultKinds() []string {
	return []string{
		faultCrashes, faultDisk, faultDrift, faultJumps, faultLinks, faultMoves, faultPartitions, faultReboots, faultSleeps,
		faultStrains, faultTURN,
	}
}

// faultSet is a set of faults in a world, those of disks included.
type faultSet struct {
	simnet.Faults
	disk simstore.Config
	turn turnFaults
}

// turnFaults are faults of TURN servers and of the machines that may use them.
type turnFaults struct {
	kills  simnet.Spell  // of servers
	blocks time.Duration // between changes of whether the UDP of one of the machines is blocked
}

// drawFaults draws faults by swarm: about half of the kinds, each anything from mild to severe.
func (w *World) drawFaults() faultSet {
	t := faultSet{Faults: simnet.DrawFaults(w.opts.Seed, groupScraper, groupClients, groupNodes)}
	if r := w.randFor("disk"); r.IntN(2) == 0 {
		share := func(most float64) float64 { return most * r.Float64() * r.Float64() }
		t.disk = simstore.Config{
			Stall: share(0.5), StallFor: time.Duration(r.Int64N(int64(5 * time.Second))),
			FailWrite: share(0.5), FailLate: share(0.5), FailRead: share(0.5),
		}
	}
	if r := w.randFor("turn"); r.IntN(4) > 0 {
		between := func(least, most time.Duration) time.Duration {
			return least + time.Duration(r.Int64N(int64(most-least)))
		}
		t.turn.kills = simnet.Spell{Every: between(20*time.Second, 3*time.Minute), For: between(time.Second, 40*time.Second)}
		t.turn.blocks = between(10*time.Second, 2*time.Minute)
	}
	return t
}

// ensureFault draws a fault that a scenario is about, in place of any that was drawn: its period and its duration are
// within a factor of three of those given.
func (w *World) ensureFault(what string, s *simnet.Spell, every, last time.Duration) {
	r := w.randFor("sure " + what)
	around := func(d time.Duration) time.Duration { return time.Duration(float64(d) * math.Pow(3, 2*r.Float64()-1)) }
	s.Every, s.For = around(every), around(last)
}

// Groups of machines that faults may be limited to.
const (
	groupScraper = "scraper"
	groupClients = "clients"
	groupNodes   = "nodes"
)

// only keeps some kinds of faults.
func (f faultSet) only(kinds ...string) faultSet {
	return f.without(slices.DeleteFunc(FaultKinds(), func(k string) bool { return slices.Contains(kinds, k) })...)
}

// without removes kinds of faults.
func (f faultSet) without(kinds ...string) faultSet {
	for _, k := range kinds {
		switch k {
		case faultLinks:
			f.Link = simnet.Link{}
		case faultPartitions:
			f.Partitions = simnet.Spell{}
		case faultSleeps:
			f.Sleeps = simnet.Spell{}
		case faultCrashes:
			f.Crashes = simnet.Spell{}
		case faultStrains:
			f.Strains = simnet.Spell{}
		case faultJumps:
			f.Jumps = simnet.Spell{}
		case faultDrift:
			f.Drift, f.WallDrift = 0, 0
		case faultReboots:
			f.Reboots = simnet.Spell{}
		case faultMoves:
			f.Renumberings = simnet.Spell{}
		case faultDisk:
			f.disk = simstore.Config{}
		case faultTURN:
			f.turn = turnFaults{}
		}
	}
	return f
}

// String names the faults with their main figures.
func (f faultSet) String() string {
	var parts []string
	add := func(there bool, format string, args ...any) {
		if there {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	spell := func(what string, s simnet.Spell) {
		add(s.Every > 0, "%s every %v for %v", what, s.Every.Round(time.Second), s.For.Round(time.Second))
	}
	add(f.Link != simnet.Link{}, "links: delay %v, jitter %v, loss %.0f%%, bursts %.0f%%, reordered %.0f%%, duplicated %.0f%%, replayed %.0f%%",
		f.Link.Delay.Round(time.Millisecond), f.Link.Jitter.Round(time.Millisecond), 100*f.Link.Loss, 100*f.Link.Burst,
		100*f.Link.Reorder, 100*f.Link.Duplicate, 100*f.Link.Replay)
	spell(faultPartitions, f.Partitions)
	spell(faultSleeps, f.Sleeps)
	spell(faultCrashes, f.Crashes)
	spell(faultStrains, f.Strains)
	spell(faultJumps, f.Jumps)
	add(f.Drift > 0, "drift %.2g", f.Drift)
	add(f.WallDrift > 0, "wall clocks' drift %.2g", f.WallDrift)
	spell(faultReboots, f.Reboots)
	spell(faultMoves, f.Renumberings)
	add(f.disk != simstore.Config{}, "disk: fails %.0f%% and late %.0f%%, stalls %.0f%%, unreadable %.0f%%",
		100*f.disk.FailWrite, 100*f.disk.FailLate, 100*f.disk.Stall, 100*f.disk.FailRead)
	spell("TURN servers", f.turn.kills)
	add(f.turn.blocks > 0, "UDP blocked or passed every %v", f.turn.blocks.Round(time.Second))
	return orNone(parts)
}

// unsettles reports whether machines that stay up may lose and find their network, or sleep.
func (f faultSet) unsettles() bool {
	network := f.Link != simnet.Link{}
	// A machine that boots while the first node of the DHT is down has no network, either.
	for _, s := range []simnet.Spell{f.Partitions, f.Sleeps, f.Crashes, f.Reboots, f.Renumberings, f.turn.kills} {
		network = network || s.Every > 0
	}
	return network
}

// suffer plays two phases: faults for a while, then none, and every alias must be scrapeable within heal.
func (w *World) suffer(t faultSet, victims []*machine, during, heal time.Duration) {
	t = t.without(w.opts.Without...)
	servers := w.turnServers()
	if servers == nil {
		t = t.without(faultTURN)
	}
	w.result.faulty = true
	w.phase("faults for %v: %v", during, t)
	w.setDisks(t.disk)
	t.Lasts = during
	w.check.unrest = t.unsettles()
	stopRoaming := w.roamingDuring(t, victims)
	stopPlague := servers.plague(t.turn, during)
	outbreak := w.net.Inject(t.Faults, w.victims(victims))
	stop := make([]func(), len(w.scrapers))
	for i, s := range w.scrapers {
		stop[i] = w.prometheus(s, 15*time.Second)
	}
	w.run(during)
	for _, f := range stop {
		f()
	}
	w.setDisks(simstore.Config{})
	stopRoaming()
	stopPlague()
	w.check.tally(t, outbreak)
	outbreak.Heal()
	w.check.unrest = false
	if t.unsettles() {
		w.stirs(w.machines...)
	}
	w.result.row("faults", "%v", t)
	w.result.row("strikes", "%s", w.check.strikes())
	w.result.row("paths of scrapes", "%s", w.check.ways())
	w.result.row("scrapes under them", "%d, %d failed", w.result.Scrapes, w.failedScrapes())
	w.mustHeal(heal)
}

// setDisks sets the faults of the scrapers' disks. Members of a group have none.
func (w *World) setDisks(c simstore.Config) {
	for _, s := range w.scrapers {
		if s.disk != nil {
			s.disk.SetConfig(c)
		}
	}
}

// roamingDuring gives machines on the open internet other addresses as often as routers get them, until stop is called.
func (w *World) roamingDuring(t faultSet, victims []*machine) (stop func()) {
	stopped := false
	if t.Renumberings.Every > 0 {
		r := w.randFor("roaming")
		var at []*machine
		for _, m := range w.openHosts() {
			if slices.Contains(victims, m) {
				at = append(at, m)
			}
		}
		var next func()
		wait := func() time.Duration {
			every := t.Renumberings.Every / time.Duration(max(len(at), 1))
			return min(max(time.Duration(r.ExpFloat64()*float64(every)), time.Second), t.Lasts/2)
		}
		next = func() {
			if stopped {
				return
			}
			w.roam(at[r.IntN(len(at))])
			w.check.roamed++
			w.net.AfterFunc(wait(), next)
		}
		if len(at) > 0 {
			w.net.AfterFunc(wait(), next)
		}
	}
	return func() { stopped = true }
}

// tally counts the faults that have struck.
func (ch *checker) tally(t faultSet, o *simnet.Outbreak) {
	for _, kind := range simnet.FaultKinds() {
		ch.struck[string(kind)] += o.Struck(kind)
	}
	if t.disk != (simstore.Config{}) {
		ch.struck[faultDisk]++
	}
	ch.struck["roam"] += ch.roamed
}

// strikes returns the counts of tally as text.
func (ch *checker) strikes() string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(ch.struck)) {
		if n := ch.struck[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return orNone(parts)
}

// ways returns the paths on which scrapers were connected as text.
func (ch *checker) ways() string {
	var parts []string
	for _, p := range domain.Paths() {
		if n := ch.paths[p]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, p))
		}
	}
	return orNone(parts)
}

// mustHeal demands that every alias is scrapeable within a time, and records how long it took.
func (w *World) mustHeal(within time.Duration) {
	w.phase(healPrefix+": all aliases must be scrapeable within %v", within)
	w.healed(within, w.allScrapeable(within))
}

func (w *World) failedScrapes() uint64 { return total(w.result.ScrapesFailed) }

// victims returns machines and their routers as victims of faults.
func (w *World) victims(all []*machine) simnet.Victims {
	v := simnet.Victims{
		Restart: func(h *simnet.Host) {
			m := w.byName[h.Name()]
			w.check.crashed(m)
			m.host = h
			m.boot()
		},
		Renumber: func(*simnet.Router) netip.Addr { return w.addrs.newPublic() },
	}
	groups := map[string]*simnet.Group{}
	for _, name := range []string{groupScraper, groupClients, groupNodes} {
		groups[name] = &simnet.Group{Name: name}
	}
	group := map[*machine]string{}
	for _, s := range w.scrapers {
		group[s.machine] = groupScraper
	}
	for _, c := range w.clients {
		group[c.machine] = groupClients
	}
	for _, m := range w.nodes {
		group[m] = groupNodes
	}
	for _, m := range all {
		v.Hosts = append(v.Hosts, m.host)
		if m.router != nil {
			v.Routers = append(v.Routers, m.router)
		}
		if g := groups[group[m]]; g != nil {
			g.Hosts = append(g.Hosts, m.host)
			if m.router != nil {
				g.Routers = append(g.Routers, m.router)
			}
		}
	}
	for _, name := range []string{groupScraper, groupClients, groupNodes} {
		v.Groups = append(v.Groups, *groups[name])
	}
	return v
}
