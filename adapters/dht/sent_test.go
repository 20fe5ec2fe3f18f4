package dht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/domain"
)

// A registration that is cancelled at any time reaches the scraper only if it was reported as sent, also before the connection opens.
func TestRegistrationIsReportedAsSentBeforeTheScraperHasIt(t *testing.T) {
	for _, serves := range []bool{false, true} { // and offers its metrics, with a signature of the handshake
		reportedAsSent(t, serves)
	}
}

func reportedAsSent(t *testing.T, serves bool) {
	n := newNet(t, 22)
	early := 0
	for after := 10 * time.Millisecond; after <= 400*time.Millisecond; after += 10 * time.Millisecond {
		client, scraper := n.peer("client"+after.String(), dht.Config{}), n.peer("scraper"+after.String(), dht.Config{})
		l := n.listenAliases(scraper)
		if serves {
			n.listenMetrics(client)
		}
		n.calls = nil
		sent, open := 0, 0
		var cancel func()
		client.host.Do(func() {
			r := registration(dialKeys, secret)
			r.OnSent, r.OnOpen = func() { sent++ }, func(domain.Peer) { open++ }
			cancel = client.transport.RegisterAlias(r, func(bool, error) {})
		})
		n.net.Run(after)
		client.host.Do(cancel)
		if open > 0 && sent != 1 {
			t.Errorf("%v: open, and sent %d times", after, sent)
		}
		n.net.Run(time.Second) // what is on its way arrives
		switch has := n.called("register a"); {
		case has && sent == 0:
			t.Errorf("%v: the scraper has a request that was not sent", after)
		case has && open == 0:
			early++
		}
		scraper.host.Do(func() { l.Close(func() { n.call("listener closed") }) })
		n.until("the listener closes", 5*time.Second, func() bool { return n.called("listener closed") })
	}
	if early == 0 {
		t.Error("no registration reached the scraper before it was open")
	}
}
