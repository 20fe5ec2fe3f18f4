package interop_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// relays are the two kinds of blind relays. matched returns the number of pairs that a relay has connected.
var relays = []struct {
	name  string
	start func(t *testing.T, net testnet, p *jspeer.Peer) (key id.PublicKey, matched func() int)
}{
	{"Go relay", func(t *testing.T, net testnet, _ *jspeer.Peer) (id.PublicKey, func() int) {
		n := startNode(t, net, hyperdht.Config{})
		var relay *hyperdht.RelayServer
		announced := make(chan error, 1)
		n.do(func() {
			var err error
			if relay, err = n.ServeRelay(hyperdht.RelayConfig{Keys: keys(t, "relay")}, func(err error) { announced <- err }); err != nil {
				t.Error(err)
			}
		})
		if err := await(t, "the relay is announced", announced); err != nil {
			t.Fatal(err)
		}
		return relay.PublicKey(), func() (matched int) {
			n.do(func() { matched = int(relay.Stats().Matched) })
			return matched
		}
	}},
	{"JavaScript relay", func(t *testing.T, net testnet, p *jspeer.Peer) (id.PublicKey, func() int) {
		n := jspeer.StartNode(p, net.dht(nil))
		var relay struct {
			On        int
			PublicKey string
		}
		p.Call("relay", jspeer.Args{"on": n.On, "seed": jspeer.Seed("relay")}, &relay)
		return key(t, relay.PublicKey), func() int {
			var s struct{ Matched int }
			p.Call("relayStats", jspeer.Args{"on": relay.On}, &s)
			return s.Matched
		}
	}},
}

// relayedSize is the number of bytes over relays, in both directions.
const relayedSize = 1 << 20

// Peers that take themselves for firewalled, do not punch and do not share their local addresses can only use a relay.
func TestRelaysCarryConnectionsOfBoth(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	net := goTestnet(t)
	for _, relay := range relays {
		t.Run(relay.name, func(t *testing.T) {
			p := p.For(t)
			through, matched := relay.start(t, net, p)
			hidden := jspeer.Args{"ephemeral": true, "quickFirewall": false}
			a, b := jspeer.StartNode(p, net.dht(hidden)), jspeer.StartNode(p, net.dht(hidden))
			ours, other := startNode(t, net, hyperdht.Config{NoQuickFirewall: true}), startNode(t, net, hyperdht.Config{NoQuickFirewall: true})
			var server struct{ PublicKey string }
			p.Call("listen", jspeer.Args{"on": b.On, "holepunch": false, "shareLocalAddress": false}, &server)
			us := other.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "us"), NeverPunch: true, HideLocalAddrs: true})

			pairs := 0
			carried := func(t *testing.T) {
				t.Helper()
				pairs++
				if got := matched(); got != pairs {
					t.Errorf("the relay has carried %d connections, want %d", got, pairs)
				}
			}
			fromJS := func(p *jspeer.Peer, to id.PublicKey) {
				p.Call("echo", jspeer.Args{
					"on": a.On, "key": to.Hex(), "relayThrough": through.Hex(), "localConnection": false, "holepunch": false,
					"bytes": relayedSize, "chunk": 50_000,
				}, nil)
			}
			fromGo := func(to id.PublicKey) {
				w := ours.connect(to, hyperdht.ConnectOptions{RelayThrough: []id.PublicKey{through}, NoLocal: true})
				w.echoed(relayedSize)
				if path := w.path(); path != hyperdht.PathRelayed {
					t.Errorf("the connection went %v", path)
				}
				w.end()
			}
			t.Run("JavaScript to JavaScript", func(t *testing.T) {
				fromJS(p.For(t), key(t, server.PublicKey))
				carried(t)
			})
			t.Run("JavaScript to Go", func(t *testing.T) {
				fromJS(p.For(t), us.PublicKey())
				carried(t)
			})
			t.Run("Go to JavaScript", func(t *testing.T) {
				fromGo(key(t, server.PublicKey))
				carried(t)
			})
			t.Run("Go to Go", func(t *testing.T) {
				fromGo(us.PublicKey())
				carried(t)
			})
		})
	}
}

// A relay serves until there is a better path. Which of the two is found first is open on one machine; that the connection
// ends up without the relay, and that nothing is lost on the way, is not.
func TestRelayedConnectionsMoveToADirectPath(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	net := goTestnet(t)
	for _, relay := range relays {
		t.Run(relay.name, func(t *testing.T) {
			p := p.For(t)
			through, matched := relay.start(t, net, p)
			a, b := jspeer.StartNode(p, net.dht(jspeer.Args{"quickFirewall": false})), jspeer.StartNode(p, net.dht(jspeer.Args{"quickFirewall": false}))
			ours := startNode(t, net, hyperdht.Config{NoQuickFirewall: true})
			for _, by := range []string{"named by the client", "named by the server"} {
				t.Run(by, func(t *testing.T) {
					p := p.For(t)
					listen := jspeer.Args{"on": b.On, "shareLocalAddress": false}
					dial := hyperdht.ConnectOptions{NoLocal: true}
					serve := hyperdht.ListenOptions{Keys: keys(t, relay.name+by), HideLocalAddrs: true}
					connect := jspeer.Args{"on": a.On, "localConnection": false, "bytes": relayedSize, "chunk": 50_000}
					if by == "named by the server" {
						listen["relayThrough"] = through.Hex()
						serve.RelayThrough = []id.PublicKey{through}
					} else {
						dial.RelayThrough = []id.PublicKey{through}
						connect["relayThrough"] = through.Hex()
					}
					var server struct{ PublicKey string }
					p.Call("listen", listen, &server)
					w := ours.connect(key(t, server.PublicKey), dial)
					w.echoed(relayedSize)
					ours.until("the dialled connection is punched", func() bool { return w.c.Path() == hyperdht.PathPunched })
					w.echoed(relayedSize)

					incoming := make(chan *hyperdht.Connection, 1)
					serve.OnConnection = func(c *hyperdht.Connection) {
						c.OnMessage(func(b []byte) {
							if !c.Send(b) {
								c.Pause()
							}
						})
						c.OnDrain(c.Resume)
						incoming <- c
					}
					connect["key"] = ours.listen(serve).PublicKey().Hex()
					p.Call("echo", connect, nil)
					c := await(t, "a connection comes in", incoming)
					ours.until("the accepted connection is punched", func() bool { return c.Path() == hyperdht.PathPunched })
				})
			}
			t.Logf("the relay was first for %d of 4 connections", matched())
		})
	}
}
