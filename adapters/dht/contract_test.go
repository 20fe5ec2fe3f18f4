package dht_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestTransportKeepsTheContract(t *testing.T) {
	seed := uint64(500)
	portstest.TestTransport(t, func(t *testing.T) portstest.TransportBench {
		seed++
		n := newNet(t, seed)
		return portstest.TransportBench{
			Open: func(_ *testing.T, name string) (ports.Transport, host.Loop, func(func())) {
				p := n.peer(name, dht.Config{})
				return p.transport, p.host, p.host.Do
			},
			Until: func(t *testing.T, what string, cond func() bool) {
				t.Helper()
				if !n.net.RunUntil(cond, time.Minute) {
					t.Fatalf("never: %s", what)
				}
			},
			Settle: func() { n.net.Run(5 * time.Second) },
		}
	})
}

// A client at the other end of a connection is a source as well.
func TestSessionKeepsTheContractOfSources(t *testing.T) {
	seed := uint64(600)
	portstest.TestMetricsSource(t, func(t *testing.T) portstest.SourceBench {
		seed++
		n := newNet(t, seed)
		scraper := n.peer("scraper", dht.Config{})
		clients := byte(0)
		return portstest.SourceBench{
			Do: scraper.host.Do,
			Until: func(t *testing.T, what string, cond func() bool) {
				t.Helper()
				n.until(what, time.Minute, cond)
			},
			Open: func(t *testing.T, says portstest.SourceAnswer) (session ports.MetricsSource) {
				clients++
				client := n.peer(fmt.Sprint("client-", clients), dht.Config{})
				source := portstest.NewSource(client.host, string(says.Body))
				source.Silent = says.Hangs
				if says.Fails {
					source.Err = errors.New("no metrics")
				}
				keys, ready := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{clients})), false
				client.host.Do(func() {
					_, err := client.transport.ListenMetrics(ports.MetricsListen{
						Keys: keys, Admit: func(domain.PublicKey, domain.HandshakePayload, netip.AddrPort) bool { return true },
						OnOpen: func(ports.Conn) ports.MetricsHandlers {
							return ports.MetricsHandlers{OnScrape: source.Scrape, OnError: func(error) {}, OnClose: func() {}}
						},
					}, func(error) { ready = true })
					if err != nil {
						t.Fatal(err)
					}
				})
				n.until("the client is ready", time.Minute, func() bool { return ready })
				scraper.host.Do(func() {
					session = scraper.transport.DialMetrics(ports.MetricsDial{
						Keys: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{99})), Client: keys.Public,
						OnOpen: func(domain.Peer) {}, OnReady: func() {}, OnClose: func(error) {},
					})
				})
				return session
			},
		}
	})
}
