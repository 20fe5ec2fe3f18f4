package dht_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// A process with 250 targets stops. Each goodbye used to dial for itself, all at once, and none arrived in the time that
// a stop has.
func TestGoodbyesOfAllTargetsOfAProcessArrive(t *testing.T) {
	const targets = 250
	for _, c := range []struct {
		name   string
		loss   float64
		within time.Duration
	}{
		{"good network", 0, 1500 * time.Millisecond}, // app leaveTimeout
		{"2 % loss", 0.02, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet(t, 11)
			client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
			n.listenAliases(scraper)
			n.net.SetLinks(client.host, scraper.host, simnet.Link{Delay: 20 * time.Millisecond, Loss: c.loss})
			n.calls = nil
			left := 0
			client.host.Do(func() {
				for i := range targets {
					r := registration(keys(byte(i)), secret)
					r.Alias = domain.Alias(fmt.Sprint("target-", i))
					client.transport.LeaveAlias(r, func(err error) {
						if err != nil {
							t.Errorf("target %d: %v", i, err)
						}
						left++
					})
				}
			})
			n.until("all goodbyes are answered", c.within, func() bool { return left == targets })
			heard, dials := map[string]bool{}, 0
			for _, call := range n.calls {
				if strings.HasPrefix(call, "leave ") {
					heard[call] = true
				}
				if strings.HasPrefix(call, "alias open") {
					dials++
				}
			}
			if len(heard) != targets || dials > targets/20 {
				t.Errorf("%d of %d arrived, over %d connections", len(heard), targets, dials)
			}
		})
	}
}

func TestGoodbyesEndTogetherWithTheirConnection(t *testing.T) {
	n := newNet(t, 12)
	client := n.peer("client", dht.Config{})
	failed := 0
	var cancels []func()
	client.host.Do(func() {
		for range 5 {
			cancels = append(cancels, client.transport.LeaveAlias(registration(dialKeys, secret), func(err error) {
				if err == nil {
					t.Error("heard by nobody")
				}
				failed++
			}))
		}
		cancels[0]()
		cancels[0]()
	})
	n.until("all others fail", time.Minute, func() bool { return failed == 4 })
	// All cancelled: the connection goes with them.
	client.host.Do(func() {
		for range 3 {
			client.transport.LeaveAlias(registration(dialKeys, secret), func(error) { t.Error("called after its cancel") })()
		}
	})
	n.net.RunUntil(func() bool { return false }, time.Minute)
	n.close(client)
}
