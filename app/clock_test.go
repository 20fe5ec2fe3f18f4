package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// The wall clock of a Raspberry Pi or a resumed virtual machine is set while the scraper runs: its aliases were unknown
// for up to an hour, though their clients were connected.
func TestSettingTheClockDeletesNothing(t *testing.T) {
	for _, by := range []time.Duration{56 * 365 * 24 * time.Hour, 3 * time.Hour, 90 * time.Minute, -time.Hour, -56 * 365 * 24 * time.Hour} {
		w := newWorld(t)
		w.startScraper(nil)
		w.startClient("web", 2, nil)
		silent := w.startClient("silent", 3, func(c *app.ClientConfig) { c.RegisterInterval = 23 * time.Hour })
		w.loop.Advance(time.Second)
		before := w.status("silent")
		w.clock.Jump(by)
		w.mustScrape("web")
		w.mustScrape("silent")
		after := w.status("silent")
		for name, moved := range map[string]time.Duration{
			"expires": after.Expires.Sub(before.Expires), "renewed": after.Renewed.Sub(before.Renewed), "registered": after.Registered.Sub(before.Registered),
		} {
			if moved != by {
				t.Errorf("set by %v: %s is shown %v later", by, name, moved)
			}
		}
		w.loop.Advance(2*time.Hour + 50*time.Minute) // web renews
		w.mustScrape("web")
		w.mustScrape("silent")
		if left := w.status("web").Expires.Sub(w.clock.Now()); left < 2*time.Hour || left > 3*time.Hour {
			t.Errorf("set by %v: a renewed alias has %v left", by, left)
		}
		w.loop.Advance(10 * time.Minute)
		if _, _, err := w.scrape("silent", 0); !errors.Is(err, domain.ErrUnknownAlias) {
			t.Errorf("set by %v: scraped after three hours without renewal: %v", by, err)
		}
		silent.close()
	}
}

// The clock is wrong at the start, and the time since the last run is unknown.
func TestRestartWithAnotherClockGivesAGrace(t *testing.T) {
	for _, c := range []struct {
		name string
		by   time.Duration
		left time.Duration // of three hours, half an hour after the registration
	}{
		{"right", 0, 150 * time.Minute},
		{"down for two and a half hours", 150 * time.Minute, 15 * time.Minute},
		{"a day ahead", 24 * time.Hour, 15 * time.Minute},
		{"at its epoch", -56 * 365 * 24 * time.Hour, 3 * time.Hour},
		{"an hour behind", -time.Hour, 3 * time.Hour},
	} {
		w := newWorld(t)
		w.startScraper(nil)
		w.startClient("connected", 2, func(c *app.ClientConfig) { c.RegisterInterval = 23 * time.Hour })
		dead := w.startClient("dead", 3, func(c *app.ClientConfig) { c.RegisterInterval = 23 * time.Hour; cutOff(c) })
		w.loop.Advance(30 * time.Minute)
		w.net.Cut(dead.PublicKey(), true)
		w.clock.Jump(c.by)
		started := w.clock.Now()
		w.startScraper(nil)
		if left := w.status("dead").Expires.Sub(started); (left - c.left).Abs() > 2*time.Second {
			t.Errorf("clock %s: %v are left, want %v", c.name, left, c.left)
		}
		if w.status("dead").Renewed.After(w.clock.Now()) {
			t.Errorf("clock %s: renewed in the future, %v", c.name, w.status("dead").Renewed)
		}
		// Corrected meanwhile, as by NTP.
		w.clock.Jump(-c.by)
		w.loop.Advance(c.left - 10*time.Second)
		w.mustScrape("connected")
		if w.status("dead").Overdue {
			t.Errorf("clock %s: overdue before its time", c.name)
		}
		w.loop.Advance(20 * time.Second)
		for _, a := range w.scraper.Aliases() {
			if a.Alias == "dead" && !a.Overdue {
				t.Errorf("clock %s: a dead client's alias outlives its time", c.name)
			}
		}
		if _, _, err := w.scrape("connected", 0); (err == nil) != (c.left == 15*time.Minute) {
			t.Errorf("clock %s: scrape of a connected client at the end of the time: %v", c.name, err)
		}
		w.loop.Advance(3 * time.Hour)
		for _, a := range w.scraper.Aliases() { // connected registers again when its connection is closed
			if a.Alias != "connected" || w.clock.Now().Sub(a.Renewed) > 3*time.Hour {
				t.Errorf("clock %s: %s is still there three hours later, renewed at %v", c.name, a.Alias, a.Renewed)
			}
		}
	}
}

func TestTimesOfTheTableGoToTheStoreAsWallTime(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.clock.Jump(24 * time.Hour)
	if _, err := w.send(registration("web", 2)); err != nil {
		t.Fatal(err)
	}
	stored := w.disk.Entries["web"]
	if left := stored.Expires.Sub(w.clock.Now()); left < 3*time.Hour-time.Minute || left > 3*time.Hour || !stored.Renewed.Equal(stored.Registered) {
		t.Errorf("stored %+v", stored)
	}
	w.startScraper(nil)
	if got := w.status("web").Expires; !got.Equal(stored.Expires) {
		t.Errorf("expires %v after a restart, stored %v", got, stored.Expires)
	}
}
