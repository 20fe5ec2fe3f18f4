package interop_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/ports/host"
)

// observer is a machine on whose way to the others someone can forge packets.
type observer struct {
	*udp.Host
	sends, receives atomic.Bool // lengthen the next message in that direction
}

type observedSocket struct {
	host.Socket
	by *observer
}

// OpenSocket implements host.Host.
func (o *observer) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	s, err := o.Host.OpenSocket(local)
	if err != nil {
		return nil, err
	}
	return observedSocket{s, o}, nil
}

// Send implements host.Socket.
func (s observedSocket) Send(to netip.AddrPort, ttl int, b []byte) {
	b = slices.Clone(b)
	lengthen(&s.by.sends, b)
	s.Socket.Send(to, ttl, b)
}

// OnReceive implements host.Socket.
func (s observedSocket) OnReceive(f func(from netip.AddrPort, b []byte)) {
	s.Socket.OnReceive(func(from netip.AddrPort, b []byte) {
		lengthen(&s.by.receives, b)
		f(from, b)
	})
}

// lengthen adds 2 MiB to the length of the message that begins in a UDX packet with data, once: its third byte.
func lengthen(due *atomic.Bool, b []byte) {
	const header, data = 20, 1
	if len(b) > header+3 && b[0] == 0xff && b[1] == 1 && b[2] == data && len(b) > header+3+int(b[3]) && due.CompareAndSwap(true, false) {
		b[header+int(b[3])+2] ^= 1 << 5
	}
}

// A JavaScript client that waits for the rest of a lengthened message answers no scrape any more, and acknowledges all of them. A message
// of its own that was lengthened hides its answers likewise. The scraper gets another connection.
func TestLengthenedMessagesAndAJavaScriptClient(t *testing.T) {
	t.Parallel()
	for name, arm := range map[string]func(*observer){
		"to the client":  func(o *observer) { o.sends.Store(true) },
		"to the scraper": func(o *observer) { o.receives.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := javaScriptTestnet(t, jspeer.Start(t))
			own := domain.KeyPairFromSeed(domain.SeedFrom(seedOf(t, t.Name())))
			client := jspeer.StartClient(jspeer.Start(t), jspeer.Args{
				"dht": net.dht(nil), "scraper": own.Public.String(), "secret": jspeer.Seed("secret"), "alias": "us", "text": "up 1\n",
			})
			client.Await("register-alias-error", nil) // nothing listens under the key; by now the client does
			o := &observer{Host: goHost(t)}
			ready := make(chan struct{})
			var session *app.Session
			var err error
			o.Do(func() {
				var node *hyperdht.Node
				node, err = hyperdht.New(o, hyperdht.Config{
					Bootstrap: net.bootstrap, Listen: netip.MustParseAddrPort("127.0.0.1:0"), WallClock: time.Now, OnReady: func() { close(ready) },
				})
				if err != nil {
					return
				}
				session, err = app.NewSession(app.SessionConfig{
					Host: o, Transport: dht.New(o, node, dht.Config{}), Keys: own, Client: domain.PublicKey(key(t, client.PublicKey)),
					RequestTimeout: 2 * time.Second,
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			await(t, "the node enters its network", ready)
			healed := make(chan int)
			o.Do(func() {
				good, timeouts := 0, 0
				var scrape func()
				scrape = func() {
					session.RequestMetrics(0, func(body []byte, err error) {
						switch {
						case err == nil && timeouts > 0:
							session.Close()
							healed <- timeouts
							return
						case err == nil:
							if good++; good == 2 {
								arm(o)
							}
						case good >= 2 && errors.Is(err, domain.ErrTimeout):
							timeouts++
						}
						o.AfterFunc(1500*time.Millisecond, scrape)
					})
				}
				scrape()
			})
			t.Logf("%d scrapes timed out", await(t, "scrapes after a lengthened message", healed))
		})
	}
}
