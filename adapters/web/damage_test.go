package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestDamageOfTheTableIsShown(t *testing.T) {
	s := newScraper()
	s.damages = []domain.StoreDamage{{
		At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Kept: "/state/aliases.db.damaged-20260301T120000.000Z", Recovered: 41,
		Problems: []string{"header 1: its checksum is wrong"},
	}}
	server := serve(t, s)
	for path, want := range map[string]string{
		"/node":          "/state/aliases.db.damaged-20260301T120000.000Z",
		"/api/v1/status": `"damages":[{"time":"2026-03-01T12:00:00Z","kept":"/state/aliases.db.damaged-20260301T120000.000Z","recovered":41,"problems":["header 1: its checksum is wrong"]}]`,
		"/metrics":       "dhtprom_state_damages_total 0",
	} {
		if _, body := get(t, server.URL+path); !strings.Contains(body, want) {
			t.Errorf("%s does not have %q", path, want)
		}
	}
}
