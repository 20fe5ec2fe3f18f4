package etcd_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	adapter "github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/etcd/client"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/interop/etcd"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// sizeEntry is the entry of a client with usual names and no labels.
func sizeEntry(i int) domain.Entry {
	now := time.Unix(1_800_000_000, 123_456_789)
	e := domain.Entry{
		Alias: domain.Alias(fmt.Sprintf("berlin/host-%06d/node", i)), Hostname: fmt.Sprintf("host-%06d", i), Service: "node",
		Registered: now, Renewed: now, Expires: now.Add(3 * time.Hour),
	}
	binary.BigEndian.PutUint64(e.Key[:], uint64(i)+1)
	binary.BigEndian.PutUint64(e.Instance[:], uint64(i)+1)
	return e
}

// wait starts f on the loop and waits until done was called.
func (w *world) wait(b *testing.B, f func(done func())) {
	b.Helper()
	if err := bridge.Wait(context.Background(), w.host, f); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPut measures registrations that wait for each other, and what each leaves in a real etcd of one server: bytes of key and value,
// and of etcd's file, in which each renewal leaves an older version until compaction.
func BenchmarkPut(b *testing.B) {
	h := udp.New(udp.Options{})
	b.Cleanup(h.Close)
	cluster := etcd.StartCluster(b, 1)
	w := &world{host: h, cluster: cluster}
	const prefix = "/dhtprom/"
	store, err := client.Open(h, client.Config{Endpoints: cluster.Endpoints(), Prefix: prefix})
	if err != nil {
		b.Fatal(err)
	}
	lead := make(chan struct{}, 1)
	var m *adapter.Member
	w.wait(b, func(done func()) {
		m = adapter.New(h, store, adapter.Config{Prefix: prefix, Clock: dhtprom.Clock{}})
		m.Join(ports.GroupJoin{Member: domain.Member{Name: "a"}}, ports.GroupHandlers{
			OnView: func(domain.Group) {}, OnLead: func(int64) { lead <- struct{}{} }, OnFollow: func() {},
		}, func(error) {})
		done()
	})
	<-lead
	before := cluster.Size()
	payload, err := record.EncodeEntry(sizeEntry(0))
	if err != nil {
		b.Fatal(err)
	}
	value, _ := record.Seal(record.Aliases, string(sizeEntry(0).Alias), payload, 1)
	b.ResetTimer()
	for i := range b.N {
		w.wait(b, func(done func()) {
			m.Put(sizeEntry(i), func(err error) {
				if err != nil {
					b.Error(err)
				}
				done()
			})
		})
	}
	b.StopTimer()
	b.ReportMetric(float64(len(value)+len(prefix)+len(record.Aliases)+1+len(sizeEntry(0).Alias)), "B/record")
	b.ReportMetric(float64(cluster.Size()-before)/float64(b.N), "B/file")
	w.wait(b, func(done func()) { m.Leave(func() { store.Close(done) }) })
}
