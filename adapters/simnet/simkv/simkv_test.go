package simkv_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simkv"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
	"github.com/dhtprom/dhtprom/ports/kv/kvtest"
)

func uniform(d time.Duration) simnet.Distribution {
	return simnet.Distribution{Shape: simnet.Uniform, Scale: d}
}

func TestStoreKeepsTheContract(t *testing.T) {
	tests := []struct {
		name string
		cfg  simkv.Config
	}{
		{"without delays", simkv.Config{}},
		{"with delays", simkv.Config{Delay: uniform(40 * time.Millisecond), Lag: uniform(time.Second)}},
		{"with a slow clock", simkv.Config{Delay: uniform(5 * time.Millisecond), Drift: -0.01}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kvtest.Test(t, func(*testing.T) kvtest.Bench {
				net := simnet.New(simnet.Config{Seed: 1})
				h := net.AddHost("member", netip.MustParseAddr("192.0.2.1"))
				cluster := simkv.New(net, test.cfg)
				return kvtest.Bench{
					Prefix: "/test/",
					Open:   func(*testing.T) kv.Store { return cluster.Connect(h) },
					Run: func(t *testing.T, f func(func())) {
						t.Helper()
						finished := false
						h.Do(func() { f(func() { finished = true }) })
						if !net.RunUntil(func() bool { return finished }, time.Hour) {
							t.Fatal("done was not called")
						}
					},
					Now:     func() host.Instant { return h.Now() },
					Compact: func(_ *testing.T, revision int64) { cluster.Compact(revision) },
					Revoke:  func(_ *testing.T, id kv.LeaseID) { cluster.Revoke(id) },
				}
			})
		})
	}
}
