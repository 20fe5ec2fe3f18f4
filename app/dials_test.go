package app_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// deaf is a transport whose dials never end by themselves.
type deaf struct {
	ports.ScraperTransport
	dialled []domain.PublicKey
	open    func() // opens the connection of the first dial in progress
}

func (d *deaf) DialMetrics(m ports.MetricsDial) ports.MetricsSession {
	d.dialled = append(d.dialled, m.Client)
	if d.open == nil {
		d.open = func() { m.OnOpen(domain.Peer{Key: m.Client}) }
	}
	return deafSession{}
}

type deafSession struct{ silentSession }

// restarted is a scraper that has just started with 200 unreachable clients.
func restarted(t *testing.T) (*world, *deaf) {
	t.Helper()
	w := newWorld(t)
	for i := range 200 {
		a := domain.Alias(fmt.Sprintf("client-%03d", i))
		w.disk.Entries[a] = domain.Entry{Alias: a, Key: pair(byte(i + 2)).Public, Expires: noon.Add(time.Hour)}
	}
	d := &deaf{}
	w.startScraper(func(c *app.ScraperConfig) {
		d.ScraperTransport = c.Transport
		c.Transport = d
	})
	return w, d
}

func TestScraperDialsAFewClientsAtATime(t *testing.T) {
	w, d := restarted(t)
	if len(d.dialled) != 64 {
		t.Fatalf("%d are dialled at the start, want 64", len(d.dialled))
	}
	w.loop.Turn(d.open)
	if len(d.dialled) != 65 {
		t.Errorf("%d are dialled when one is connected, want one more", len(d.dialled))
	}
	w.loop.Advance(5 * time.Second)
	if len(d.dialled) != 65+64 {
		t.Errorf("%d are dialled 5 s later, want 64 more", len(d.dialled))
	}
	if n := w.scraper.Sessions()[domain.SessionConnecting]; n != 199 {
		t.Errorf("%d sessions connect, want all but the open one", n)
	}
	// Diallers that waited have the full timeout from their turn on. The open one has no channel.
	w.loop.Advance(45 * time.Second)
	if waits := of[domain.SessionWait](w.events); len(waits) != 63+65+1 {
		t.Errorf("%d dials have failed", len(waits))
	}
	for _, key := range d.dialled[:200] {
		if n := len(slices.DeleteFunc(slices.Clone(d.dialled), func(k domain.PublicKey) bool { return k != key })); n > 2 {
			t.Errorf("%s is dialled %d times", key.Short(), n)
		}
	}
	w.closeScraper()
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

func TestClientsThatAreScrapedOrRegisterAreDialledFirst(t *testing.T) {
	w, d := restarted(t)
	scraped, registers := pair(201).Public, pair(200).Public
	w.loop.Turn(func() {
		w.scraper.Scrape("client-199", 8*time.Second, func([]byte, error) {})
		w.scraper.Scrape("client-199", 8*time.Second, func([]byte, error) {})
	})
	if slices.Contains(d.dialled, scraped) {
		t.Fatal("a scrape dials beyond the limit")
	}
	if _, err := w.send(registration("client-198", 200)); err != nil {
		t.Fatal(err)
	}
	if last := d.dialled[len(d.dialled)-1]; last != registers || len(d.dialled) != 65 {
		t.Errorf("a client that registers is not dialled at once, of %d", len(d.dialled))
	}
	w.loop.Advance(5 * time.Second)
	if i := slices.Index(d.dialled, scraped); i != 65 {
		t.Errorf("the one that is scraped is dialled as number %d, want 65", i)
	}
}

func TestScrapeMayTimeOutBeforeItsClientIsDialled(t *testing.T) {
	w, d := restarted(t)
	var got error
	w.loop.Turn(func() { w.scraper.Scrape("client-199", time.Second, func(_ []byte, err error) { got = err }) })
	w.loop.Advance(2 * time.Second)
	if !errors.Is(got, domain.ErrTimeout) || len(d.dialled) != 64 {
		t.Errorf("%v, %d are dialled", got, len(d.dialled))
	}
}

func TestClosingScraperDialsNoClient(t *testing.T) {
	w, d := restarted(t)
	n := len(d.dialled)
	w.closeScraper()
	w.loop.Advance(time.Minute)
	if len(d.dialled) != n {
		t.Errorf("%d are dialled", len(d.dialled)-n)
	}
}
