package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
)

// The kinds of faults, by which Options.Without leaves them out.
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
)

// FaultKinds lists all kinds of faults.
func FaultKinds() []string {
	return []string{
		faultCrashes, faultDisk, faultDrift, faultJumps, faultLinks, faultMoves, faultPartitions, faultReboots, faultSleeps,
		faultStrains,
	}
}

// trouble is what goes wrong in a world for a while.
type trouble struct {
	simnet.Faults
	disk simstore.Config
}

// drawTrouble draws faults by swarm: about half of the kinds, each anything from a nuisance to a plague.
func (w *World) drawTrouble() trouble {
	t := trouble{Faults: simnet.DrawFaults(w.opts.Seed)}
	if w.rand.IntN(2) == 0 {
		share := func(most float64) float64 { return most * w.rand.Float64() * w.rand.Float64() }
		t.disk = simstore.Config{
			Stall: share(0.5), StallFor: time.Duration(w.rand.Int64N(int64(5 * time.Second))),
			FailWrite: share(0.5), FailLate: share(0.5), FailRead: share(0.5),
		}
	}
	return t
}

// only leaves nothing but some kinds of faults.
func (t trouble) only(kinds ...string) trouble {
	return t.without(slices.DeleteFunc(FaultKinds(), func(k string) bool { return slices.Contains(kinds, k) })...)
}

// without leaves kinds of faults out.
func (t trouble) without(kinds ...string) trouble {
	for _, k := range kinds {
		switch k {
		case faultLinks:
			t.Link = simnet.Link{}
		case faultPartitions:
			t.Partitions = simnet.Spell{}
		case faultSleeps:
			t.Sleeps = simnet.Spell{}
		case faultCrashes:
			t.Crashes = simnet.Spell{}
		case faultStrains:
			t.Strains = simnet.Spell{}
		case faultJumps:
			t.Jumps = simnet.Spell{}
		case faultDrift:
			t.Drift, t.WallDrift = 0, 0
		case faultReboots:
			t.Reboots = simnet.Spell{}
		case faultMoves:
			t.Renumberings = simnet.Spell{}
		case faultDisk:
			t.disk = simstore.Config{}
		}
	}
	return t
}

// String names the faults with the figures that matter.
func (t trouble) String() string {
	var parts []string
	add := func(there bool, format string, args ...any) {
		if there {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	spell := func(what string, s simnet.Spell) {
		add(s.Every > 0, "%s every %v for %v", what, s.Every.Round(time.Second), s.For.Round(time.Second))
	}
	add(t.Link != simnet.Link{}, "links: delay %v, jitter %v, loss %.0f%%, bursts %.0f%%, reordered %.0f%%, duplicated %.0f%%, replayed %.0f%%",
		t.Link.Delay.Round(time.Millisecond), t.Link.Jitter.Round(time.Millisecond), 100*t.Link.Loss, 100*t.Link.Burst,
		100*t.Link.Reorder, 100*t.Link.Duplicate, 100*t.Link.Replay)
	spell(faultPartitions, t.Partitions)
	spell(faultSleeps, t.Sleeps)
	spell(faultCrashes, t.Crashes)
	spell(faultStrains, t.Strains)
	spell(faultJumps, t.Jumps)
	add(t.Drift > 0, "drift %.2g", t.Drift)
	add(t.WallDrift > 0, "wall clocks' drift %.2g", t.WallDrift)
	spell(faultReboots, t.Reboots)
	spell(faultMoves, t.Renumberings)
	add(t.disk != simstore.Config{}, "disk: fails %.0f%% and late %.0f%%, stalls %.0f%%, unreadable %.0f%%",
		100*t.disk.FailWrite, 100*t.disk.FailLate, 100*t.disk.Stall, 100*t.disk.FailRead)
	return orNone(parts)
}

// suffer is the two phases: faults for a while, then none, and everybody must be scrapeable within heal.
func (w *World) suffer(t trouble, victims []*machine, during, heal time.Duration) {
	t = t.without(w.opts.Without...)
	w.result.faulty = true
	w.phase("faults for %v: %v", during, t)
	for _, s := range w.scrapers {
		disk := t.disk
		disk.Seed = w.opts.Seed
		s.disk.SetConfig(disk)
	}
	outbreak := w.net.Inject(t.Faults, w.victims(victims))
	stop := make([]func(), len(w.scrapers))
	for i, s := range w.scrapers {
		stop[i] = w.prometheus(s, 15*time.Second)
	}
	w.run(during)
	for _, f := range stop {
		f()
	}
	for _, s := range w.scrapers {
		s.disk.SetConfig(simstore.Config{})
	}
	outbreak.Heal()
	w.result.row("faults", "%v", t)
	w.result.row("scrapes under them", "%d, %d failed", w.result.Scrapes, w.failedScrapes())
	w.mustHeal(heal)
}

// mustHeal demands that everybody is scrapeable within a time, and tells how long it took.
func (w *World) mustHeal(within time.Duration) {
	w.phase(healPrefix+": all aliases must be scrapeable within %v", within)
	w.healed(within, w.allScrapeable(within))
}

func (w *World) failedScrapes() uint64 { return total(w.result.ScrapesFailed) }

// victims are machines with their routers.
func (w *World) victims(all []*machine) simnet.Victims {
	v := simnet.Victims{
		Restart: func(h *simnet.Host) {
			m := w.byName[h.Name()]
			w.check.crashed(m)
			m.host = h
			m.boot()
		},
		Renumber: func(*simnet.Router) netip.Addr { return w.publicAddr() },
	}
	for _, m := range all {
		v.Hosts = append(v.Hosts, m.host)
		if m.router != nil {
			v.Routers = append(v.Routers, m.router)
		}
	}
	return v
}

// nats are the kinds of routers that clients stand behind where a scenario does not care, most common first.
func nats() []place {
	return []place{
		behind(simnet.PortRestricted()), behind(simnet.Masquerade()), open, behind(simnet.FullCone()),
		behind(simnet.RestrictedCone()), behind(simnet.FirewallOnly()), behind(simnet.SymmetricRandom()), behind(simnet.MasqueradeRandom()),
	}
}

// populate boots clients of a scraper behind all kinds of routers and waits until all of them were scraped.
func (w *World) populate(s *scraper, n int, how clientSetup) {
	w.phase("%d clients", n)
	kinds := nats()
	for i := range n {
		one := how
		one.at = kinds[i%len(kinds)]
		w.addClient(s, one)
	}
	w.allScrapeable(startWithin)
}
