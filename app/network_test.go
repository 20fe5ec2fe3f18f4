package app_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestClientThatCannotBeAnnouncedTriesToRegisterAndSaysWhyNot(t *testing.T) {
	w := newWorld(t)
	w.net.Silent = true
	transport := portstest.NewTransport(w.net)
	started := false
	c := w.newClient("web", 2, func(cfg *app.ClientConfig) { cfg.Transport = transport })
	w.loop.Turn(func() { c.Start(func(error) { started = true }) })
	w.loop.Turn(func() { transport.Network(ports.Network{BootstrapNodes: 3}) })
	w.loop.Advance(time.Minute)
	if failed := of[domain.RegisterAliasError](c.events); started || c.Status().Listening || len(failed) < 3 {
		t.Errorf("started %v, listening %v, %d registrations failed", started, c.Status().Listening, len(failed))
	}
	if lost := of[domain.NetworkLost](c.events); len(lost) != 1 || lost[0].BootstrapNodes != 3 {
		t.Errorf("told %+v", lost)
	}
	w.loop.Turn(func() { transport.Network(ports.Network{Answering: true, Nodes: 4}) })
	if found := of[domain.NetworkFound](c.events); len(found) != 1 || found[0].Nodes != 4 {
		t.Errorf("told %+v", found)
	}
	c.close()
	before := len(c.events)
	w.loop.Turn(func() { transport.Network(ports.Network{}) })
	if len(c.events) != before {
		t.Error("a closed client is notified of the network")
	}
}

func TestLostNetworkIsToldInWordsWithWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		event domain.NetworkLost
		says  []string
	}{
		{domain.NetworkLost{BootstrapNodes: 3}, []string{"no DHT node answers, 3 bootstrap nodes tried", "UDP", "doctor"}},
		{domain.NetworkLost{BootstrapNodes: 1}, []string{"1 bootstrap node tried"}},
		{domain.NetworkLost{BootstrapNodes: 3, NoIPv4: true}, []string{"no IPv4 address"}},
		{domain.NetworkLost{BootstrapNodes: 1, Own: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:49737")}}, []string{"192.0.2.1:49737 is this node's own"}},
	} {
		var line strings.Builder
		for _, a := range tt.event.LogRecord().Attrs {
			line.WriteString(a.String() + " ")
		}
		for _, want := range tt.says {
			if !strings.Contains(line.String(), want) {
				t.Errorf("%q lacks %q", line.String(), want)
			}
		}
		if level := tt.event.LogRecord().Level; level != slog.LevelWarn {
			t.Errorf("level %v", level)
		}
	}
}

// The clients of its targets, with a scraper that does not know sets, have the same network.
func TestClientWithSinglesTellsOfItsNetworkOnce(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	w.startScraper(nil)
	transport := portstest.NewTransport(w.net)
	c := w.startSet(func(cfg *app.ClientConfig) { cfg.Transport = transport }, "a", "b", "c")
	w.loop.Advance(10 * time.Second)
	wantNames(t, w.aliases(), "a", "b", "c")
	w.loop.Turn(func() { transport.Network(ports.Network{BootstrapNodes: 3}) })
	if lost := of[domain.NetworkLost](c.events); len(lost) != 1 {
		t.Errorf("told %d times", len(lost))
	}
}

func TestScraperIsReadyOnceItIsAnnounced(t *testing.T) {
	w := newWorld(t)
	w.net.Silent = true
	s, err := app.NewScraper(app.ScraperConfig{
		Host: w.loop, Transport: portstest.NewTransport(w.net), Clock: w.clock, Store: portstest.NewStore(w.loop, w.disk),
		Keys: pair(1), Secrets: []domain.Secret{secret}, OnEvent: w.events.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	started := false
	w.loop.Turn(func() { s.Start(func(error) { started = true }) })
	w.loop.Advance(time.Hour)
	if started || s.Ready() {
		t.Errorf("started %v, ready %v without an announcement", started, s.Ready())
	}
}
