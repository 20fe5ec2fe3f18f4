package simnet_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// town is twenty hosts, half of them behind NATs, that ask a server for an echo once a second.
type town struct {
	*simnet.Net
	server          *plug
	hosts           []*simnet.Host
	routers         []*simnet.Router
	answers         int
	slowest         time.Duration // until an answer
	starts, renames int
}

func newTown(seed uint64) *town {
	town := &town{Net: simnet.New(simnet.Config{Seed: seed, Link: simnet.Link{Delay: 10 * ms}})}
	town.server = open(town.Net, town.AddHost("server", serverX), 1)
	town.server.OnReceive(func(from netip.AddrPort, b []byte) { town.server.Send(from, 0, b) })
	for i := range 20 {
		at := town.Internet()
		if i%2 == 0 {
			r := town.AddRouter(fmt.Sprint("router", i), simnet.Symmetric(), addr(100+i))
			town.routers = append(town.routers, r)
			at = r.LAN()
		}
		h := at.AddHost(fmt.Sprint("host", i), addr(200+i))
		town.hosts = append(town.hosts, h)
		town.start(h)
	}
	return town
}

func (t *town) start(h *simnet.Host) {
	t.starts++
	s, err := h.OpenSocket(netip.AddrPortFrom(netip.Addr{}, 5000))
	if err != nil {
		panic(err)
	}
	s.OnReceive(func(_ netip.AddrPort, b []byte) {
		t.answers++
		asked, err := strconv.Atoi(string(b))
		if err != nil {
			panic(err)
		}
		t.slowest = max(t.slowest, t.Now()-time.Duration(asked))
	})
	var tick func()
	tick = func() {
		s.Send(at(serverX, 1), 0, strconv.AppendInt(nil, int64(t.Now()), 10))
		h.AfterFunc(time.Second, tick)
	}
	tick()
}

func (t *town) victims() simnet.Victims {
	return simnet.Victims{
		Hosts: t.hosts, Routers: t.routers, Restart: t.start,
		Renumber: func(*simnet.Router) netip.Addr { t.renames++; return addr(1000 + t.renames) },
	}
}

func TestEachFaultStrikesAloneAndHeals(t *testing.T) {
	often := simnet.Spell{Every: 30 * time.Second, For: 5 * time.Second}
	drops := func(why simnet.Drop) func(*town) bool {
		return func(town *town) bool { return town.Stats().Dropped(why) > 0 }
	}
	// slower checks that the slowest answer took longer than without faults, within bounds.
	slower := func(least, most time.Duration) func(*town) bool {
		return func(town *town) bool { return town.slowest > least && town.slowest < most }
	}
	tests := []struct {
		name   string
		faults simnet.Faults
		seen   func(*town) bool
	}{
		{"loss", simnet.Faults{Link: simnet.Link{Loss: 1}}, drops(simnet.DropLoss)},
		{"bursts", simnet.Faults{Link: simnet.Link{Burst: 1}}, drops(simnet.DropBurst)},
		{"small packets", simnet.Faults{Link: simnet.Link{MTU: 30}}, drops(simnet.DropMTU)},
		{"delay", simnet.Faults{Link: simnet.Link{Delay: 400 * ms}}, slower(100*ms, 820*ms)},
		{"spread", simnet.Faults{Link: simnet.Link{Spread: 400 * ms}}, slower(100*ms, 820*ms)},
		{"jitter", simnet.Faults{Link: simnet.Link{Jitter: 400 * ms}}, slower(100*ms, 820*ms)},
		{"tail", simnet.Faults{Link: simnet.Link{Tail: simnet.Distribution{Shape: simnet.Uniform, Scale: 400 * ms}}}, slower(100*ms, 820*ms)},
		{"reorder", simnet.Faults{Link: simnet.Link{Reorder: 1, Late: 400 * ms}}, slower(100*ms, 820*ms)},
		{"late duplicates", simnet.Faults{Link: simnet.Link{Duplicate: 1, Late: 400 * ms}}, slower(100*ms, 820*ms)},
		{"bandwidth", simnet.Faults{Link: simnet.Link{Bandwidth: 100}}, slower(300*ms, time.Minute)}, // 40 bytes take 400 ms
		{"short queues", simnet.Faults{Link: simnet.Link{Bandwidth: 10, Queue: 64}}, drops(simnet.DropQueue)},
		{"duplicates", simnet.Faults{Link: simnet.Link{Duplicate: 1}}, func(town *town) bool { return town.Stats().Duplicated > 0 }},
		{"replays", simnet.Faults{Link: simnet.Link{Replay: 1}}, func(town *town) bool { return town.Stats().Replayed > 0 }},
		{"partitions", simnet.Faults{Partitions: simnet.Spell{Every: 10 * time.Second, For: 5 * time.Second}}, drops(simnet.DropBlocked)},
		{"sleeps", simnet.Faults{Sleeps: often}, drops(simnet.DropAsleep)},
		{"crashes", simnet.Faults{Crashes: often}, func(town *town) bool { return town.starts > 20 }},
		{"strains", simnet.Faults{Strains: often, TurnCost: time.Minute}, func(town *town) bool { return town.answers < 20*120 }},
		{"jumps", simnet.Faults{Jumps: often, Jump: time.Hour}, func(town *town) bool {
			return slices.ContainsFunc(town.hosts, func(h *simnet.Host) bool { return h.Clock().Now() != town.Clock().Now() })
		}},
		{"drift", simnet.Faults{Drift: 0.5}, func(town *town) bool {
			return slices.ContainsFunc(town.hosts, func(h *simnet.Host) bool { return h.Now().Sub(0) != town.Now()+time.Second })
		}},
		{"wall drift", simnet.Faults{WallDrift: 0.5}, func(town *town) bool {
			return slices.ContainsFunc(town.hosts, func(h *simnet.Host) bool { return h.Clock().Now() != town.Clock().Now() })
		}},
		{"reboots", simnet.Faults{Reboots: often}, drops(simnet.DropDown)},
		{"renumberings", simnet.Faults{Renumberings: often}, func(town *town) bool { return town.renames > 0 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			town := newTown(1)
			v := town.victims()
			if test.name == "partitions" {
				v.Hosts = append(v.Hosts, town.HostAt(serverX))
			}
			outbreak := town.Inject(test.faults, v)
			town.Run(2*time.Minute + 500*time.Millisecond)
			if !test.seen(town) {
				t.Error("did not strike")
			}
			outbreak.Heal()
			outbreak.Heal()
			town.Run(11 * time.Minute) // longer than any delay
			before, dropped := town.answers, town.Stats().Dropped(0)
			town.Run(time.Minute)
			if got := town.answers - before; got != 20*60 || town.Stats().Dropped(0) != dropped {
				t.Errorf("%d answers in a minute after healing, want %d; %d dropped", got, 20*60, town.Stats().Dropped(0)-dropped)
			}
			for _, h := range town.hosts {
				if h.Clock().Now() != town.Clock().Now() {
					t.Errorf("the wall clock of %s is still wrong", h.Name())
				}
			}
		})
	}
}

func TestDrawnFaultsReplayAndDiffer(t *testing.T) {
	run := func(seed uint64) (uint64, int) {
		town := newTown(seed)
		outbreak := town.Inject(simnet.DrawFaults(seed), town.victims())
		town.Run(10 * time.Minute)
		outbreak.Heal()
		town.Run(time.Minute)
		return town.Hash(), town.answers
	}
	for seed := range uint64(5) {
		hash, answers := run(seed)
		if again, _ := run(seed); hash != again {
			t.Errorf("seed %d is two runs", seed)
		}
		if answers == 0 {
			t.Errorf("seed %d: nothing got through", seed)
		}
	}

	// Each kind is absent from about half of the draws.
	const draws = 1000
	present := map[string]int{}
	for seed := range uint64(draws) {
		f := simnet.DrawFaults(seed)
		for name, on := range map[string]bool{
			"loss": f.Link.Loss > 0, "burst": f.Link.Burst > 0, "delay": f.Link.Delay > 0, "jitter": f.Link.Jitter > 0,
			"spread": f.Link.Spread > 0, "tail": f.Link.Tail.Shape != simnet.None, "bandwidth": f.Link.Bandwidth > 0,
			"reorder": f.Link.Reorder > 0, "duplicate": f.Link.Duplicate > 0, "replay": f.Link.Replay > 0,
			"partitions": f.Partitions.Every > 0, "sleeps": f.Sleeps.Every > 0, "crashes": f.Crashes.Every > 0,
			"strains": f.Strains.Every > 0, "jumps": f.Jumps.Every > 0, "drift": f.Drift > 0, "wall drift": f.WallDrift > 0,
			"reboots": f.Reboots.Every > 0, "renumberings": f.Renumberings.Every > 0,
		} {
			if on {
				present[name]++
			}
		}
	}
	for name, n := range present {
		if n < draws*4/10 || n > draws*6/10 {
			t.Errorf("%s in %d of %d draws", name, n, draws)
		}
	}
	if len(present) != 19 {
		t.Errorf("%d kinds were ever drawn", len(present))
	}
}

func TestVictimsAreHitUnevenly(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	sink := newEnd(net, 1)
	var hosts []*simnet.Host
	var ends []*end
	for i := range 200 {
		e := newEnd(net, 2+i)
		ends, hosts = append(ends, e), append(hosts, e.Host)
	}
	net.Inject(simnet.Faults{Seed: 1, Link: simnet.Link{Loss: 1}}, simnet.Victims{Hosts: hosts})
	spared, plagued := 0, 0
	for _, e := range ends {
		before := len(sink.got)
		for range 100 {
			e.send(sink, "x")
		}
		net.Run(time.Second)
		switch lost := 100 - (len(sink.got) - before); {
		case lost == 0:
			spared++
		case lost > 50:
			plagued++
		}
	}
	if spared < 80 || spared > 140 || plagued < 5 || plagued > 50 {
		t.Errorf("of 200 hosts %d lost nothing and %d more than half", spared, plagued)
	}
}

// Every drawn fault strikes within the time of its outbreak, however rare it is.
func TestEveryDrawnFaultStrikes(t *testing.T) {
	drawn := map[simnet.FaultKind]int{}
	aimed := 0
	for seed := range uint64(30) {
		town := newTown(seed)
		v := town.victims()
		v.Groups = []simnet.Group{{Name: "one", Hosts: town.hosts[:1], Routers: town.routers[:1]}, {Name: "open", Hosts: town.hosts[1:2]}}
		f := simnet.DrawFaults(seed, "one", "open")
		f.Lasts = 2 * time.Minute
		outbreak := town.Inject(f, v)
		town.Run(f.Lasts)
		for kind, there := range map[simnet.FaultKind]bool{
			simnet.FaultLink: f.Link != simnet.Link{}, simnet.FaultPartition: f.Partitions.Every > 0,
			simnet.FaultSleep: f.Sleeps.Every > 0, simnet.FaultCrash: f.Crashes.Every > 0, simnet.FaultStrain: f.Strains.Every > 0,
			simnet.FaultJump: f.Jumps.Every > 0, simnet.FaultDrift: f.Drift > 0, simnet.FaultWallDrift: f.WallDrift > 0,
			simnet.FaultReboot: f.Reboots.Every > 0, simnet.FaultRenumber: f.Renumberings.Every > 0,
		} {
			if there {
				drawn[kind]++
			}
			if struck := outbreak.Struck(kind) > 0; struck != there {
				t.Errorf("seed %d: %s drawn: %v, struck: %v", seed, kind, there, struck)
			}
		}
		for _, s := range []simnet.Spell{f.Partitions, f.Sleeps, f.Crashes, f.Strains, f.Jumps, f.Reboots, f.Renumberings} {
			if s.At != "" {
				aimed++
			}
		}
		outbreak.Heal()
	}
	for _, kind := range simnet.FaultKinds() {
		if drawn[kind] < 5 {
			t.Errorf("%s was drawn %d times", kind, drawn[kind])
		}
	}
	if aimed < 30 {
		t.Errorf("%d faults were aimed at a group", aimed)
	}
}

// Groups change nothing but the victims of the faults.
func TestGroupsMoveNoOtherDraw(t *testing.T) {
	aimed := map[string]int{}
	for seed := range uint64(200) {
		all, grouped := simnet.DrawFaults(seed), simnet.DrawFaults(seed, "clients", "nodes")
		for _, at := range []*string{
			&grouped.LinkAt, &grouped.DriftAt, &grouped.WallDriftAt, &grouped.Partitions.At, &grouped.Sleeps.At, &grouped.Crashes.At,
			&grouped.Strains.At, &grouped.Jumps.At, &grouped.Reboots.At, &grouped.Renumberings.At,
		} {
			aimed[*at]++
			*at = ""
		}
		if all != grouped {
			t.Errorf("seed %d:\n%+v\n%+v", seed, all, grouped)
		}
	}
	if len(aimed) != 3 || aimed["clients"] < 200 || aimed["nodes"] < 200 || aimed[""] < 400 {
		t.Errorf("aimed at %v", aimed)
	}
}

func TestFaultsStrikeTheirGroupOnly(t *testing.T) {
	often := simnet.Spell{Every: 10 * time.Second, For: 5 * time.Second, At: "few"}
	tests := []struct {
		name   string
		faults simnet.Faults
		hit    func(town *town, h *simnet.Host) bool
	}{
		{"drift", simnet.Faults{Drift: 0.5, DriftAt: "few"}, func(town *town, h *simnet.Host) bool { return h.Now().Sub(0) != town.Now()+time.Second }},
		{"wall drift", simnet.Faults{WallDrift: 0.5, WallDriftAt: "few"}, func(town *town, h *simnet.Host) bool { return h.Clock().Now() != town.Clock().Now() }},
		{"jumps", simnet.Faults{Jumps: often, Jump: time.Hour}, func(town *town, h *simnet.Host) bool { return h.Clock().Now() != town.Clock().Now() }},
		{"crashes", simnet.Faults{Crashes: often}, func(_ *town, h *simnet.Host) bool { return h.Down() }},
		{"sleeps", simnet.Faults{Sleeps: often}, func(_ *town, h *simnet.Host) bool { return h.Asleep() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			town := newTown(1)
			few := town.hosts[3:7]
			v := town.victims()
			v.Groups = []simnet.Group{{Name: "few", Hosts: few}}
			test.faults.Lasts = 100 * time.Second
			town.Inject(test.faults, v)
			hit := map[string]bool{}
			for range 100 {
				town.Run(time.Second)
				for _, h := range town.hosts {
					if test.hit(town, h) {
						hit[h.Name()] = true
					}
				}
			}
			if len(hit) == 0 {
				t.Error("hit no machine")
			}
			for _, h := range few {
				delete(hit, h.Name())
			}
			if len(hit) != 0 {
				t.Errorf("hit %v as well", hit)
			}
		})
	}
}

func TestBadLinksOfAGroupHitNoOtherVictim(t *testing.T) {
	for seed := range uint64(10) {
		net := simnet.New(simnet.Config{Seed: seed})
		sink, lonely := newEnd(net, 1), newEnd(net, 2)
		hosts := []*simnet.Host{lonely.Host}
		for i := range 5 {
			hosts = append(hosts, newEnd(net, 3+i).Host)
		}
		outbreak := net.Inject(simnet.Faults{Seed: seed, Link: simnet.Link{Loss: 1}, LinkAt: "lonely"},
			simnet.Victims{Hosts: hosts, Groups: []simnet.Group{{Name: "lonely", Hosts: hosts[:1]}}})
		for range 100 {
			lonely.send(sink, "x")
			sink.send(lonely, "x")
		}
		net.Run(time.Second)
		lost := net.Stats().Dropped(simnet.DropLoss)
		if outbreak.Struck(simnet.FaultLink) != 1 || lost < 10 {
			t.Errorf("seed %d: %d hosts have a bad link, and the only one that should lost %d of 200", seed, outbreak.Struck(simnet.FaultLink), lost)
		}
	}
}

// A fault without a possible victim in its group may hit all victims.
func TestRebootsOfAGroupWithoutRoutersStrikeAnyRouter(t *testing.T) {
	town := newTown(1)
	v := town.victims()
	v.Groups = []simnet.Group{{Name: "open", Hosts: town.hosts[1:2]}}
	outbreak := town.Inject(simnet.Faults{Lasts: time.Minute, Reboots: simnet.Spell{Every: time.Hour, For: time.Second, At: "open"}}, v)
	town.Run(time.Minute)
	if outbreak.Struck(simnet.FaultReboot) == 0 {
		t.Error("did not strike")
	}
}

// Only a router with a public address can get another one.
func TestRenumberingsSpareFirewalls(t *testing.T) {
	town := newTown(1)
	v := town.victims()
	for i := range 20 {
		v.Routers = append(v.Routers, town.AddRouter(fmt.Sprint("firewall", i), simnet.FirewallOnly(), netip.Addr{}))
	}
	v.Groups = []simnet.Group{{Name: "firewalls", Routers: v.Routers[len(v.Routers)-20:]}}
	outbreak := town.Inject(simnet.Faults{Renumberings: simnet.Spell{Every: time.Minute, At: "firewalls"}}, v)
	town.Run(10 * time.Minute)
	if town.renames == 0 || outbreak.Struck(simnet.FaultRenumber) != town.renames {
		t.Errorf("%d renumbered, %d counted", town.renames, outbreak.Struck(simnet.FaultRenumber))
	}
}

func TestFaultsThatMakeNoSenseAreRefused(t *testing.T) {
	spell := simnet.Spell{Every: time.Minute, For: time.Minute}
	tests := []struct {
		name   string
		faults simnet.Faults
	}{
		{"hops", simnet.Faults{Link: simnet.Link{Hops: 1}}},
		{"negative spell", simnet.Faults{Sleeps: simnet.Spell{Every: time.Minute, For: -1}}},
		{"negative duration", simnet.Faults{Lasts: -1}},
		{"strains without a cost", simnet.Faults{Strains: spell}},
		{"jumps to the same time", simnet.Faults{Jumps: spell}},
		{"drift backwards", simnet.Faults{Drift: 1}},
		{"negative drift", simnet.Faults{WallDrift: -0.1}},
		{"unknown group", simnet.Faults{Sleeps: simnet.Spell{Every: time.Minute, At: "nobody"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			town := newTown(1)
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			town.Inject(test.faults, town.victims())
		})
	}
}

// An empty group counts as none: the faults are for all.
func TestBadLinksOfAnEmptyGroupHitAllVictims(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	hosts := []*simnet.Host{newEnd(net, 1).Host, newEnd(net, 2).Host}
	outbreak := net.Inject(simnet.Faults{Seed: 1, Link: simnet.Link{Loss: 1}, LinkAt: "empty"},
		simnet.Victims{Hosts: hosts, Groups: []simnet.Group{{Name: "empty"}}})
	if outbreak.Struck(simnet.FaultLink) == 0 {
		t.Error("no link is bad")
	}
}
