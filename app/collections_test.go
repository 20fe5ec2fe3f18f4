package app_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// scraperOf is a scraper of a client that requests what the test wants.
func scraperOf(w *world, c *testClient) (s ports.MetricsSession) {
	w.t.Helper()
	w.loop.Advance(time.Second)
	w.loop.Turn(func() {
		s = portstest.NewTransport(w.net).DialMetrics(ports.MetricsDial{
			Keys: pair(1), Client: c.PublicKey(), OnOpen: func(domain.Peer) {}, OnReady: func() {}, OnClose: func(error) {},
		})
	})
	w.loop.Advance(time.Second)
	return s
}

// ends returns handlers that append the end of a scrape to a list.
func ends(to *[]error) ports.ScrapeHandlers {
	return ports.ScrapeHandlers{OnHead: func(domain.ScrapeHead) {}, OnData: func([]byte) {}, OnEnd: func(err error) { *to = append(*to, err) }}
}

// Compression costs the client's CPU, and saves nothing within a local network or a machine.
func TestBodiesAreNotCompressedWithinALocalNetwork(t *testing.T) {
	for _, test := range []struct {
		path domain.Path
		from string
		want bool
	}{
		{domain.PathDirect, "192.0.2.1", true},
		{domain.PathLAN, "192.168.1.2", false},
		{domain.PathDirect, "127.0.0.1", false},
		{domain.PathDirect, "::ffff:127.0.0.1", false},
		{domain.PathDirect, "10.0.0.1", true}, // a private address may be that of a VPN
	} {
		w := newWorld(t)
		c := w.startClient("web", 2, nil)
		w.net.SetPath(c.PublicKey(), test.path)
		w.net.SetAddr(pair(1).Public, netip.MustParseAddr(test.from))
		s := scraperOf(w, c)
		for _, wanted := range []bool{true, false} {
			var got []error
			w.loop.Turn(func() { s.Scrape(domain.ScrapeRequest{Within: time.Second, Compress: wanted}, ends(&got)) })
			w.loop.Advance(500 * time.Millisecond)
			if c.source.Last.Compress != (test.want && wanted) || len(got) != 1 || got[0] != nil {
				t.Errorf("%v, %s, wanted %v: compressed %v, %v", test.path, test.from, wanted, c.source.Last.Compress, got)
			}
		}
	}
}

// The operator's limit only shortens the time of a request, and a time that is over is reported as such.
func TestTimesOfCollections(t *testing.T) {
	for _, test := range []struct{ limit, within, want time.Duration }{
		{0, 2 * time.Second, 2 * time.Second}, {time.Second, 2 * time.Second, time.Second}, {5 * time.Second, 2 * time.Second, 2 * time.Second},
	} {
		w := newWorld(t)
		c := w.startClient("web", 2, func(c *app.ClientConfig) { c.CollectTimeout = test.limit })
		s := scraperOf(w, c)
		c.source.Silent = true
		var got []error
		w.loop.Turn(func() { s.Scrape(domain.ScrapeRequest{Within: test.within}, ends(&got)) })
		w.loop.Advance(test.want + 100*time.Millisecond)
		if c.source.Last.Within != test.want || len(got) != 1 {
			t.Fatalf("limit %s: the source has %s, %v", test.limit, c.source.Last.Within, got)
		}
		if e, ok := errors.AsType[*domain.ScrapeError](got[0]); !ok || e.Fault != domain.FaultTime || !errors.Is(e, domain.ErrTimeout) {
			t.Errorf("%+v", got[0])
		}
	}
}

// overlapping is a source that counts the collections under way.
type overlapping struct {
	ports.MetricsSource
	now, most int
}

func (o *overlapping) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	o.now++
	o.most = max(o.most, o.now)
	onEnd := h.OnEnd
	h.OnEnd = func(err error) {
		o.now--
		onEnd(err)
	}
	return &overlap{o.MetricsSource.Scrape(r, h), o}
}

type overlap struct {
	ports.Scrape
	source *overlapping
}

func (o *overlap) Cancel() {
	o.source.now--
	o.Scrape.Cancel()
}

// An exporter gets one request of a scraper at a time, and the next one when the one before has ended or is cancelled.
func TestCollectionsDoNotOverlap(t *testing.T) {
	w := newWorld(t)
	o := &overlapping{}
	c := w.startClient("web", 2, func(c *app.ClientConfig) {
		o.MetricsSource = c.Source
		c.Source = o
	})
	s := scraperOf(w, c)
	for _, silent := range []bool{false, true, false} {
		c.source.Silent = silent
		var got []error
		var runs []ports.Scrape
		w.loop.Turn(func() {
			for range 5 {
				runs = append(runs, s.Scrape(domain.ScrapeRequest{Within: time.Minute}, ends(&got)))
			}
		})
		w.loop.Advance(time.Second)
		for _, run := range runs {
			w.loop.Turn(run.Cancel)
			w.loop.Advance(time.Second)
		}
		if silent == (len(got) == 5) {
			t.Errorf("silent %v: %v", silent, got)
		}
		if o.most != 1 || o.now != 0 {
			t.Errorf("%d collections at once, %d are left", o.most, o.now)
		}
	}
}

// A text that is too large for the frame of the JavaScript packages fails when its size is known.
func TestTextsBeyondTheFrameAreCancelled(t *testing.T) {
	w := newWorld(t)
	c := w.startClient("web", 2, nil)
	s := scraperOf(w, c)
	c.source.Body = []byte(strings.Repeat("a", domain.MaxBody+1))
	var got []error
	data := 0
	h := ends(&got)
	h.OnData = func(b []byte) { data += len(b) }
	w.loop.Turn(func() { s.Scrape(domain.ScrapeRequest{Text: true}, h) })
	w.loop.Advance(time.Second)
	if len(got) != 1 || got[0] == nil || data != 0 || c.source.Canceled != 1 {
		t.Errorf("%v after %d bytes, cancelled %d times", got, data, c.source.Canceled)
	}
}

// heading is a source that sends a head, a line, and no more.
type heading struct{ loop host.Loop }

// Scrape implements ports.MetricsSource.
func (h heading) Scrape(_ domain.ScrapeRequest, to ports.ScrapeHandlers) ports.Scrape {
	h.loop.Post(func() {
		to.OnHead(domain.ScrapeHead{Status: 200, Length: -1})
		to.OnData([]byte("a 1\n"))
	})
	return portstest.Nothing{}
}

// A response that has begun is not asked for again where its client is replaced: its caller would get two pages in one. A cancel after the
// end counts as nothing.
func TestResponseThatHasBegunHasOneClient(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("web", 2, func(c *app.ClientConfig) { c.Source = heading{w.loop} })
	w.loop.Advance(time.Second)
	heads := 0
	var got []error
	h := ends(&got)
	h.OnHead = func(domain.ScrapeHead) { heads++ }
	var run ports.Scrape
	w.loop.Turn(func() { run = w.scraper.Request("web", domain.ScrapeRequest{Within: time.Minute}, h) })
	w.loop.Advance(time.Second)
	w.startClient("web", 3, nil) // takes the alias
	w.loop.Advance(5 * time.Second)
	if heads != 1 || len(got) != 1 || got[0] == nil {
		t.Errorf("%d heads, %v", heads, got)
	}
	before := w.scraper.Stats().ScrapesFailed[domain.ReasonCanceled]
	w.loop.Turn(run.Cancel)
	if n := w.scraper.Stats().ScrapesFailed[domain.ReasonCanceled]; n != before {
		t.Errorf("%d scrapes count as cancelled after their end", n-before)
	}
	w.mustScrape("web")
}
