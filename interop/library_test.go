package interop_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// A node of one implementation enters the network by the saved nodes of the other one, without a bootstrap node.
func TestSavedNodesOfEitherLeadIntoTheNetwork(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("of "+network.name, func(t *testing.T) {
			p := jspeer.Start(t)
			net := network.start(t, p)
			theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
			var server struct{ PublicKey string }
			p.Call("listen", jspeer.Args{"on": theirs.On}, &server)

			var info struct{ Nodes []jspeer.Address }
			p.Call("info", jspeer.Args{"on": theirs.On}, &info)
			var saved []netip.AddrPort
			for _, a := range info.Nodes {
				saved = append(saved, a.AddrPort())
			}
			if len(saved) < testnetSize/2 {
				t.Fatalf("JavaScript knows %v", saved)
			}
			startNode(t, testnet{bootstrap: []string{}}, hyperdht.Config{Nodes: saved}).connect(key(t, server.PublicKey), hyperdht.ConnectOptions{}).echoed(1000)

			var nodes []jspeer.Args
			ours.do(func() {
				for _, a := range ours.Nodes() {
					nodes = append(nodes, jspeer.Args{"host": a.Addr().String(), "port": a.Port()})
				}
			})
			if len(nodes) < testnetSize/2 {
				t.Fatalf("Go knows %v", nodes)
			}
			later := jspeer.StartNode(p, jspeer.Args{"bootstrap": []string{}, "nodes": nodes})
			p.Call("echo", jspeer.Args{"on": later.On, "key": server.PublicKey}, nil)
		})
	}
}

// Both sides dial at the same time: one connection is left, the same on both, and it is that of the smaller key.
func TestPoolsOfBothKeepTheSameConnection(t *testing.T) {
	t.Parallel()
	p := jspeer.Start(t)
	net := goTestnet(t)
	small, large := keys(t, "pooled a"), keys(t, "pooled b")
	smallSeed, largeSeed := jspeer.Seed("pooled a"), jspeer.Seed("pooled b")
	if bytes.Compare(small.Public[:], large.Public[:]) > 0 {
		small, large, smallSeed, largeSeed = large, small, largeSeed, smallSeed
	}
	for _, side := range []struct {
		name      string
		ours      id.KeyPair
		theirs    id.KeyPair
		seed      string
		initiator bool // Go
	}{
		{"Go has the smaller key", small, large, largeSeed, true},
		{"JavaScript has the smaller key", large, small, smallSeed, false},
	} {
		t.Run(side.name, func(t *testing.T) {
			p := p.For(t)
			node := jspeer.StartNode(p, net.dht(jspeer.Args{"seed": side.seed}))
			var pool struct{ On int }
			p.Call("pool", jspeer.Args{"on": node.On}, &pool)
			p.Call("listen", jspeer.Args{"on": node.On, "seed": side.seed, "pool": pool.On, "mode": "hold"}, nil)

			ours := startNode(t, net, hyperdht.Config{Keys: side.ours})
			var here *hyperdht.ConnectionPool
			messages := make(chan string, maxQueued)
			ours.do(func() {
				here = ours.NewConnectionPool(func(c *hyperdht.Connection) {
					c.OnMessage(func(b []byte) { messages <- string(b) })
				})
			})
			ours.listen(hyperdht.ListenOptions{Keys: side.ours, OnConnection: func(c *hyperdht.Connection) { here.Add(c) }})

			// The side with the smaller key begins, so that its dial is under way when the other one's arrives.
			connected := make(chan error, 1)
			connect := func() {
				ours.do(func() {
					here.Connect(side.theirs.Public, hyperdht.ConnectOptions{}, func(_ *hyperdht.Connection, err error) { connected <- err })
				})
			}
			if side.initiator {
				connect()
			}
			p.Call("poolConnect", jspeer.Args{"on": pool.On, "key": side.ours.Public.Hex()}, nil)
			if !side.initiator {
				connect()
			}
			if err := await(t, "our dial ends", connected); err != nil {
				t.Error(err)
			}
			var hash [64]byte
			ours.until("our pool has the connection of the smaller key", func() bool {
				c := here.Get(side.theirs.Public)
				if c == nil || c.IsInitiator() != side.initiator || here.Connecting() > 0 {
					return false
				}
				hash = c.HandshakeHash()
				return len(here.Connections()) == 1
			})
			there := struct {
				jspeerConnection
				Connections int
			}{}
			p.Call("pooled", jspeer.Args{"on": pool.On, "initiator": !side.initiator}, &there)
			there.Peer = p
			if there.HandshakeHash != hex.EncodeToString(hash[:]) || there.Connections != 1 {
				t.Errorf("they have %d connections, the first is %s, Go has %x", there.Connections, there.HandshakeHash, hash)
			}
			there.do("send", jspeer.Args{"bytes": hex.EncodeToString([]byte("pooled"))})
			if got := await(t, "a message", messages); got != "pooled" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// Callers of both wait for a decision that takes a second, such as that of an asynchronous firewall.
func TestDecisionsMayTakeTime(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	ours := startNode(t, net, hyperdht.Config{})
	friend := keys(t, "friend")
	us := ours.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "us"), AdmitLater: func(a *hyperdht.Admission) {
		decide := a.Reject
		if a.Remote == friend.Public {
			decide = a.Accept
		}
		ours.host.AfterFunc(time.Second, decide)
	}})
	theirs := jspeer.StartNode(p, net.dht(nil))
	var how struct{ Admitted bool }
	stranger := p.Go("stranger", jspeer.Args{"on": theirs.On, "key": us.PublicKey().Hex()})
	p.Call("echo", jspeer.Args{"on": theirs.On, "key": us.PublicKey().Hex(), "seed": jspeer.Seed("friend")}, nil)
	var server struct{ PublicKey string }
	p.Call("listen", jspeer.Args{"on": theirs.On, "admit": []string{friend.Public.Hex()}, "decideMs": 1000}, &server)
	unknown := startNode(t, net, hyperdht.Config{}).dial(key(t, server.PublicKey), hyperdht.ConnectOptions{})
	startNode(t, net, hyperdht.Config{}).connect(key(t, server.PublicKey), hyperdht.ConnectOptions{Keys: &friend}).echoed(1000)
	if err := await(t, "a Go stranger is rejected", unknown.closed); !errors.Is(err, hyperdht.ErrPeerConnectionFailed) {
		t.Errorf("a Go stranger: %v", err)
	}
	if err := stranger(&how); err != nil || how.Admitted {
		t.Errorf("a JavaScript stranger: %+v, %v", how, err)
	}
}

// Each side of a punch may forbid it, and the other one learns that, in either implementation. On one machine the datagram with a low TTL
// that opens a NAT arrives at the other side, and its answer is a path: so none is sent where JavaScript forbids the punch. Go neither
// sends nor answers it where it may forbid the punch.
func TestPunchesCanBeForbiddenByEither(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	hidden := jspeer.Args{"quickFirewall": false, "ephemeral": true}
	theirs := jspeer.StartNode(p, net.dht(hidden))
	ours := startNode(t, net, hyperdht.Config{NoQuickFirewall: true})
	never := func(hyperdht.Punch) bool { return false }
	listen := func(veto bool) id.PublicKey {
		var server struct{ PublicKey string }
		p.Call("listen", jspeer.Args{"on": theirs.On, "seed": jspeer.Seed(fmt.Sprint("forbids ", veto)), "shareLocalAddress": false, "vetoPunch": veto}, &server)
		return key(t, server.PublicKey)
	}
	goToJS := func(to id.PublicKey, opts hyperdht.ConnectOptions) error {
		opts.NoLocal = true
		w := ours.dial(to, opts)
		defer w.destroy()
		return await(t, "a dial fails", w.closed)
	}
	if err := goToJS(listen(false), hyperdht.ConnectOptions{AdmitPunch: never}); !errors.Is(err, hyperdht.ErrHolepunchAborted) {
		t.Errorf("forbidden by Go that dials: %v", err)
	}
	if err := goToJS(listen(true), hyperdht.ConnectOptions{SlowOpen: true}); !errors.Is(err, hyperdht.ErrRemoteAborted) {
		t.Errorf("forbidden by a JavaScript server: %v", err)
	}
	us := ours.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "allows"), HideLocalAddrs: true})
	forbids := ours.serveEcho(hyperdht.ListenOptions{Keys: keys(t, "forbids"), HideLocalAddrs: true, AdmitPunch: never})
	for _, dial := range []struct {
		what string
		to   id.PublicKey
		args jspeer.Args
		code string
	}{
		{"forbidden by JavaScript that dials", us.PublicKey(), jspeer.Args{"holepunch": false, "fastOpen": false}, "HOLEPUNCH_ABORTED"},
		{"forbidden by a Go server", forbids.PublicKey(), nil, "HOLEPUNCH_ABORTED"}, // its puncher ends first
	} {
		args := jspeer.Args{"on": theirs.On, "key": dial.to.Hex(), "localConnection": false}
		for name, value := range dial.args {
			args[name] = value
		}
		var failed *jspeer.Error
		if err := p.Try("connect", args, nil); !errors.As(err, &failed) || failed.Code != dial.code {
			t.Errorf("%s: %v, want %s", dial.what, err, dial.code)
		}
	}
}

// Values can be stored again by a node that does not have their key, in either implementation, and the first value found ends a search.
func TestMutableValuesAreRefreshedByEither(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run("on "+network.name, func(t *testing.T) {
			p := jspeer.Start(t)
			net := network.start(t, p)
			theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
			who := network.name + " refreshed"
			(goLibrarian{t, ours}).putMutable(who, 4, "value")
			public := keys(t, who).Public
			for _, args := range []jspeer.Args{{"latest": false}, {"refresh": true}, {"seq": 4}} {
				args["on"], args["key"] = theirs.On, public.Hex()
				var got struct {
					Seq   int
					Value string
				}
				p.Call("mutableGet", args, &got)
				if got.Seq != 4 || got.Value != hex.EncodeToString([]byte("value")) {
					t.Errorf("JavaScript with %v: %+v", args, got)
				}
			}
			refreshed := false
			for _, opts := range []hyperdht.MutableGetOptions{
				{First: true}, {MinSeq: 4}, {Refresh: func(hyperdht.MutableValue) bool { refreshed = true; return true }},
			} {
				found := make(chan hyperdht.MutableValue, 1)
				ours.do(func() {
					ours.MutableGet(public, opts, func(v hyperdht.MutableValue, err error) {
						if err != nil {
							t.Error(err)
						}
						found <- v
					})
				})
				if v := await(t, "a value", found); v.Seq != 4 || string(v.Value) != "value" {
					t.Errorf("Go with %+v: %+v", opts, v)
				}
			}
			if !refreshed {
				t.Error("Go is not asked whether to store the value again")
			}
		})
	}
}
