package app_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// BenchmarkIdentityStatus measures the turn of the loop that lists all identities, for each page of the scraper's own metrics.
func BenchmarkIdentityStatus(b *testing.B) {
	for _, secrets := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d secrets each", secrets), func(b *testing.B) {
			var all []domain.Identity
			for i := range domain.MaxIdentities {
				id := domain.Identity{Name: fmt.Sprintf("i%d", i)}
				for n := range secrets {
					var secret [32]byte
					binary.BigEndian.PutUint64(secret[:], uint64(i*secrets+n+1))
					id.Secrets = append(id.Secrets, domain.SecretFrom(secret))
				}
				all = append(all, id)
			}
			w := newWorld(b)
			w.startScraper(func(c *app.ScraperConfig) { c.Identities = all })
			for b.Loop() {
				if len(w.scraper.IdentityStatus()) != domain.MaxIdentities+1 {
					b.Fatal("some are missing")
				}
			}
		})
	}
}
