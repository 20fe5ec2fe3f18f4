package etcd_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/etcd/client"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/interop/etcd"
	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
	"github.com/dhtprom/dhtprom/ports/kv/kvtest"
)

// world is a cluster with a machine that uses it.
type world struct {
	t       *testing.T
	cluster *etcd.Cluster
	host    *udp.Host
}

func newWorld(t *testing.T, members int, flags ...string) *world {
	t.Helper()
	w := newHost(t)
	w.cluster = etcd.StartCluster(t, members, flags...)
	return w
}

// newHost returns a world without a cluster.
func newHost(t *testing.T) *world {
	h := udp.New(udp.Options{})
	t.Cleanup(h.Close)
	return &world{t: t, host: h}
}

// run starts f on the loop and waits until done was called.
func (w *world) run(t *testing.T, f func(done func())) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), process.Patience)
	defer cancel()
	if err := bridge.Wait(ctx, w.host, f); err != nil {
		t.Fatal(err)
	}
}

// do runs f as one turn.
func (w *world) do(f func()) {
	w.t.Helper()
	w.run(w.t, func(done func()) {
		f()
		done()
	})
}

func (w *world) open(t *testing.T, prefix string) kv.Store {
	t.Helper()
	s, err := client.Open(w.host, client.Config{Endpoints: w.cluster.Endpoints(), Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEtcdKeepsTheContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	benches := 0
	kvtest.Test(t, func(*testing.T) kvtest.Bench {
		benches++
		prefix := fmt.Sprintf("/test/%d/", benches)
		return kvtest.Bench{
			Prefix:  prefix,
			Open:    func(t *testing.T) kv.Store { return w.open(t, prefix) },
			Run:     w.run,
			Now:     func() host.Instant { return w.host.Now() },
			Compact: func(_ *testing.T, revision int64) { w.cluster.Compact(revision) },
			Revoke:  func(_ *testing.T, id kv.LeaseID) { w.cluster.Revoke(int64(id)) },
		}
	})
}
