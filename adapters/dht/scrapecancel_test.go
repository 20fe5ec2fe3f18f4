package dht

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// under is a scrape at a client's application that the test ends.
type under struct {
	handlers             ports.ScrapeHandlers
	consumed, cancelled  int
	cancelledBeforeClose bool
}

func (u *under) Consumed(n int) { u.consumed += n }
func (u *under) Cancel()        { u.cancelled++ }

// scrapeWorld returns a client and a scraper, and what the client's application was asked for.
func scrapeWorld(t *testing.T) (w *world, s *session, asked *[]*under) {
	w = newWorld(t)
	asked = &[]*under{}
	_, err := serveMetrics(newLink(w.loop, w.client), func(ports.Conn) ports.MetricsHandlers {
		return ports.MetricsHandlers{
			OnScrape: func(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
				u := &under{handlers: h}
				*asked = append(*asked, u)
				return u
			},
			OnClose: func() {
				for _, u := range *asked {
					u.cancelledBeforeClose = u.cancelled == 1
				}
			},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s = openSession(newLink(w.loop, w.scraper), w.dial())
	w.open()
	return w, s, asked
}

// handlersOf counts the calls of a scrape.
func handlersOf(calls *int) ports.ScrapeHandlers {
	return ports.ScrapeHandlers{
		OnHead: func(domain.ScrapeHead) { *calls++ }, OnData: func([]byte) { *calls++ }, OnEnd: func(error) { *calls++ },
	}
}

// A cancel reaches the client's source, before the head and in the body, and leaves nothing on either side.
func TestCancelledScrapesReachTheSource(t *testing.T) {
	for _, begun := range []bool{false, true} {
		w, s, asked := scrapeWorld(t)
		calls := 0
		var run ports.Scrape
		w.loop.Turn(func() { run = s.Scrape(domain.ScrapeRequest{Within: time.Second}, handlersOf(&calls)) })
		w.run()
		want := 0
		if begun {
			w.loop.Turn(func() {
				(*asked)[0].handlers.OnHead(domain.ScrapeHead{Status: 200, Length: -1})
				(*asked)[0].handlers.OnData([]byte("a 1\n"))
			})
			w.run()
			want = 2
		}
		w.loop.Turn(run.Cancel)
		w.loop.Turn(run.Cancel)
		w.run()
		w.loop.Turn(func() { run.Consumed(4) })
		if u := (*asked)[0]; u.cancelled != 1 || calls != want || s.scrapes.Running() != 0 || len(s.running) != 0 {
			t.Errorf("begun %v: cancelled %d times, %d calls, %d scrapes are left", begun, u.cancelled, calls, s.scrapes.Running())
		}
	}
}

// Whichever side closes, and however: scrapes under way are cancelled at the source before its connection ends, and end at the scraper.
func TestScrapesUnderWayEndWithTheirSession(t *testing.T) {
	for name, end := range map[string]func(w *world, s *session){
		"closed by the scraper": func(w *world, s *session) { w.loop.Turn(func() { s.Close(nil) }) },
		"given up":              func(w *world, s *session) { w.loop.Turn(func() { s.Close(domain.ErrTimeout) }) },
		"broken":                func(w *world, _ *session) { w.scraper.Pipe.Destroy(mux.ErrClosed) },
	} {
		w, s, asked := scrapeWorld(t)
		calls := 0
		w.loop.Turn(func() { s.Scrape(domain.ScrapeRequest{Within: time.Second}, handlersOf(&calls)) })
		w.run()
		end(w, s)
		w.run()
		if u := (*asked)[0]; u.cancelled != 1 || !u.cancelledBeforeClose || calls != 1 || len(s.running) != 0 {
			t.Errorf("%s: cancelled %d times, before the close %v, %d calls", name, u.cancelled, u.cancelledBeforeClose, calls)
		}
	}
}

// A peer that opens the channel for scrapes alone, again and again, gets no server for it: that of metrics is there.
func TestChannelForScrapesIsClosedWithoutThatForMetrics(t *testing.T) {
	w := newWorld(t)
	l := newLink(w.loop, w.client)
	if _, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolMetrics}); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a channel that was left open would be a duplicate
		if _, err := serveMetrics(l, nil); !errors.Is(err, mux.ErrDuplicate) || l.mux.Opened(muxscrape.Protocol, nil) {
			t.Fatalf("%v, the channel for scrapes is open: %v", err, l.mux.Opened(muxscrape.Protocol, nil))
		}
	}
}

// A client that opens the channel for metrics has decided on that for scrapes. If it opens the latter later, it answers no second time.
func TestScrapeIsSentOnceMoreByTheMethodOnly(t *testing.T) {
	w := newWorld(t)
	l := newLink(w.loop, w.client)
	var offer *mux.Offer
	l.mux.Handle(muxscrape.Protocol, nil, func(o *mux.Offer) {
		o.Hold()
		offer = o
	})
	rpc, err := muxrpc.New(l.mux, muxrpc.Options{Protocol: protocolMetrics})
	if err != nil {
		t.Fatal(err)
	}
	var answer func([]byte, error)
	rpc.Respond(methodMetrics, func(_ []byte, reply func([]byte, error)) { answer = reply })
	s := openSession(newLink(w.loop, w.scraper), w.dial())
	heads, ends := 0, 0
	var body []byte
	w.loop.Turn(func() {
		s.Scrape(domain.ScrapeRequest{Within: time.Minute}, ports.ScrapeHandlers{
			OnHead: func(domain.ScrapeHead) { heads++ }, OnData: func(b []byte) { body = append(body, b...) }, OnEnd: func(error) { ends++ },
		})
	})
	w.open()
	if answer == nil || offer == nil || s.scrapes.Running() != 0 {
		t.Fatalf("by the method: %v, %d scrapes are left on the channel", answer != nil, s.scrapes.Running())
	}
	asked := 0
	w.loop.Turn(func() {
		_, err = muxscrape.NewResponder(l.mux, muxscrape.ResponderOptions{OnRequest: func(_ domain.ScrapeRequest, r *muxscrape.Response) func() {
			asked++
			r.Head(domain.ScrapeHead{Status: 200, Length: -1})
			r.Write([]byte("b 1\n"))
			r.End(nil)
			return nil
		}})
		offer.Release()
	})
	w.run()
	w.loop.Turn(func() { answer(MetricsReply{Success: true, Body: []byte("a 1\n")}.Append(nil), nil) })
	w.run()
	if err != nil || asked != 1 || heads != 1 || ends != 1 || string(body) != "a 1\n" || len(s.running) != 0 {
		t.Errorf("%v, asked %d times on the channel; %d heads, %d ends, %q", err, asked, heads, ends, body)
	}
}
