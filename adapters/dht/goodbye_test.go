package dht_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// A process with 250 targets stops. When each goodbye dialled for itself, all at once, none arrived in the time for stopping.
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
					t.Error("received by no scraper")
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

// A process with targets of several owners: the secrets of one of them were changed at the scraper, which closes connections
// after three wrong ones.
func TestGoodbyesWithWrongSecretsCostOthersNothing(t *testing.T) {
	n := newNet(t, 13)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenStrictly(scraper, 3)
	left, refused := 0, 0
	client.host.Do(func() {
		for i := range 20 {
			r := registration(keys(byte(10+i)), secret)
			if i < 5 {
				r.Secret = domain.SecretFrom([32]byte{9})
			}
			client.transport.LeaveAlias(r, func(err error) {
				if err == nil {
					left++
				} else {
					refused++
				}
			})
		}
	})
	n.until("all goodbyes end", 1500*time.Millisecond, func() bool { return left+refused == 20 })
	if left != 15 {
		t.Errorf("%d goodbyes have arrived, 15 have the right secret", left)
	}
}

// listenStrictly listens for registrations and closes a connection after a number of wrong secrets.
func (sw *swarm) listenStrictly(p *peer, wrong int) {
	sw.t.Helper()
	ready := false
	p.host.Do(func() {
		_, err := p.transport.ListenAliases(ports.AliasListen{Keys: scraperKeys, OnOpen: func(c ports.Conn) ports.AliasHandlers {
			bad := 0
			answer := func(r ports.AliasRequest, reply func(ports.AliasReply)) {
				if domain.Accepts([]domain.Secret{secret}, r.Secret) {
					p.host.AfterFunc(10*time.Millisecond, func() { reply(ports.AliasReply{Success: true}) }) // the disk
					return
				}
				reply(ports.AliasReply{Message: domain.Unauthorised})
				if bad++; bad == wrong {
					c.Close(nil)
				}
			}
			return ports.AliasHandlers{OnRegister: answer, OnLeave: answer}
		}}, func(error) { ready = true })
		if err != nil {
			sw.t.Error(err)
		}
	})
	sw.until("the scraper listens", time.Minute, func() bool { return ready })
}

// At 16 scrapers, a process with 250 targets has 176 connections to make. They are made a few at a time.
func TestGoodbyesDialAFewScrapersAtATime(t *testing.T) {
	n := newNet(t, 14)
	client := n.peer("client", dht.Config{})
	const batches = 176
	failed := 0
	client.host.Do(func() {
		for i := range batches {
			r := registration(dialKeys, secret)
			r.Scraper = keys(byte(i)).Public // which is not announced
			client.transport.LeaveAlias(r, func(error) { failed++ })
		}
	})
	most := 0
	n.until("all have failed", 5*time.Minute, func() bool {
		client.transport.Sizes(func(what string, held, _ int) {
			if what == "links" {
				most = max(most, held)
			}
		})
		return failed == batches
	})
	if most > 40 || most < 20 {
		t.Errorf("%d connections were made at a time, 32 are meant", most)
	}
	n.close(client)
}

// A client that its scraper scrapes says goodbye on that connection, which ends after the answer. A scraper that knows no
// goodbyes there, or whose answer does not come, is dialled.
func TestGoodbyeOnTheConnectionOfTheMetrics(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(n *swarm) func(ports.AliasRequest, func(ports.AliasReply))
		dials  bool
		err    bool
	}{
		{"answered after a write", func(n *swarm) func(ports.AliasRequest, func(ports.AliasReply)) {
			return func(r ports.AliasRequest, reply func(ports.AliasReply)) {
				n.call("left %s %t %t", r.Alias, r.Proven, r.Instance == domain.Instance{7})
				n.net.AfterFunc(200*time.Millisecond, func() { reply(ports.AliasReply{Success: true}) })
			}
		}, false, false},
		{"refused", func(*swarm) func(ports.AliasRequest, func(ports.AliasReply)) {
			return func(_ ports.AliasRequest, reply func(ports.AliasReply)) { reply(ports.AliasReply{Message: "no"}) }
		}, false, true},
		{"not known", func(*swarm) func(ports.AliasRequest, func(ports.AliasReply)) { return nil }, true, false},
		{"not answered", func(*swarm) func(ports.AliasRequest, func(ports.AliasReply)) {
			return func(ports.AliasRequest, func(ports.AliasReply)) {}
		}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet(t, 15)
			client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
			n.listenAliases(scraper)
			l := n.listenMetrics(client)
			scraper.host.Do(func() {
				scraper.transport.DialMetrics(ports.MetricsDial{
					Keys: scraperKeys, Client: clientKeys.Public, OnLeave: c.answer(n),
					OnReady: func() { n.call("session ready") },
					OnClose: func(err error) { n.call("session close %v", err) },
				})
			})
			n.wait("session ready")
			n.wait("metrics open")
			client.host.Do(func() {
				r := registration(dialKeys, secret)
				r.Instance = domain.Instance{7}
				client.transport.LeaveAlias(r, func(err error) { n.call("goodbye %t", err == nil) })
				l.Close(func() { n.call("listener closed") }) // in the same turn, as a client does
			})
			n.until("the goodbye is answered", 1500*time.Millisecond, func() bool { return n.called("goodbye") })
			if !n.called(fmt.Sprintf("goodbye %t", !c.err)) || n.called("alias open") != c.dials {
				t.Errorf("called %v", n.calls)
			}
			if c.name == "answered after a write" && !n.called("left a true true") {
				t.Errorf("called %v", n.calls)
			}
			if c.dials && !n.called("leave a true") { // proven, although the server is closed
				t.Errorf("called %v", n.calls)
			}
			n.wait("listener closed")
			n.wait("session close <nil>")
			n.close(client)
			n.close(scraper)
		})
	}
}

func TestCanceledGoodbyeOnTheConnectionOfTheMetrics(t *testing.T) {
	n := newNet(t, 16)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	l := n.listenMetrics(client)
	n.dial(scraper)
	n.wait("metrics open")
	client.host.Do(func() {
		client.transport.LeaveAlias(registration(dialKeys, secret), func(error) { t.Error("called after its cancel") })()
		l.Close(func() { n.call("listener closed") })
	})
	n.wait("listener closed")
	n.close(client)
}
