package dht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
)

// Closing does not wait for callers that have sent no packet: a goodbye cannot reach them.
func TestClosingDoesNotWaitForCallersThatHaveNotProvenThemselves(t *testing.T) {
	n := newNet(t, 21)
	halfOpen := 0
	for after := 10 * time.Millisecond; after <= 400*time.Millisecond; after += 10 * time.Millisecond {
		client, scraper := n.peer("client"+after.String(), dht.Config{}), n.peer("scraper"+after.String(), dht.Config{})
		l := n.listenAliases(scraper)
		client.host.Do(func() {
			client.transport.RegisterAlias(registration(dialKeys, secret), func(bool, error) {})
		})
		n.calls = nil
		n.net.Run(after)
		client.host.Crash()
		n.net.Run(time.Second) // what is on its way arrives
		if n.called("alias open") {
			continue // it has proven itself in time
		}
		scraper.host.Do(func() { halfOpen += scraper.transport.Status().Streams })
		n.calls = nil
		scraper.host.Do(func() { l.Close(func() { n.call("listener closed") }) })
		n.until("the listener closes "+after.String(), time.Second, func() bool { return n.called("listener closed") })
		scraper.host.Do(func() { scraper.transport.Close(func() { n.call("all closed") }) })
		n.until("all closes", time.Second, func() bool { return n.called("all closed") })
	}
	if halfOpen == 0 {
		t.Error("no caller vanished at the right moment")
	}
}
