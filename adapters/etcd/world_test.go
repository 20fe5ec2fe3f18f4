package etcd_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simkv"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/kv"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// world is a simulated store and the hosts of members.
type world struct {
	net     *simnet.Net
	cluster *simkv.Cluster
	hosts   map[string]*simnet.Host
	members map[string]*etcd.Member
	drift   float64 // of the first member's clock; the next one has the opposite
	wrap    func(kv.Store) kv.Store
}

func newWorld(seed uint64, cfg simkv.Config) *world {
	net := simnet.New(simnet.Config{Seed: seed})
	return &world{net: net, cluster: simkv.New(net, cfg), hosts: map[string]*simnet.Host{}, members: map[string]*etcd.Member{}}
}

// open returns a new member on a host of its own.
func (w *world) open(name string) *etcd.Member {
	h := w.net.AddHost(name, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", len(w.hosts)+1)))
	h.SetDrift(w.drift)
	w.drift = -w.drift
	var m *etcd.Member
	h.Do(func() {
		var store kv.Store = w.cluster.Connect(h)
		if w.wrap != nil {
			store = w.wrap(store)
		}
		m = etcd.New(h, store, etcd.Config{Clock: h.Clock()})
	})
	w.hosts[name], w.members[name] = h, m
	return m
}

func (w *world) bench() portstest.GroupBench {
	return portstest.GroupBench{
		Settle: 2 * time.Minute,
		Open: func(_ *testing.T, name string) (ports.Group, ports.SharedStore) {
			m := w.open(name)
			return m, m
		},
		On:     func(name string, f func()) { w.hosts[name].Do(f) },
		Until:  func(limit time.Duration, cond func() bool) bool { return w.net.RunUntil(cond, limit) },
		Vanish: func(name string) { w.hosts[name].Crash() },
		Disconnect: func(name string, cut bool) {
			if cut {
				w.cluster.Cut(w.hosts[name])
			} else {
				w.cluster.Join(w.hosts[name])
			}
		},
	}
}

func uniform(d time.Duration) simnet.Distribution {
	return simnet.Distribution{Shape: simnet.Uniform, Scale: d}
}

// worlds are stores with different faults.
var worlds = []struct {
	name  string
	cfg   simkv.Config
	drift float64
}{
	{"without delays", simkv.Config{}, 0},
	{"with delays", simkv.Config{Delay: uniform(30 * time.Millisecond), Lag: uniform(2 * time.Second)}, 0},
	{"with clocks that drift", simkv.Config{Delay: uniform(5 * time.Millisecond), Drift: 0.01}, 0.01},
}

func TestMemberKeepsTheContractOfAGroup(t *testing.T) {
	for _, c := range worlds {
		t.Run(c.name, func(t *testing.T) {
			seed := uint64(0)
			portstest.TestGroup(t, func(*testing.T) portstest.GroupBench {
				seed++
				w := newWorld(seed, c.cfg)
				w.drift = c.drift
				return w.bench()
			})
		})
	}
}

func TestMemberKeepsTheContractOfASharedStore(t *testing.T) {
	for _, c := range worlds {
		t.Run(c.name, func(t *testing.T) {
			seed := uint64(0)
			portstest.TestSharedStore(t, func(*testing.T) portstest.GroupBench {
				seed++
				w := newWorld(seed, c.cfg)
				w.drift = c.drift
				return w.bench()
			})
		})
	}
}
