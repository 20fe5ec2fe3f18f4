package hyperdht_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// relayWorld is a server and a client that cannot reach each other, and a relay that both can.
type relayWorld struct {
	*world
	sh, ch *simnet.Host
	rh     *simnet.Host // the relay's
	sn, cn *hyperdht.Node
	relay  *hyperdht.RelayServer
}

func newRelayWorld(t *testing.T, seed uint64, cfg hyperdht.RelayConfig) *relayWorld {
	t.Helper()
	w := &relayWorld{world: newWorld(t, 8, simnet.Config{Seed: seed})}
	join := func(name string) (*simnet.Host, *hyperdht.Node) {
		h := w.host(name)
		n := w.node(h, hyperdht.Config{NoQuickFirewall: true})
		w.until(name+" is ready", time.Minute, n.Ready)
		return h, n
	}
	rh, rn := w.join("relay")
	w.rh = rh
	w.sh, w.sn = join("server")
	w.ch, w.cn = join("client")
	w.net.Block(w.sh, w.ch)
	w.net.Block(w.ch, w.sh)
	cfg.Keys = keyPair(7)
	ready := false
	rh.Do(func() {
		var err error
		if w.relay, err = rn.ServeRelay(cfg, func(error) { ready = true }); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the relay is announced", time.Minute, func() bool { return ready })
	return w
}

func (w *relayWorld) openDirectPath() {
	w.net.Unblock(w.sh, w.ch)
	w.net.Unblock(w.ch, w.sh)
}

func TestRelayCarriesWhatHasNoDirectPath(t *testing.T) {
	relays := []id.PublicKey{keyPair(7).Public}
	for name, opts := range map[string]struct {
		server hyperdht.ListenOptions
		client hyperdht.ConnectOptions
	}{
		"named by the server": {server: hyperdht.ListenOptions{RelayThrough: relays}},
		"named by the client": {client: hyperdht.ConnectOptions{RelayThrough: relays}},
		"named by both":       {server: hyperdht.ListenOptions{RelayThrough: relays}, client: hyperdht.ConnectOptions{RelayThrough: relays}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRelayWorld(t, 4, hyperdht.RelayConfig{})
			opts.server.Keys = keyPair(1)
			server := w.listen(w.sh, w.sn, opts.server)
			var c *hyperdht.Connection
			received, closed := 0, false
			w.ch.Do(func() {
				c = w.cn.Connect(server.PublicKey(), opts.client)
				c.OnMessage(func(b []byte) { received += len(b) })
				c.OnClose(func(error) { closed = true })
				c.Send(make([]byte, 200_000))
			})
			w.until("the echo is back", 10*time.Second, func() bool { return received == 200_000 })
			if c.Path() != hyperdht.PathRelayed {
				t.Errorf("the path is %v", c.Path())
			}
			w.net.Run(30 * time.Second) // punching gives up, the relay goes on
			if closed {
				t.Fatal("the connection did not outlive the failed punch")
			}
			w.ch.Do(func() { c.Send(make([]byte, 1000)) })
			w.until("the second echo is back", 10*time.Second, func() bool { return received == 201_000 })
			w.ch.Do(c.Close)
			w.until("the relay has forgotten the pair", 30*time.Second, func() bool {
				s := w.relay.Stats()
				return closed && s.Active == 0 && s.Waiting == 0 && s.Sessions == 0
			})
		})
	}
}

// A client sends as if from another host, from the start or once the relay has paired it: that host would get all that
// the other side sends.
func TestRelaySendsOnlyToHostsThatHaveAnswered(t *testing.T) {
	for name, paired := range map[string]bool{"from the start": false, "once it is paired": true} {
		t.Run(name, func(t *testing.T) {
			w := newRelayWorld(t, 14, hyperdht.RelayConfig{})
			relays := []id.PublicKey{w.relay.PublicKey()}
			w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: relays, OnConnection: func(c *hyperdht.Connection) {
				c.Send(make([]byte, 20_000))
			}})
			victim := w.host("victim")
			var sock host.Socket
			victim.Do(func() { sock, _ = victim.OpenSocket(netip.AddrPort{}) })
			arrived, forged := 0, 0
			w.net.SetFilter(func(d simnet.Datagram) bool {
				stream := len(d.Payload) >= 20 && d.Payload[0] == 0xff
				switch {
				case stream && d.From.Addr() == w.ch.Addr() && d.To.Addr() == w.rh.Addr() && (!paired || w.relay.Stats().Matched > 0):
					b, to := bytes.Clone(d.Payload), d.To
					w.net.AfterFunc(0, func() { victim.Do(func() { sock.Send(to, 0, b) }) })
					forged += len(b)
					return false
				case stream && d.To.Addr() == victim.Addr():
					arrived += len(d.Payload)
				}
				return true
			})
			w.ch.Do(func() { w.cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{}).Send(make([]byte, 100)) })
			w.net.Run(time.Minute)
			if forged == 0 || w.relay.Stats().Matched == 0 {
				t.Fatalf("%d bytes were forged, %d pairs matched", forged, w.relay.Stats().Matched)
			}
			if arrived > 3*forged || paired && arrived > 0 {
				t.Errorf("the relay sends %d bytes for %d to a host that has answered nothing", arrived, forged)
			}
		})
	}
}

func TestRelayedConnectionMovesToADirectPath(t *testing.T) {
	w := newRelayWorld(t, 5, hyperdht.RelayConfig{})
	server := w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: []id.PublicKey{w.relay.PublicKey()}})
	var c *hyperdht.Connection
	var got []string
	sent := 0
	w.ch.Do(func() {
		c = w.cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{})
		c.OnMessage(func(b []byte) { got = append(got, string(b)) })
	})
	// Messages flow all the time, before, during and after the change of path.
	var tick func()
	tick = func() {
		c.Send(fmt.Appendf(nil, "%d", sent))
		sent++
		if sent < 200 {
			w.ch.AfterFunc(50*time.Millisecond, tick)
		}
	}
	w.ch.Do(tick)
	w.until("the connection is relayed", 10*time.Second, func() bool { return c.Path() == hyperdht.PathRelayed && len(got) > 0 })
	w.openDirectPath()
	w.until("the connection is punched", 15*time.Second, func() bool { return c.Path() == hyperdht.PathPunched })
	w.until("all echoes are back", 15*time.Second, func() bool { return len(got) == 200 })
	w.until("both sides keep the relay in reserve", 30*time.Second, func() bool {
		return w.cn.Status().Peering.SecondWays == 1 && w.sn.Status().Peering.SecondWays == 1
	})
	w.until("the relay sees that", 3*time.Minute, func() bool { return w.relay.Stats().Reserve == 1 })
	for i, m := range got {
		if m != fmt.Sprint(i) {
			t.Fatalf("echo %d is %q", i, m)
		}
	}
	if s := w.cn.Status().Peering; s.RelayUpgrades != 1 {
		t.Errorf("%d upgrades at the client", s.RelayUpgrades)
	}
	w.ch.Do(c.Close)
	w.until("the relay is not needed any more", 15*time.Second, func() bool {
		s := w.relay.Stats()
		return s.Active == 0 && s.Sessions == 0
	})
}

// TestRelayAndDirectPathRaceWithoutLoss lets the two be found at nearly the same time, in either order at either
// side: what one side has sent over the relay must arrive although the other has found the direct path first.
func TestRelayAndDirectPathRaceWithoutLoss(t *testing.T) {
	for seed := range uint64(40) {
		w := newRelayWorld(t, 100+seed, hyperdht.RelayConfig{})
		server := w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: []id.PublicKey{w.relay.PublicKey()}})
		received, closed := 0, error(nil)
		w.ch.Do(func() {
			c := w.cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{})
			c.OnMessage(func(b []byte) { received += len(b) })
			c.OnClose(func(err error) { closed = err })
			c.Send(make([]byte, 50_000))
		})
		w.net.Run(time.Duration(100+seed*5) * time.Millisecond)
		w.openDirectPath()
		w.until("the echo is back", 10*time.Second, func() bool { return received == 50_000 || closed != nil })
		w.net.Run(30 * time.Second)
		if closed != nil {
			t.Errorf("seed %d: closed with %v", 100+seed, closed)
		}
	}
}

func TestRelayRefusesBeyondItsLimits(t *testing.T) {
	w := newRelayWorld(t, 6, hyperdht.RelayConfig{MaxPairsPerKey: 1})
	relays := []id.PublicKey{w.relay.PublicKey()}
	server := w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: relays})
	opened := 0
	var failed error
	w.ch.Do(func() {
		for range 2 {
			c := w.cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{})
			c.OnOpen(func() { opened++ })
			c.OnClose(func(err error) { failed = err })
		}
	})
	w.until("the second connection fails", time.Minute, func() bool { return failed != nil })
	if opened != 1 || w.relay.Stats().RefusedKey == 0 {
		t.Errorf("%d opened, relay %+v", opened, w.relay.Stats())
	}
	if errors.Is(failed, hyperdht.ErrConnectionClosed) {
		t.Errorf("failed with %v", failed)
	}
	if w.cn.Status().Peering.RelayRefusals == 0 || w.sn.Status().Peering.RelayRefusals == 0 {
		t.Error("the refusals are not counted")
	}
}

// A scraper has one pair for each of its clients, which is not what the limit of a key is for.
func TestRelayCountsPairsForTheSideWithFewer(t *testing.T) {
	for _, name := range []string{"server", "client"} {
		t.Run("named by the "+name, func(t *testing.T) {
			w := newRelayWorld(t, 9, hyperdht.RelayConfig{MaxPairsPerKey: 1})
			var relays [2][]id.PublicKey
			if name == "server" {
				relays[0] = []id.PublicKey{w.relay.PublicKey()}
			} else {
				relays[1] = []id.PublicKey{w.relay.PublicKey()}
			}
			server := w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: relays[0]})
			opened := 0
			for i := range 4 {
				h := w.host(fmt.Sprintf("client-%d", i))
				n := w.node(h, hyperdht.Config{NoQuickFirewall: true})
				w.until("the client is ready", time.Minute, n.Ready)
				w.net.Block(w.sh, h)
				w.net.Block(h, w.sh)
				h.Do(func() {
					c := n.Connect(server.PublicKey(), hyperdht.ConnectOptions{RelayThrough: relays[1]})
					c.OnOpen(func() { opened++ })
				})
			}
			w.until("all clients are connected", time.Minute, func() bool { return opened == 4 })
			if s := w.relay.Stats(); s.Active != 4 || s.RefusedKey != 0 {
				t.Errorf("relay %+v", s)
			}
		})
	}
}

// relayClient is a client of a relay that shows tokens by itself.
func (w *relayWorld) relayClient(keys id.KeyPair, tokens ...[32]byte) (refused *[]wire.RelayReason, closed *bool) {
	refused, closed = new([]wire.RelayReason), new(bool)
	w.ch.Do(func() {
		c := w.cn.Connect(w.relay.PublicKey(), hyperdht.ConnectOptions{Keys: &keys})
		m := mux.New(c)
		m.OnClose(func(error) { *closed = true })
		ch, err := m.Open(mux.ChannelOptions{
			Protocol: "blind-relay", ID: keys.Public[:],
			Messages: []func([]byte){func([]byte) {}, func(b []byte) {
				u, err := wire.ParseRelayUnpair(b)
				if err != nil {
					w.t.Error(err)
				}
				*refused = append(*refused, u.Reason)
			}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		for i, token := range tokens {
			ch.Send(0, wire.RelayPair{Token: token, ID: uint32(i)}.Append(nil))
		}
	})
	return refused, closed
}

// Unmatched tokens took all 1,024 places of a relay for good.
func TestRelayForgetsUnmatchedTokens(t *testing.T) {
	w := newRelayWorld(t, 10, hyperdht.RelayConfig{})
	refused, closed := w.relayClient(keyPair(30), [32]byte{1}, [32]byte{2}, [32]byte{3})
	w.until("they wait", 10*time.Second, func() bool { return w.relay.Stats().Waiting == 3 })
	w.net.Run(21 * time.Second)
	if s := w.relay.Stats(); s.Waiting != 0 || s.Expired != 3 || !slices.Equal(*refused, []wire.RelayReason{wire.RelayExpired, wire.RelayExpired, wire.RelayExpired}) {
		t.Errorf("relay %+v, told %v", s, *refused)
	}
	w.until("the client without a pair is sent away", time.Minute, func() bool { return *closed && w.relay.Stats().Sessions == 0 })
}

func TestClientsOfARelayThatAskForNothingEnd(t *testing.T) {
	w := newRelayWorld(t, 11, hyperdht.RelayConfig{})
	var closed []*bool
	for i := range byte(5) {
		_, c := w.relayClient(keyPair(30 + i))
		closed = append(closed, c)
	}
	w.until("they are connected", 10*time.Second, func() bool { return w.relay.Stats().Sessions == 5 })
	w.net.Run(40 * time.Second)
	if s := w.relay.Stats(); s.Sessions != 0 || s.Expired != 5 || !*closed[0] {
		t.Errorf("relay %+v", s)
	}
}

// Tokens of one client push out each other, not those of others.
func TestFullRelayDropsTheTokensOfTheFullest(t *testing.T) {
	w := newRelayWorld(t, 12, hyperdht.RelayConfig{MaxPairs: 16})
	var many [][32]byte
	for i := range byte(40) {
		many = append(many, [32]byte{9, i})
	}
	patient, _ := w.relayClient(keyPair(30), [32]byte{1})
	w.until("one waits", 10*time.Second, func() bool { return w.relay.Stats().Waiting == 1 })
	greedy, _ := w.relayClient(keyPair(31), many...)
	w.net.Run(5 * time.Second)
	if s := w.relay.Stats(); s.Waiting != 16 || s.Crowded != 25 || len(*patient) != 0 || len(*greedy) != 25 {
		t.Errorf("relay %+v, told %d and %d", s, len(*patient), len(*greedy))
	}
}

// Both sides of a pair are connected to the relay and send nothing through it.
func TestRelayedPairsThatCarryNothingEnd(t *testing.T) {
	w := newRelayWorld(t, 13, hyperdht.RelayConfig{})
	w.relayClient(keyPair(30), [32]byte{1})
	keys := keyPair(31)
	w.sh.Do(func() {
		c := w.sn.Connect(w.relay.PublicKey(), hyperdht.ConnectOptions{Keys: &keys})
		ch, err := mux.New(c).Open(mux.ChannelOptions{Protocol: "blind-relay", ID: keys.Public[:], Messages: []func([]byte){func([]byte) {}, func([]byte) {}}})
		if err != nil {
			t.Fatal(err)
		}
		ch.Send(0, wire.RelayPair{Initiator: true, Token: [32]byte{1}, ID: 7}.Append(nil))
	})
	w.until("they are paired", 10*time.Second, func() bool { return w.relay.Stats().Active == 1 })
	w.net.Run(90 * time.Second)
	if s := w.relay.Stats(); s.Active != 0 || s.Sessions != 0 || s.Expired != 3 {
		t.Errorf("relay %+v", s)
	}
}

func TestRelayAdmitsWhomItIsTold(t *testing.T) {
	w := newRelayWorld(t, 7, hyperdht.RelayConfig{Admit: func(id.PublicKey) bool { return false }})
	server := w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	var failed error
	w.ch.Do(func() {
		c := w.cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{RelayThrough: []id.PublicKey{w.relay.PublicKey()}})
		c.OnClose(func(err error) { failed = err })
	})
	w.until("the connection fails", time.Minute, func() bool { return failed != nil })
	if w.relay.Stats().Sessions != 0 {
		t.Errorf("relay %+v", w.relay.Stats())
	}
}

// TestOpenServerLeavesItsRelay has a relay pair a client with an open server before the client's first direct packet
// arrives. The server's socket is the one on which it talks to the relay, so only the address tells the two paths apart.
func TestOpenServerLeavesItsRelay(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 200})
	rh, rn := w.join("relay")
	ready := false
	rh.Do(func() {
		if _, err := rn.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(7)}, func(error) { ready = true }); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the relay is announced", time.Minute, func() bool { return ready })
	sh, sn := w.join("server")
	random := situation{nat: simnet.MasqueradeRandom()}
	ch, cn := w.settle("client", random, netip.MustParseAddr("81.2.3.1"), netip.MustParseAddr("192.168.1.10"))
	w.net.SetLinks(ch, sh, simnet.Link{Delay: 1500 * time.Millisecond})
	var s *hyperdht.Connection
	var first hyperdht.Path
	server := w.listen(sh, sn, hyperdht.ListenOptions{
		Keys: keyPair(1), RelayThrough: []id.PublicKey{keyPair(7).Public},
		OnConnection: func(c *hyperdht.Connection) {
			s, first = c, c.Path()
			c.OnMessage(func(b []byte) { c.Send(b) })
		},
	})
	var c *hyperdht.Connection
	received, closed := 0, error(nil)
	ch.Do(func() {
		c = cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{})
		c.OnMessage(func(b []byte) { received += len(b) })
		c.OnClose(func(err error) { closed = err })
		c.Send(make([]byte, 10_000))
	})
	w.until("the echo is back", 10*time.Second, func() bool { return received == 10_000 || closed != nil })
	w.net.SetLinks(ch, sh, simnet.Link{Delay: 10 * time.Millisecond}) // or the relay would be the better path
	w.net.Run(time.Minute)
	ch.Do(func() { c.Send(make([]byte, 1000)) })
	w.until("the second echo is back", 10*time.Second, func() bool { return received == 11_000 || closed != nil })
	if first != hyperdht.PathRelayed {
		t.Fatalf("the server's first path is %v: the relay was too late", first)
	}
	if closed != nil || s.Path() != hyperdht.PathDirect || c.Path() != hyperdht.PathDirect {
		t.Errorf("the server's path is %v, the client's %v; closed with %v", s.Path(), c.Path(), closed)
	}
}

// A client that is both sides of its pairs: it counted several times as one without a pair once they had ended, for good,
// and ended the relay's process when it left before.
func TestClientThatIsBothSidesOfAPairIsCountedOnce(t *testing.T) {
	for name, unpair := range map[string]bool{"the pairs end first": true, "the client leaves first": false} {
		t.Run(name, func(t *testing.T) {
			w := newRelayWorld(t, 15, hyperdht.RelayConfig{})
			keys := keyPair(30)
			var c *hyperdht.Connection
			w.ch.Do(func() {
				c = w.cn.Connect(w.relay.PublicKey(), hyperdht.ConnectOptions{Keys: &keys})
				ch, err := mux.New(c).Open(mux.ChannelOptions{Protocol: "blind-relay", ID: keys.Public[:], Messages: []func([]byte){func([]byte) {}, func([]byte) {}}})
				if err != nil {
					t.Fatal(err)
				}
				for i := range byte(8) {
					for _, initiator := range []bool{false, true} {
						ch.Send(0, wire.RelayPair{Initiator: initiator, Token: [32]byte{i}, ID: 7}.Append(nil))
					}
					if unpair {
						ch.Send(1, wire.RelayUnpair{Token: [32]byte{i}}.Append(nil))
					}
				}
			})
			check := func(when string, sessions int) {
				t.Helper()
				w.relay.Sizes(func(what string, held, _ int) {
					if what == "clients of the relay without a pair" && held != sessions {
						t.Errorf("%s, %d clients without a pair are counted, want %d", when, held, sessions)
					}
				})
			}
			w.until("the pairs were made", 10*time.Second, func() bool { return w.relay.Stats().Matched == 8 })
			if unpair {
				w.until("the pairs have ended", 10*time.Second, func() bool { return w.relay.Stats().Active == 0 })
				check("while it is connected", 1)
			}
			w.ch.Do(func() { c.Destroy(nil) })
			w.until("it has gone", time.Minute, func() bool { return w.relay.Stats().Sessions == 0 })
			check("once it has gone", 0)
			if s := w.relay.Stats(); s.Active != 0 || s.Waiting != 0 {
				t.Errorf("relay %+v", s)
			}
		})
	}
}

// A client's connection to a relay came over another relay, whose address is not the client's: packets between the legs of
// two relays would circulate forever.
func TestRelaySendsNothingToTheRelayOfAClient(t *testing.T) {
	w := newRelayWorld(t, 16, hyperdht.RelayConfig{})
	var second *hyperdht.RelayServer
	ready := false
	w.sh.Do(func() {
		var err error
		if second, err = w.sn.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(8)}, func(error) { ready = true }); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the second relay is announced", time.Minute, func() bool { return ready })
	keys := keyPair(30)
	var legs []uint32
	var c *hyperdht.Connection
	w.ch.Do(func() {
		c = w.cn.Connect(second.PublicKey(), hyperdht.ConnectOptions{Keys: &keys, RelayThrough: []id.PublicKey{w.relay.PublicKey()}})
		ch, err := mux.New(c).Open(mux.ChannelOptions{Protocol: "blind-relay", ID: keys.Public[:], Messages: []func([]byte){
			func(b []byte) {
				m, err := wire.ParseRelayPair(b)
				if err != nil {
					t.Error(err)
				}
				legs = append(legs, m.ID)
			}, func([]byte) {},
		}})
		if err != nil {
			t.Fatal(err)
		}
		ch.Send(0, wire.RelayPair{Token: [32]byte{1}, ID: 7}.Append(nil))
		ch.Send(0, wire.RelayPair{Initiator: true, Token: [32]byte{1}, ID: 8}.Append(nil))
	})
	w.until("the pair is made", 10*time.Second, func() bool { return len(legs) == 2 })
	if c.Path() != hyperdht.PathRelayed {
		t.Fatalf("the path is %v", c.Path())
	}
	to := netip.AddrPortFrom(w.sh.Addr(), w.sn.Status().Local.Port())
	arrived := 0
	var sock host.Socket
	w.rh.Do(func() {
		var err error
		if sock, err = w.rh.OpenSocket(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		sock.OnReceive(func(_ netip.AddrPort, b []byte) {
			arrived++
			udx.PutStreamID(b, legs[arrived%2])
			sock.Send(to, 0, b) // as the legs of the first relay would
		})
		for range 2 {
			for _, leg := range legs {
				sock.Send(to, 0, udx.Header{Flags: udx.FlagData, StreamID: leg}.Append(nil))
			}
		}
	})
	w.net.Run(5 * time.Second)
	if arrived > 0 {
		t.Errorf("the relay passes %d packets on to a host that asked for none", arrived)
	}
}
