package interop_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// A peer that is not admitted receives no answer, and can tell neither the reason nor the sender: all four pairs fail
// alike.
func TestStrangersMeetSilence(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("through "+network.name, func(t *testing.T) {
			t.Parallel()
			p := jspeer.Start(t)
			net := network.start(t, p)
			friend := keys(t, "friend")

			theirs := jspeer.StartNode(p, net.dht(nil))
			var server struct {
				On        int
				PublicKey string
			}
			p.Call("listen", jspeer.Args{"on": theirs.On, "admit": []string{friend.Public.Hex()}}, &server)

			ours := startNode(t, net, hyperdht.Config{})
			asked := make(chan netip.AddrPort, maxQueued)
			us := ours.serveEcho(hyperdht.ListenOptions{
				Keys: keys(t, "us"),
				Admit: func(remote id.PublicKey, _ *hyperdht.HandshakePayload, from netip.AddrPort) bool {
					if remote != friend.Public {
						asked <- from
					}
					return remote == friend.Public
				},
			})

			goStranger, jsStranger := startNode(t, net, hyperdht.Config{}), jspeer.StartNode(p, net.dht(nil))
			refused := func(to string) func(any) error {
				return p.Go("stranger", jspeer.Args{"on": jsStranger.On, "key": to})
			}
			jsToJS, jsToGo := refused(server.PublicKey), refused(us.PublicKey().Hex())
			goToJS := goStranger.dial(key(t, server.PublicKey), hyperdht.ConnectOptions{})
			goToGo := goStranger.dial(us.PublicKey(), hyperdht.ConnectOptions{})

			const code = "PEER_CONNECTION_FAILED"
			for name, wait := range map[string]func(any) error{"JavaScript": jsToJS, "Go": jsToGo} {
				var how struct {
					Admitted bool
					Why      string
					Code     string
				}
				if err := wait(&how); err != nil || how.Admitted || how.Code != code {
					t.Errorf("JavaScript stranger at %s server: %+v, %v, want %s", name, how, err, code)
				}
			}
			for name, w := range map[string]*wire{"JavaScript": goToJS, "Go": goToGo} {
				if err := await(t, "the stranger fails", w.closed); !errors.Is(err, hyperdht.ErrPeerConnectionFailed) {
					t.Errorf("Go stranger at %s server: %v, want %s", name, err, code)
				}
			}
			p.Await("firewall", jspeer.Of(server.On))
			if from := await(t, "our firewall is asked", asked); !from.Addr().IsLoopback() {
				t.Errorf("the stranger came from %v", from)
			}

			// The same servers admit a known key.
			p.Call("echo", jspeer.Args{"on": jsStranger.On, "key": us.PublicKey().Hex(), "seed": jspeer.Seed("friend")}, nil)
			goStranger.connect(key(t, server.PublicKey), hyperdht.ConnectOptions{Keys: &friend}).echoed(1000)
		})
	}
}

func TestUnknownKeysAreNotFound(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("through "+network.name, func(t *testing.T) {
			p := jspeer.Start(t)
			net := network.start(t, p)
			nobody := keys(t, "nobody").Public
			var how struct{ Code string }
			p.Call("stranger", jspeer.Args{"on": jspeer.StartNode(p, net.dht(nil)).On, "key": nobody.Hex()}, &how)
			if how.Code != "PEER_NOT_FOUND" {
				t.Errorf("JavaScript fails with %s", how.Code)
			}
			w := startNode(t, net, hyperdht.Config{}).dial(nobody, hyperdht.ConnectOptions{})
			if err := await(t, "the attempt ends", w.closed); !errors.Is(err, hyperdht.ErrPeerNotFound) {
				t.Errorf("Go fails with %v", err)
			}
		})
	}
}
