package dht

import (
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
)

// bothWorld is a client that registers under its metrics server's key.
func bothWorld(t *testing.T, admit bool) (w *world, scraper *link) {
	w = newWorld(t)
	scraper = newLink(w.loop, w.scraper)
	if _, err := serveAliases(scraper, 100, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	r := w.registration()
	r.OnOpen = nil
	register(newLink(w.loop, w.client), methodAlias, r, &metricsOffer{
		admit: func(p domain.Peer) bool {
			w.call("admit %s", p.Key.Short())
			return admit
		},
		onOpen: w.metricsHandlers(up),
	}, w.registered)
	w.open()
	w.want("alias open " + clientKey.Short() + "; register a h; registered true <nil>")
	return w, scraper
}

func TestMetricsRunOnTheRegistrationsConnection(t *testing.T) {
	w, scraper := bothWorld(t, true)
	if !scraper.attachable() {
		t.Fatal("no session can be tried")
	}
	s := openSession(scraper, w.dial())
	s.Request(w.gotMetrics)
	if len(w.calls) != 0 {
		t.Errorf("called inside the call: %s", w.take())
	}
	w.want("admit " + scraperKey.Short() + "; metrics open " + scraperKey.Short() + "; session open " + clientKey.Short() + " lan" +
		"; session ready; metrics true \"up 1\\n\" \"\"; alias close")
	if scraper.attachable() {
		t.Error("a second session could be tried")
	}
	w.loop.Advance(time.Hour)
	w.wantOpen()
	s.Close(nil)
	w.run()
	if got := w.take(); !strings.Contains(got, "session close <nil>") || !strings.Contains(got, "metrics close") {
		t.Errorf("called %s", got)
	}
	w.wantClosed()
}

func TestRegistrationsConnectionEndsWhenNobodyWantsMetrics(t *testing.T) {
	w, scraper := bothWorld(t, true)
	w.loop.Advance(metricsLinger - time.Millisecond)
	w.wantOpen()
	w.loop.Advance(time.Millisecond)
	w.want("alias close")
	w.wantClosed()
	if scraper.attachable() {
		t.Error("a session could be tried on a closed link")
	}
}

func TestUnwelcomeScraperGetsNoMetricsOnTheRegistration(t *testing.T) {
	w, scraper := bothWorld(t, false)
	openSession(scraper, w.dial())
	w.run()
	if got := w.take(); !strings.Contains(got, "admit "+scraperKey.Short()+"; session close "+errNotAccepted.Error()) {
		t.Errorf("called %s", got)
	}
	if scraper.attachable() {
		t.Error("another session could be tried")
	}
}

func TestMetricsChannelBeforeTheAnswerKeepsTheConnection(t *testing.T) {
	w := newWorld(t)
	scraper := newLink(w.loop, w.scraper)
	var answer func(ports.AliasReply)
	conn, err := serveAliases(scraper, 100, w.aliasHandlers(func(_ ports.AliasRequest, reply func(ports.AliasReply)) { answer = reply }))
	if err != nil {
		t.Fatal(err)
	}
	register(newLink(w.loop, w.client), methodAlias, w.registration(), &metricsOffer{
		admit: func(domain.Peer) bool { return true }, onOpen: w.metricsHandlers(up),
	}, w.registered)
	w.open()
	w.take()
	s := openSession(scraper, w.dial())
	w.run()
	w.take()
	answer(ports.AliasReply{Success: true})
	w.want("registered false <nil>; alias close")
	w.wantOpen()
	// The application's idea of an idle connection is not the session's.
	conn.Close(nil)
	s.Request(w.gotMetrics)
	w.want(`metrics true "up 1\n" ""`)
	w.wantOpen()
}

func TestAliasConnectionWithoutChannelIsNotKeptForever(t *testing.T) {
	w := newWorld(t)
	if _, err := serveAliases(newLink(w.loop, w.scraper), 100, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	rpc, err := muxrpc.New(mux.New(w.client), muxrpc.Options{Protocol: protocolAlias})
	if err != nil {
		t.Fatal(err)
	}
	w.client.onOpen = func() {}
	w.open()
	w.take()
	rpc.Destroy(nil)
	w.run()
	w.loop.Advance(aliasLinger - 1)
	w.wantOpen()
	w.loop.Advance(1)
	w.want("alias close")
	w.wantClosed()
}
