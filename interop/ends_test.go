package interop_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// How connections begin and end, on DHTs whose nodes are Go nodes.

// asker connects, sends a text and ends before the connection is open, and returns what came until the other side ended.
type asker struct {
	name string
	ask  func(t *testing.T, key, text string) string
}

// askers are an asker of either implementation, on a node each.
func askers(t *testing.T, p *jspeer.Peer, net testnet) []asker {
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	return []asker{jsAsker(p, theirs.On), goAsker(ours)}
}

func jsAsker(p *jspeer.Peer, node int) asker {
	return asker{"JavaScript", func(t *testing.T, key, text string) string {
		var got struct{ Answer string }
		if err := p.Try("ask", jspeer.Args{"on": node, "key": key, "bytes": hex.EncodeToString([]byte(text))}, &got); err != nil {
			t.Error(err)
		}
		return unhex(t, got.Answer)
	}}
}

func goAsker(n *goNode) asker {
	return asker{"Go", func(t *testing.T, to, text string) string {
		type end struct {
			answer string
			err    error
		}
		over := make(chan end, 1)
		n.do(func() {
			c := n.Connect(key(t, to), hyperdht.ConnectOptions{})
			var all strings.Builder
			c.OnMessage(func(b []byte) { all.Write(b) })
			c.OnClose(func(err error) { over <- end{all.String(), err} })
			c.Send([]byte(text))
			c.End()
		})
		e := await(t, "the answer", over)
		if e.err != nil {
			t.Errorf("closed with %v", e.err)
		}
		return e.answer
	}}
}

// serveAnswers listens and answers as mode answer of peers does.
func (n *goNode) serveAnswers(seed string) *hyperdht.Server {
	return n.listen(hyperdht.ListenOptions{Keys: keys(n.t, seed), OnConnection: func(c *hyperdht.Connection) {
		var all []byte
		c.OnMessage(func(b []byte) { all = append(all, b...) })
		c.OnEnd(func() {
			c.Send(all)
			c.End()
		})
	}})
}

func TestConnectionsCloseInHalves(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	var server struct{ PublicKey string }
	p.Call("listen", jspeer.Args{"on": theirs.On, "mode": "answer"}, &server)
	us := ours.serveAnswers("answers").PublicKey().Hex()
	storing := startNode(t, net, hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true}).serveAnswers("answers, stores").PublicKey().Hex()
	// A peer may also dial servers of its own node.
	all := append(askers(t, p, net), jsAsker(p, theirs.On), goAsker(ours))
	for what, to := range map[string]string{"JavaScript": server.PublicKey, "Go": us, "a Go node that stores records": storing} {
		for _, a := range all {
			if got := a.ask(t, to, "last words"); got != "last words" {
				t.Errorf("%s asks %s: %q", a.name, what, got)
			}
		}
	}
}

func TestManyConnectionsOfAServerThatHangsUp(t *testing.T) {
	t.Parallel()
	const many = 10
	p, net := jspeer.Start(t), goTestnet(t)
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	var server struct{ PublicKey string }
	p.Call("listen", jspeer.Args{"on": theirs.On, "mode": "hangUp"}, &server)
	us := ours.listen(hyperdht.ListenOptions{Keys: keys(t, "hangs up"), OnConnection: func(c *hyperdht.Connection) {
		c.Send([]byte("greeting"))
		c.End()
	}}).PublicKey().Hex()
	answers := make(chan string, 4*many)
	for _, a := range askers(t, p, net) {
		for range many {
			for _, to := range []string{server.PublicKey, us} {
				go func() { answers <- a.name + ": " + a.ask(t, to, "") }()
			}
		}
	}
	for range cap(answers) {
		if got := await(t, "an answer", answers); !strings.HasSuffix(got, ": greeting") {
			t.Error(got)
		}
	}
}

// jspeerServer is a server of a JavaScript node.
type jspeerServer struct {
	On        int
	PublicKey string
}

// holds starts a server on a JavaScript node that keeps its connections.
func holds(p *jspeer.Peer, on *jspeer.Node) (s jspeerServer) {
	p.Call("listen", jspeer.Args{"on": on.On, "mode": "hold"}, &s)
	return s
}

// The end of a node ends its connections; that of a server leaves them, and only ends its announcement.
func TestNodesAndServersEnd(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	server := holds(p, theirs)
	us, incoming := ours.serve(hyperdht.ListenOptions{Keys: keys(t, "ends")})
	dial := func() (*goNode, *wire, jspeerConnection) {
		n := startNode(t, net, hyperdht.Config{})
		w := n.connect(key(t, server.PublicKey), hyperdht.ConnectOptions{})
		there := jspeerConnection{Peer: p}
		if err := p.Await("connection", jspeer.Of(server.On)).Decode(&there); err != nil {
			t.Fatal(err)
		}
		return n, w, there
	}
	accept := func() (*jspeer.Node, *wire, jspeerConnection) {
		n := jspeer.StartNode(p, net.dht(nil))
		there := jspeerConnection{Peer: p}
		p.Call("connect", jspeer.Args{"on": n.On, "key": us.PublicKey().Hex()}, &there)
		w := await(t, "a connection comes in", incoming)
		await(t, "it opens", w.opened)
		return n, w, there
	}

	n, _, there := dial()
	n.do(func() { n.Close(nil) })
	there.await("close")
	node, w, _ := accept()
	p.Call("destroy", jspeer.Args{"on": node.On}, nil)
	await(t, "the end of a connection", w.closed)

	// Both abandon a dial; the servers serve on.
	var abandoned struct{ Opened bool }
	p.Call("abandon", jspeer.Args{"on": jspeer.StartNode(p, net.dht(nil)).On, "key": us.PublicKey().Hex()}, &abandoned)
	if abandoned.Opened {
		t.Error("a destroyed dial opened")
	}
	n = startNode(t, net, hyperdht.Config{})
	n.do(func() { w = watch(n, n.Connect(key(t, server.PublicKey), hyperdht.ConnectOptions{})); w.c.Destroy(nil) })
	if err := await(t, "the end of a dial", w.closed); !errors.Is(err, hyperdht.ErrConnectionClosed) {
		t.Errorf("a destroyed dial ended with %v", err)
	}

	_, w, there = dial()
	_, in, out := accept()
	closed := make(chan struct{})
	ours.do(func() { us.Close(func() { close(closed) }) })
	await(t, "our server ends", closed)
	p.Call("close", jspeer.Args{"on": server.On}, nil)
	for _, pair := range []struct {
		w *wire
		c jspeerConnection
	}{{w, there}, {in, out}} {
		pair.w.send("still there")
		pair.c.got("data", "still there")
	}
	w = startNode(t, net, hyperdht.Config{}).dial(key(t, server.PublicKey), hyperdht.ConnectOptions{})
	if err := await(t, "a dial fails", w.closed); !errors.Is(err, hyperdht.ErrPeerNotFound) {
		t.Errorf("Go to a closed server: %v", err)
	}
	var how struct{ Code string }
	p.Call("stranger", jspeer.Args{"on": jspeer.StartNode(p, net.dht(nil)).On, "key": us.PublicKey().Hex()}, &how)
	if how.Code != "PEER_NOT_FOUND" {
		t.Errorf("JavaScript to a closed server: %s", how.Code)
	}
}

// A peer that crashes is missed by its silence, on a direct path and over a relay.
func TestCrashedPeersAreMissedByBoth(t *testing.T) {
	t.Parallel()
	const interval = 300 * time.Millisecond
	p, net := jspeer.Start(t), goTestnet(t)
	if !keepAlives.in(t, p) {
		return
	}
	through, _ := relays[0].start(t, net, p)
	for _, relayed := range []bool{false, true} {
		t.Run(map[bool]string{false: "direct", true: "relayed"}[relayed], func(t *testing.T) {
			t.Parallel()
			p, crashes := p.For(t), jspeer.Start(t)
			hidden := jspeer.Args{"quickFirewall": false, "ephemeral": true, "connectionKeepAlive": interval.Milliseconds()}
			cfg := hyperdht.Config{NoQuickFirewall: true, ConnectionKeepAlive: interval}
			listen := jspeer.Args{"on": jspeer.StartNode(crashes, net.dht(hidden)).On, "mode": "hold"}
			connect := jspeer.Args{"on": jspeer.StartNode(p, net.dht(hidden)).On}
			serve := hyperdht.ListenOptions{Keys: keys(t, t.Name())}
			dial := hyperdht.ConnectOptions{NoLocal: relayed}
			if relayed {
				listen["holepunch"], listen["shareLocalAddress"] = false, false
				connect["holepunch"], connect["localConnection"], connect["relayThrough"] = false, false, through.Hex()
				serve.NeverPunch, serve.HideLocalAddrs = true, true
				dial.RelayThrough = []id.PublicKey{through}
			}
			var server struct{ PublicKey string }
			crashes.Call("listen", listen, &server)
			w := startNode(t, net, cfg).connect(key(t, server.PublicKey), dial)
			crashes.Kill()
			if err := await(t, "the silence of a JavaScript peer", w.closed); err == nil {
				t.Error("a crashed JavaScript peer has ended its connection")
			}
			if !relayed {
				return // TestClientsComeBackAfterACrash has scrapers that miss a crashed client
			}

			h := goHost(t)
			cfg.Bootstrap = net.bootstrap
			us, incoming := startNodeOn(t, h, cfg).serve(serve)
			there := jspeerConnection{Peer: p}
			connect["key"] = us.PublicKey().Hex()
			p.Call("connect", connect, &there)
			await(t, "a connection comes in", incoming)
			h.Close()
			there.await("close")
		})
	}
}

// A dial goes on with a hole punch where an address on the same network does not answer.
func TestDialsGoOnWithoutTheLocalNetwork(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	if !localAndPunched.in(t, p) {
		return
	}
	theirs := jspeer.StartNode(p, net.dht(jspeer.Args{"quickFirewall": false, "ephemeral": true}))
	ours := startNode(t, net, hyperdht.Config{NoQuickFirewall: true})
	us, incoming := ours.serve(hyperdht.ListenOptions{Keys: keys(t, "on the same network")})
	there := jspeerConnection{Peer: p}
	p.Call("connect", jspeer.Args{"on": theirs.On, "key": us.PublicKey().Hex(), "fastOpen": false, "blockedPort": local(ours).Port()}, &there)
	p.Await("blocked", nil)
	w := await(t, "a connection comes in", incoming)
	w.send("punched")
	there.got("data", "punched")
}

// A socket whose hole is punched serves further connections where both sides offer that, and only there.
func TestSocketsAreReusedByBoth(t *testing.T) {
	t.Parallel()
	const often = 4
	p, net := jspeer.Start(t), goTestnet(t)
	hidden := jspeer.Args{"quickFirewall": false, "ephemeral": true}
	a, b := jspeer.StartNode(p, net.dht(hidden)), jspeer.StartNode(p, net.dht(hidden))
	ours, other := startNode(t, net, hyperdht.Config{NoQuickFirewall: true}), startNode(t, net, hyperdht.Config{NoQuickFirewall: true})
	for _, reusable := range []bool{true, false} {
		var server struct {
			On        int
			PublicKey string
		}
		seed := map[bool]string{true: "reuses", false: "does not reuse"}[reusable]
		p.Call("listen", jspeer.Args{"on": b.On, "seed": jspeer.Seed(seed + ", JavaScript"), "shareLocalAddress": false, "reusableSocket": reusable, "mode": "hold"}, &server)
		us, incoming := other.serve(hyperdht.ListenOptions{Keys: keys(t, seed), HideLocalAddrs: true, ReusableSocket: reusable})
		fromGo, fromJS := map[uint16]bool{}, map[uint16]bool{}
		for range often {
			w := ours.connect(key(t, server.PublicKey), hyperdht.ConnectOptions{NoLocal: true, ReusableSocket: true})
			ours.do(func() { fromGo[w.c.LocalAddr().Port()] = true })
			w.end()
			p.Await("end", nil)
			await(t, "the end", w.closed)

			there := struct {
				jspeerConnection
				LocalPort uint16
			}{}
			p.Call("connect", jspeer.Args{"on": a.On, "key": us.PublicKey().Hex(), "localConnection": false, "reusableSocket": true}, &there)
			there.Peer = p
			fromJS[there.LocalPort] = true
			in := await(t, "a connection comes in", incoming)
			there.do("end", nil)
			await(t, "their end", in.ended)
			in.end()
			there.await("close")
		}
		want := often
		if reusable {
			want = 1
		}
		if len(fromGo) != want || len(fromJS) != want {
			t.Errorf("%s: Go dialled from ports %v, JavaScript from %v", seed, fromGo, fromJS)
		}
	}
}

// An entry of the list of bootstrap nodes may have an address in front of its name, which need not be resolved then.
func TestBootstrapNodesWithSuggestedAddresses(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	if !suggestedAddresses.in(t, p) {
		return
	}
	named := testnet{bootstrap: []string{strings.Replace(net.bootstrap[0], ":", "@invalid:", 1)}}
	var server struct{ PublicKey string }
	p.Call("listen", jspeer.Args{"on": jspeer.StartNode(p, named.dht(nil)).On}, &server)
	startNode(t, named, hyperdht.Config{}).connect(key(t, server.PublicKey), hyperdht.ConnectOptions{}).echoed(1000)
}
