package interop_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// A pool dials a key once, however often it is asked to.
func TestPoolsOfBothDialAKeyOnce(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	server := holds(p, theirs)
	us, incoming := ours.serve(hyperdht.ListenOptions{Keys: keys(t, "pooled")})

	dialler := startNode(t, net, hyperdht.Config{})
	var pool *hyperdht.ConnectionPool
	pooled := make(chan *hyperdht.Connection, 3)
	dialler.do(func() {
		pool = dialler.NewConnectionPool(func(*hyperdht.Connection) {})
		for range 2 {
			pool.Connect(key(t, server.PublicKey), hyperdht.ConnectOptions{}, func(c *hyperdht.Connection, err error) { pooled <- c })
		}
	})
	first, second := await(t, "a connection", pooled), await(t, "a connection again", pooled)
	dialler.do(func() {
		pool.Connect(key(t, server.PublicKey), hyperdht.ConnectOptions{}, func(c *hyperdht.Connection, err error) { pooled <- c })
	})
	if third := await(t, "a connection later", pooled); first == nil || second != first || third != first {
		t.Errorf("the pool has the connections %p, %p and %p", first, second, third)
	}
	p.Await("connection", jspeer.Of(server.On))

	node := jspeer.StartNode(p, net.dht(nil))
	var there struct{ On int }
	p.Call("pool", jspeer.Args{"on": node.On}, &there)
	for _, when := range []string{"at first", "later"} {
		var dial struct{ Same bool }
		p.Call("poolConnect", jspeer.Args{"on": there.On, "key": us.PublicKey().Hex()}, &dial)
		if !dial.Same {
			t.Errorf("%s, two dials of a JavaScript pool are two connections", when)
		}
		var has struct{ Connections int }
		p.Call("pooled", jspeer.Args{"on": there.On, "initiator": true}, &has)
		if has.Connections != 1 {
			t.Errorf("%s, the JavaScript pool has %d connections", when, has.Connections)
		}
	}
	await(t, "a connection comes in", incoming)
	// Each server has seen one connection: all others would have come before one of another dialler.
	last := startNode(t, net, hyperdht.Config{}).connect(key(t, server.PublicKey), hyperdht.ConnectOptions{})
	p.Await("connection", jspeer.Of(server.On))
	startNode(t, net, hyperdht.Config{}).connect(us.PublicKey(), hyperdht.ConnectOptions{})
	await(t, "the last connection comes in", incoming)
	if n := p.Count("connection"); n != 0 || len(incoming) != 0 {
		t.Errorf("%d and %d more connections came in", n, len(incoming))
	}
	last.destroy()
}

// Where a key that a pool has a connection with dials again, it has lost that one: the new one stays.
func TestPoolsOfBothReplaceConnectionsThatAreDialledAgain(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	again := keys(t, "again")
	theirs, ours := jspeer.StartNode(p, net.dht(nil)), startNode(t, net, hyperdht.Config{})
	var pool, server struct {
		On        int
		PublicKey string
	}
	p.Call("pool", jspeer.Args{"on": theirs.On}, &pool)
	p.Call("listen", jspeer.Args{"on": theirs.On, "pool": pool.On, "mode": "hold"}, &server)
	dialler := startNode(t, net, hyperdht.Config{})
	dial := func() *wire { return dialler.connect(key(t, server.PublicKey), hyperdht.ConnectOptions{Keys: &again}) }
	first := dial()
	p.Await("connection", jspeer.Of(server.On))
	second := dial()
	if err := await(t, "the first connection ends", first.closed); err == nil {
		t.Error("the first connection ended without an error")
	}
	there := jspeerConnection{Peer: p}
	if err := p.Await("connection", jspeer.Of(server.On)).Decode(&there); err != nil {
		t.Fatal(err)
	}
	second.send("second")
	there.got("data", "second")

	var here *hyperdht.ConnectionPool
	opened := make(chan *wire, 2)
	ours.do(func() { here = ours.NewConnectionPool(func(c *hyperdht.Connection) { opened <- watch(ours, c) }) })
	us := ours.listen(hyperdht.ListenOptions{Keys: keys(t, "replaces"), OnConnection: func(c *hyperdht.Connection) { here.Add(c) }})
	node := jspeer.StartNode(p, net.dht(nil))
	connect := func() (c jspeerConnection, w *wire) {
		c.Peer = p
		p.Call("connect", jspeer.Args{"on": node.On, "key": us.PublicKey().Hex(), "seed": jspeer.Seed("again")}, &c)
		return c, await(t, "the pool has a connection", opened)
	}
	old, was := connect()
	fresh, is := connect()
	if err := await(t, "the first connection ends here", was.closed); !errors.Is(err, hyperdht.ErrDuplicateConnection) {
		t.Errorf("the first connection ended with %v", err)
	}
	old.await("close")
	fresh.do("send", jspeer.Args{"bytes": "32"})
	if got := await(t, "a message", is.messages); !bytes.Equal(got, []byte("2")) {
		t.Errorf("received %q", got)
	}
	ours.do(func() {
		if n := len(here.Connections()); n != 1 {
			t.Errorf("the pool has %d connections", n)
		}
	})
}

// A relay carries the connection where one side forbids the punch, whichever side names it, or both.
func TestRelaysCarryConnectionsWithoutAPunch(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	through, matched := relays[1].start(t, net, p)
	other := startNode(t, net, hyperdht.Config{})
	announced := make(chan error, 1)
	other.do(func() {
		if _, err := other.ServeRelay(hyperdht.RelayConfig{Keys: keys(t, "other relay")}, func(err error) { announced <- err }); err != nil {
			t.Error(err)
		}
	})
	if err := await(t, "another relay is announced", announced); err != nil {
		t.Fatal(err)
	}
	also := keys(t, "other relay").Public
	hidden := jspeer.Args{"quickFirewall": false, "ephemeral": true}
	a, b := jspeer.StartNode(p, net.dht(hidden)), jspeer.StartNode(p, net.dht(hidden))
	ours, us := startNode(t, net, hyperdht.Config{NoQuickFirewall: true}), startNode(t, net, hyperdht.Config{NoQuickFirewall: true})
	never := func(hyperdht.Punch) bool { return false }
	for _, c := range []struct {
		name                   string
		client, server         *id.PublicKey // the relays that the two sides name
		clientVeto, serverVeto bool
	}{
		{name: "the client forbids, and names the relay", client: &through, clientVeto: true},
		{name: "the server forbids, the client names the relay", client: &through, serverVeto: true},
		{name: "the client forbids, the server names the relay", server: &through, clientVeto: true},
		{name: "the server forbids, and names the relay", server: &through, serverVeto: true},
		{name: "both name a relay, the client forbids", client: &also, server: &through, clientVeto: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := p.For(t)
			listen := jspeer.Args{"on": b.On, "seed": jspeer.Seed(c.name + " JavaScript"), "shareLocalAddress": false, "vetoPunch": c.serverVeto}
			serve := hyperdht.ListenOptions{Keys: keys(t, c.name), HideLocalAddrs: true}
			connect := jspeer.Args{"on": a.On, "localConnection": false, "bytes": 1000, "fastOpen": false}
			dial := hyperdht.ConnectOptions{NoLocal: true, SlowOpen: true}
			if c.serverVeto {
				serve.AdmitPunch = never
			}
			if c.clientVeto {
				dial.AdmitPunch, connect["holepunch"] = never, false
			}
			if c.client != nil {
				dial.RelayThrough, connect["relayThrough"] = []id.PublicKey{*c.client}, c.client.Hex()
			}
			if c.server != nil {
				serve.RelayThrough, listen["relayThrough"] = []id.PublicKey{*c.server}, c.server.Hex()
			}
			before := matched()
			var server struct{ PublicKey string }
			p.Call("listen", listen, &server)
			w := ours.connect(key(t, server.PublicKey), dial)
			w.echoed(1000)
			if path := w.path(); path != hyperdht.PathRelayed {
				t.Errorf("Go to JavaScript went %v", path)
			}
			w.end()
			connect["key"] = us.serveEcho(serve).PublicKey().Hex()
			p.Call("echo", connect, nil)
			if n := matched() - before; n != 2 {
				t.Errorf("the relay has carried %d connections", n)
			}
		})
	}
}
