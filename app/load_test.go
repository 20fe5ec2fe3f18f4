package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestNothingIsSaidOfAliasesBeforeTheTableIsLoaded(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	if _, err := w.send(registration("web", 2)); err != nil {
		t.Fatal(err)
	}
	again, err := app.NewScraper(app.ScraperConfig{
		Host: w.loop, Transport: portstest.NewTransport(w.net), Clock: w.clock, Store: portstest.NewStore(w.loop, w.disk),
		Targets: w.targets, Keys: pair(1), Secrets: []domain.Secret{secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	writes := w.targets.Writes
	w.loop.Turn(func() {
		again.Start(func(error) {})
		again.Scrape("web", time.Second, func(_ []byte, err error) { add(err) })
		again.Forget("web", func(_ bool, err error) { add(err) })
		again.Unpin("web", func(_ bool, err error) { add(err) })
		again.Pin("web", domain.PublicKey{}, func(_ domain.Pin, err error) { add(err) })
		again.PutAlias(registration("web", 2).Register, func(_ bool, err error) { add(err) })
		if again.Loaded() || w.targets.Writes > writes {
			t.Error("the table counts as loaded before it was read")
		}
	})
	w.loop.Advance(time.Second)
	if len(errs) != 5 {
		t.Fatalf("%d answers: %v", len(errs), errs)
	}
	for i, err := range errs {
		if !errors.Is(err, domain.ErrNotLoaded) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n := again.Stats().ScrapesFailed[domain.ReasonStarting]; n != 1 {
		t.Errorf("%d scrapes counted as %s", n, domain.ReasonStarting)
	}
	if !again.Loaded() || len(again.Aliases()) != 1 {
		t.Errorf("loaded %v, aliases %v", again.Loaded(), again.Aliases())
	}
}

func TestDamageOfTheStoreIsCountedAndToldAndTheLastOnesAreKept(t *testing.T) {
	w := newWorld(t)
	store := portstest.NewStore(w.loop, w.disk)
	w.startScraper(func(c *app.ScraperConfig) { c.Store = store })
	for i := range domain.MaxDamages + 2 {
		store.Damage(domain.StoreDamage{Recovered: i, Problems: []string{"x"}})
	}
	w.loop.Advance(time.Second)
	got := w.scraper.Damages()
	if n := w.scraper.Stats().StoreDamages; n != domain.MaxDamages+2 || len(of[domain.StoreDamaged](w.events)) != int(n) {
		t.Errorf("%d counted, %d events", n, len(of[domain.StoreDamaged](w.events)))
	}
	if len(got) != domain.MaxDamages || got[0].Recovered != 2 || !got[0].At.After(noon) {
		t.Errorf("kept %+v", got)
	}
}
