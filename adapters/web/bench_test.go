package web_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
)

// inTurn runs posted functions at once.
type inTurn struct{}

func (inTurn) Post(f func())           { f() }
func (inTurn) Closed() <-chan struct{} { return nil }

// BenchmarkListOfAliases measures the list of 5,000 aliases, compressed: the default order, a search, and the order of another column.
func BenchmarkListOfAliases(b *testing.B) {
	s := plausible()
	some, scrapes := s.aliases, slices.Repeat(s.details["backup-nas"].Scrapes, 2)
	s.aliases = nil
	for i := range 5000 {
		a := some[i%len(some)]
		a.Alias = domain.Alias(fmt.Sprintf("host-%04d", i))
		s.aliases = append(s.aliases, a)
		s.details[string(a.Alias)] = domain.AliasDetail{Scrapes: scrapes}
	}
	h, err := web.New(web.Config{Loop: inTurn{}, Scraper: s, Log: discard})
	if err != nil {
		b.Fatal(err)
	}
	for name, query := range map[string]string{"worst first": "", "search": "?q=host+berlin", "by address": "?sort=address"} {
		b.Run(name, func(b *testing.B) {
			var size int
			for b.Loop() {
				r := httptest.NewRequest("GET", "/"+query, nil)
				r.Header.Set("Accept-Encoding", "gzip")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				size = w.Body.Len()
			}
			b.ReportMetric(float64(size), "B/page")
		})
	}
}
