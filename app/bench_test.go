package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// BenchmarkAliases measures how long the loop is busy with a list of 10,000 aliases, in one turn and in several.
func BenchmarkAliases(b *testing.B) {
	const n = 10_000
	loop := portstest.NewLoop(1)
	clock := portstest.NewClock(loop, noon)
	disk := portstest.NewDisk()
	for i := range n {
		key := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1, byte(i), byte(i >> 8)})).Public
		r := domain.Register{Alias: domain.Alias(fmt.Sprintf("site-%05d/node", i)), Key: key, Hostname: "host", Service: "node"}
		portstest.NewStore(loop, disk).Put(r.Entry(domain.Entry{}, noon, time.Hour), func(error) {})
	}
	loop.Advance(time.Second)
	s, err := app.NewScraper(app.ScraperConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)), Clock: clock,
		Store: portstest.NewStore(loop, disk), Keys: pair(1), Secrets: []domain.Secret{secret},
	})
	if err != nil {
		b.Fatal(err)
	}
	loop.Turn(func() { s.Start(func(error) {}) })
	loop.Advance(time.Second)
	for _, size := range []int{n, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var turns int
			for b.Loop() {
				var last domain.Alias
				for listed := 0; listed < n; turns++ {
					some := s.AliasesAfter(last, size)
					listed += len(some)
					last = some[len(some)-1].Alias
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(turns), "µs/turn")
		})
	}
}
