package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// Clients that registered at the same time do not renew at the same time, and none is late.
func TestRenewalsOfManyClientsSpreadOut(t *testing.T) {
	const clients = 40
	w := newWorld(t)
	w.startScraper(nil)
	var at []time.Duration
	began := w.loop.Now()
	for i := range clients {
		registered := 0
		w.startClient(fmt.Sprintf("client %d", i), byte(i+2), func(cfg *app.ClientConfig) {
			told := cfg.OnEvent
			cfg.OnEvent = func(e domain.Event) {
				told(e)
				if _, ok := e.(domain.RegisterAliasSuccess); ok {
					if registered++; registered == 2 {
						at = append(at, w.loop.Now().Sub(began))
					}
				}
			}
		})
	}
	w.loop.Advance(time.Hour + time.Second)
	if len(at) != clients {
		t.Fatalf("%d of %d have renewed within the hour", len(at), clients)
	}
	seconds := map[time.Duration]int{}
	for _, d := range at {
		seconds[d.Truncate(time.Second)]++
		if d < 56*time.Minute {
			t.Errorf("renewed after %v already", d)
		}
	}
	for s, n := range seconds {
		if n > 5 {
			t.Errorf("%d clients renew in one second, after %v", n, s)
		}
	}
}
