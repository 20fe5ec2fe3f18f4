package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// A client that acknowledges everything and answers nothing gets another connection soon after a scrape has timed out. One that answers
// a probe, is not reached, or has a page under way, does not.
func TestScrapeThatTimesOutProbesItsConnection(t *testing.T) {
	const scrapeTime, probeTime = 5 * time.Second, 3 * time.Second // by default; as long as any other probe
	for _, test := range []struct {
		name   string
		set    func(*world, *app.Session, *handSession)
		during func(*world, *app.Session, *handSession) // while the probe runs
		pings  int
		dials  int
		news   bool // of the client, so that it is dialled at once
		closed bool // the metrics channel
	}{
		{name: "no answer", pings: 1, dials: 2},
		{name: "no metrics channel yet", closed: true, pings: 0, dials: 1},
		{name: "an answer", set: func(w *world, _ *app.Session, c *handSession) { c.pong = w.loop }, pings: 2, dials: 1},
		{name: "something under way", set: func(_ *world, _ *app.Session, c *handSession) { c.busy = true }, pings: 1, dials: 1},
		{name: "something under way at first", set: func(_ *world, _ *app.Session, c *handSession) { c.busy = true },
			during: func(_ *world, _ *app.Session, c *handSession) { c.busy = false }, pings: 1, dials: 2},
		{name: "something under way, and the client registers", set: func(_ *world, _ *app.Session, c *handSession) { c.busy = true },
			during: func(_ *world, s *app.Session, _ *handSession) { s.Nudge() }, pings: 1, dials: 2, news: true},
		{name: "the beginning of an answer", set: func(_ *world, _ *app.Session, c *handSession) {
			for _, head := range c.heads {
				head(domain.ScrapeHead{})
			}
		}, pings: 0, dials: 1},
		{name: "a probe for another reason", set: func(w *world, s *app.Session, c *handSession) {
			c.busy = true
			w.loop.AfterFunc(scrapeTime-time.Second, s.Nudge)
		}, pings: 1, dials: 2, news: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, net := newWorld(t), &handTransport{}
			s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: net, Keys: pair(1), Client: pair(2).Public})
			if err != nil {
				t.Fatal(err)
			}
			w.loop.Turn(s.Start)
			c := net.all[0]
			w.loop.Turn(func() {
				if c.open(domain.PathDirect); !test.closed {
					c.dial.OnReady()
				}
			})
			var ended []error
			w.loop.Turn(func() {
				for range 2 {
					ask(s, func(err error) { ended = append(ended, err) })
				}
				if test.set != nil {
					test.set(w, s, c)
				}
			})
			w.loop.Advance(scrapeTime + 100*time.Millisecond)
			if len(ended) != 2 || !errors.Is(ended[0], domain.ErrTimeout) {
				t.Fatalf("the scrapes end with %v", ended)
			}
			if test.during != nil {
				w.loop.Turn(func() { test.during(w, s, c) })
			}
			w.loop.Advance(probeTime)
			if at := len(net.all) > 1; at != test.news {
				t.Errorf("dialled at once: %v", at)
			}
			w.loop.Advance(time.Second) // the wait for the next dial is at most that long
			if c.pings != test.pings || len(net.all) != test.dials || c.closed != test.dials-1 {
				t.Errorf("%d probes, want %d; %d dials, want %d; %d closed", c.pings, test.pings, len(net.all), test.dials, c.closed)
			}
			w.loop.Turn(s.Close)
		})
	}
}

// Each scrape that times out asks again, and no probe outlives its connection.
func TestScrapesThatTimeOutProbeAgain(t *testing.T) {
	w, net := newWorld(t), &handTransport{}
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: net, Keys: pair(1), Client: pair(2).Public})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	c := net.all[0]
	c.busy = true
	w.loop.Turn(func() { c.open(domain.PathDirect); c.dial.OnReady() })
	for range 3 {
		w.loop.Turn(func() { ask(s, func(error) {}) })
		w.loop.Advance(15 * time.Second)
	}
	if c.pings != 3 || c.closed != 0 {
		t.Errorf("%d probes, %d closed", c.pings, c.closed)
	}
	w.loop.Turn(func() { ask(s, func(error) {}) })
	w.loop.Advance(6 * time.Second)
	w.loop.Turn(func() { c.busy = false; s.Close() })
	w.loop.Advance(time.Minute)
	if c.pings != 4 || c.closed != 1 || len(net.all) != 1 {
		t.Errorf("%d probes, %d closed, %d dials", c.pings, c.closed, len(net.all))
	}
}
