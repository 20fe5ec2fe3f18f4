package simnet_test

import (
	"fmt"
	"net/netip"
	"slices"
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

func (town *town) start(h *simnet.Host) {
	town.starts++
	s, err := h.OpenSocket(netip.AddrPortFrom(netip.Addr{}, 5000))
	if err != nil {
		panic(err)
	}
	s.OnReceive(func(netip.AddrPort, []byte) { town.answers++ })
	var tick func()
	tick = func() {
		s.Send(at(serverX, 1), 0, []byte("echo"))
		h.AfterFunc(time.Second, tick)
	}
	tick()
}

func (town *town) victims() simnet.Victims {
	return simnet.Victims{
		Hosts: town.hosts, Routers: town.routers, Restart: town.start,
		Renumber: func(*simnet.Router) netip.Addr { town.renames++; return addr(1000 + town.renames) },
	}
}

func TestEachFaultStrikesAloneAndHeals(t *testing.T) {
	often := simnet.Spell{Every: 30 * time.Second, For: 5 * time.Second}
	drops := func(why simnet.Drop) func(*town) bool {
		return func(town *town) bool { return town.Stats().Dropped(why) > 0 }
	}
	tests := []struct {
		name   string
		faults simnet.Faults
		seen   func(*town) bool
	}{
		{"loss", simnet.Faults{Link: simnet.Link{Loss: 1}}, drops(simnet.DropLoss)},
		{"bursts", simnet.Faults{Link: simnet.Link{Burst: 1}}, drops(simnet.DropBurst)},
		{"small packets", simnet.Faults{Link: simnet.Link{MTU: 30}}, drops(simnet.DropMTU)},
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
			town.Run(11 * time.Minute) // longer than anything that is late
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
	if len(present) != 16 {
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
