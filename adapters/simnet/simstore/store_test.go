package simstore_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func newHost() (*simnet.Net, *simnet.Host) {
	net := simnet.New(simnet.Config{Seed: 1})
	return net, net.AddHost("scraper", netip.MustParseAddr("192.0.2.1"))
}

func TestStoreKeepsTheContract(t *testing.T) {
	tests := []struct {
		name string
		cfg  simstore.Config
	}{
		{"good disk", simstore.Config{}},
		{"slow disk", simstore.Config{WriteTime: time.Second, Stall: 0.5}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			portstest.TestAliasStore(t, func(*testing.T) portstest.StoreBench {
				net, h := newHost()
				disk := simstore.NewDisk(test.cfg)
				return portstest.StoreBench{
					Open: func(*testing.T) ports.AliasStore { return simstore.Open(h, disk) },
					Run: func(t *testing.T, f func(func())) {
						finished := false
						h.Do(func() { f(func() { finished = true }) })
						if !net.RunUntil(func() bool { return finished }, time.Hour) {
							t.Error("done was not called")
						}
					},
				}
			})
		})
	}
}

// shelf is a store whose results are recorded.
type shelf struct {
	*simstore.Store
	results []string
}

func (s *shelf) put(n int) {
	s.Put(entry(n), func(err error) { s.results = append(s.results, fmt.Sprint(n, err)) })
}

func entry(n int) domain.Entry {
	return domain.Entry{Alias: domain.Alias(fmt.Sprintf("a%03d", n)), Key: domain.PublicKey{byte(n), 1}}
}

// aliases returns the numbers of the entries on a disk.
func aliases(t *testing.T, d *simstore.Disk) []int {
	t.Helper()
	var all []int
	for _, e := range d.Entries() {
		var n int
		if _, err := fmt.Sscanf(string(e.Alias), "a%d", &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func TestChangesOfOneTurnAreOneWrite(t *testing.T) {
	net, h := newHost()
	disk := simstore.NewDisk(simstore.Config{WriteTime: 10 * time.Millisecond})
	s := &shelf{Store: simstore.Open(h, disk)}
	for n := range 5 {
		s.put(n)
	}
	net.Run(5 * time.Millisecond)
	s.put(5)
	s.put(6)
	net.Run(10*time.Millisecond - 1)
	if len(s.results) != 5 || disk.Writes() != 1 {
		t.Errorf("results %q after %d writes", s.results, disk.Writes())
	}
	net.Run(time.Second)
	if len(s.results) != 7 || disk.Writes() != 2 {
		t.Errorf("results %q after %d writes", s.results, disk.Writes())
	}
	if copied := disk.CopyAt(1); !slices.Equal(aliases(t, copied), []int{0, 1, 2, 3, 4}) || len(disk.CopyAt(0).Entries()) != 0 {
		t.Errorf("the copy after one write has %v", aliases(t, copied))
	}
}

func TestCrashLosesWhatWasQueuedAndPerhapsWhatWasUnderWay(t *testing.T) {
	survived := 0
	const seeds = 64
	for seed := range uint64(seeds) {
		net, h := newHost()
		disk := simstore.NewDisk(simstore.Config{Seed: seed})
		s := &shelf{Store: simstore.Open(h, disk)}
		s.put(1)
		net.Run(time.Second)
		s.put(2)
		s.put(3)
		net.Run(time.Millisecond)
		s.put(4)
		h.Crash()
		net.Run(time.Second)
		if !slices.Equal(s.results, []string{"1 <nil>"}) {
			t.Fatalf("results %q", s.results)
		}
		again := simstore.Open(h.Restart(), disk)
		var loaded []domain.Entry
		again.Load(func(entries []domain.Entry, _ []error, _ error) { loaded = entries })
		net.Run(time.Second)
		switch len(loaded) {
		case 1:
		case 3:
			survived++
		default:
			t.Fatalf("seed %d: %d entries after the crash, want 1, or 3 where the write got through", seed, len(loaded))
		}
	}
	if survived < seeds/4 || survived > seeds*3/4 {
		t.Errorf("the write under way survived %d of %d crashes", survived, seeds)
	}
}

func TestPowerCutAfterEachWriteKeepsExactlyWhatWasWritten(t *testing.T) {
	for cut := 1; cut <= 5; cut++ {
		net, h := newHost()
		disk := simstore.NewDisk(simstore.Config{})
		disk.CutPower(cut, h.Crash)
		s := &shelf{Store: simstore.Open(h, disk)}
		for n := range 8 {
			h.AfterFunc(time.Duration(n)*time.Second, func() { s.put(n) })
		}
		net.Run(time.Minute)
		if !h.Down() || disk.Writes() != cut || len(aliases(t, disk)) != cut || len(s.results) != cut-1 {
			t.Errorf("cut at %d: %d writes, entries %v, results %q", cut, disk.Writes(), aliases(t, disk), s.results)
		}
	}
}

func TestWritesFailAsOftenAsSaid(t *testing.T) {
	const count = 2000
	run := func(cfg simstore.Config) (failed int, disk *simstore.Disk) {
		net, h := newHost()
		disk = simstore.NewDisk(cfg)
		s := simstore.Open(h, disk)
		for n := range count {
			h.AfterFunc(time.Duration(n)*time.Second, func() {
				s.Put(entry(n), func(err error) {
					if errors.Is(err, simstore.ErrIO) {
						failed++
					} else if err != nil {
						t.Error(err)
					}
				})
			})
		}
		net.Run(2 * count * time.Second)
		return failed, disk
	}
	failed, disk := run(simstore.Config{FailWrite: 0.2})
	if failed < count*15/100 || failed > count*25/100 || len(disk.Entries()) != count-failed {
		t.Errorf("%d of %d failed, %d on the disk", failed, count, len(disk.Entries()))
	}
	if again, _ := run(simstore.Config{FailWrite: 0.2}); again != failed {
		t.Errorf("the same seed failed %d and then %d times", failed, again)
	}
	failed, disk = run(simstore.Config{FailLate: 0.2})
	if failed < count*15/100 || failed > count*25/100 || len(disk.Entries()) != count {
		t.Errorf("%d of %d failed late, %d on the disk", failed, count, len(disk.Entries()))
	}
}

func TestReadsFailUntilTheDiskIsHealed(t *testing.T) {
	net, h := newHost()
	disk := simstore.NewDisk(simstore.Config{FailRead: 1})
	s := simstore.Open(h, disk)
	var failed error
	load := func() { s.Load(func(_ []domain.Entry, _ []error, err error) { failed = err }) }
	load()
	net.Run(time.Second)
	if !errors.Is(failed, simstore.ErrIO) {
		t.Errorf("Load: %v", failed)
	}
	disk.SetConfig(simstore.Config{})
	load()
	net.Run(time.Second)
	if failed != nil {
		t.Errorf("Load from a healed disk: %v", failed)
	}
}

func TestSpoiltRecordIsReportedAndKeptUntilWritten(t *testing.T) {
	net, h := newHost()
	disk := simstore.NewDisk(simstore.Config{})
	s := &shelf{Store: simstore.Open(h, disk)}
	s.put(1)
	s.put(2)
	net.Run(time.Second)
	disk.Spoil(entry(1).Alias)
	disk.Spoil("never there")
	var good, bad int
	load := func() {
		s.Load(func(entries []domain.Entry, faults []error, _ error) { good, bad = len(entries), len(faults) })
		net.Run(time.Second)
	}
	if load(); good != 1 || bad != 1 {
		t.Errorf("%d entries and %d bad records", good, bad)
	}
	s.put(2)
	if load(); good != 1 || bad != 1 {
		t.Errorf("after a change to another alias %d entries and %d bad records", good, bad)
	}
	s.put(1)
	if load(); good != 2 || bad != 0 {
		t.Errorf("after it was written again %d entries and %d bad records", good, bad)
	}
}

func TestDiskHasOneUser(t *testing.T) {
	net, h := newHost()
	disk := simstore.NewDisk(simstore.Config{})
	old := simstore.Open(h, disk)
	simstore.Open(h, disk)
	var failed, loading error
	old.Put(entry(1), func(err error) { failed = err })
	old.Load(func(_ []domain.Entry, _ []error, err error) { loading = err })
	net.Run(time.Second)
	if !errors.Is(failed, simstore.ErrTaken) || !errors.Is(loading, simstore.ErrTaken) || len(disk.Entries()) != 0 {
		t.Errorf("Put: %v, Load: %v, entries %v", failed, loading, disk.Entries())
	}
}

func TestReplayGivesTheDiskAfterEachWrite(t *testing.T) {
	net, h := newHost()
	disk := simstore.NewDisk(simstore.Config{})
	s := &shelf{Store: simstore.Open(h, disk)}
	for n := range 3 {
		h.Do(func() { s.put(n) })
		net.Run(time.Second)
	}
	after := 0
	disk.Replay(func(d *simstore.Disk) {
		after++
		if got := aliases(t, d); len(got) != after || !slices.Equal(got, aliases(t, disk.CopyAt(after))) {
			t.Errorf("after write %d: %v", after, got)
		}
	})
	if after != disk.Writes() || after != 3 {
		t.Errorf("%d writes, want %d", after, disk.Writes())
	}
}
