package interop_test

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// Swarms of this project with hyperswarm's peers, on DHTs whose nodes are Go nodes: they store the records of both.

// goSwarm is a Go swarm on a node of its own.
type goSwarm struct {
	*goNode
	*swarm.Swarm
	opened chan *swarmWire
}

// swarmWire is a connection of a swarm.
type swarmWire struct {
	*wire
	peer swarm.Peer
}

func startGoSwarm(t testing.TB, net testnet, name string) *goSwarm {
	t.Helper()
	return startGoSwarmWith(t, net, name, swarm.Config{})
}

func startGoSwarmWith(t testing.TB, net testnet, name string, cfg swarm.Config) *goSwarm {
	t.Helper()
	s := &goSwarm{goNode: startNode(t, net, hyperdht.Config{}), opened: make(chan *swarmWire, maxQueued)}
	cfg.Keys, cfg.OnConnection = keys(t, name), func(c *hyperdht.Connection, p swarm.Peer) {
		w := watch(s.goNode, c)
		close(w.opened)
		s.opened <- &swarmWire{w, p}
	}
	var err error
	s.do(func() { s.Swarm, err = swarm.New(s.Node, cfg) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// join joins a topic and waits until it is announced and looked up.
func (s *goSwarm) join(topic string, mode swarm.Mode) *swarm.Session {
	s.t.Helper()
	var session *swarm.Session
	done := make(chan error, 1)
	s.do(func() {
		var err error
		if session, err = s.Join(target(topic), swarm.JoinOptions{Mode: mode}); err != nil {
			done <- err
			return
		}
		session.Flush(func(err error) { done <- err })
	})
	if err := await(s.t, "a topic is joined", done); err != nil {
		s.t.Fatal(err)
	}
	return session
}

func (s *goSwarm) flush() {
	s.t.Helper()
	done := make(chan error, 1)
	s.do(func() { s.Flush(func(err error) { done <- err }) })
	if err := await(s.t, "a flush", done); err != nil {
		s.t.Fatal(err)
	}
}

func target(topic string) id.Target { return id.Target(id.Hash([]byte(topic))) }

// jsSwarm is a swarm of the package hyperswarm.
type jsSwarm struct {
	*jspeer.Peer
	t         testing.TB
	On        int
	PublicKey string
}

// jsOpened is a connection of such a swarm.
type jsOpened struct {
	On                             int
	RemotePublicKey, HandshakeHash string
	Topics                         []string
	Client                         bool
}

func startJSSwarm(t testing.TB, net testnet, name string) *jsSwarm {
	t.Helper()
	return startJSSwarmOn(t, jspeer.Start(t), net, name, nil)
}

// startJSSwarmOn starts a swarm in a peer that runs, with options of the command.
func startJSSwarmOn(t testing.TB, p *jspeer.Peer, net testnet, name string, options jspeer.Args) *jsSwarm {
	t.Helper()
	s := &jsSwarm{Peer: p, t: t}
	args := jspeer.Args{"on": jspeer.StartNode(p, net.dht(nil)).On, "seed": jspeer.Seed(name)}
	maps.Copy(args, options)
	p.Call("swarm", args, s)
	return s
}

func (s *jsSwarm) join(topic string, mode swarm.Mode) {
	s.t.Helper()
	name := target(topic)
	s.Call("swarmJoin", jspeer.Args{
		"on": s.On, "topic": hex.EncodeToString(name[:]), "server": mode != swarm.ClientOnly, "client": mode != swarm.ServerOnly,
	}, nil)
}

func (s *jsSwarm) opened() (o jsOpened) {
	s.t.Helper()
	if err := s.Await("swarm-connection", jspeer.Of(s.On)).Decode(&o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// with runs a command with a key.
func (s *jsSwarm) with(command string, key id.PublicKey) {
	s.t.Helper()
	s.Call(command, jspeer.Args{"on": s.On, "key": hex.EncodeToString(key[:])}, nil)
}

// open lists the handshake hashes of the open connections.
func (s *jsSwarm) open() (hashes []string) {
	s.t.Helper()
	var info struct {
		Open []struct{ HandshakeHash string }
	}
	s.Call("swarmInfo", jspeer.Args{"on": s.On}, &info)
	for _, c := range info.Open {
		hashes = append(hashes, c.HandshakeHash)
	}
	return hashes
}

// open lists the handshake hashes of the open connections.
func (s *goSwarm) open() (hashes []string) {
	s.do(func() {
		for _, c := range s.Connections() {
			hash := c.HandshakeHash()
			hashes = append(hashes, hex.EncodeToString(hash[:]))
		}
	})
	return hashes
}

// untilLinked waits until the two have one connection, the same on both sides, for a while on end.
func untilLinked(t testing.TB, a *goSwarm, b *jsSwarm) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for lasting := 0; lasting < 3; {
		pause := make(chan struct{})
		a.do(func() { a.host.AfterFunc(100*time.Millisecond, func() { close(pause) }) })
		select {
		case <-pause:
		case <-late.C:
			t.Fatalf("not linked within %v: %v and %v", patience, a.open(), b.open())
		}
		if x, y := a.open(), b.open(); len(x) == 1 && slices.Equal(x, y) {
			lasting++
		} else {
			lasting = 0
		}
	}
}

// talk sends a message in each direction over the newest connections.
func talk(t testing.TB, w *swarmWire, b *jsSwarm, conn jsOpened) {
	t.Helper()
	w.send("from Go")
	e := b.Await("data", jspeer.Of(conn.On))
	if !bytes.Contains([]byte(e.String()), []byte(hex.EncodeToString([]byte("from Go")))) {
		t.Errorf("received %v", e)
	}
	b.Call("send", jspeer.Args{"on": conn.On, "bytes": "4a53"}, nil)
	if got := await(t, "a message", w.messages); string(got) != "JS" {
		t.Errorf("received %q", got)
	}
}

func TestSwarmsOfBothImplementationsFindEachOther(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		ours    swarm.Mode
		theirs  swarm.Mode
		jsFirst bool
	}{
		{"a Go server, a JavaScript client", swarm.ServerOnly, swarm.ClientOnly, false},
		{"a JavaScript server, a Go client", swarm.ClientOnly, swarm.ServerOnly, true},
		{"both are both, Go first", swarm.ServerAndClient, swarm.ServerAndClient, false},
		{"both are both, JavaScript first", swarm.ServerAndClient, swarm.ServerAndClient, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			net := goTestnet(t)
			a, b := startGoSwarm(t, net, "go"), startJSSwarm(t, net, "js")
			if test.jsFirst {
				b.join("topic", test.theirs)
				a.join("topic", test.ours)
				a.flush() // ends with the connection
				if len(a.open()) != 1 {
					t.Errorf("%d connections after the flush", len(a.open()))
				}
			} else {
				a.join("topic", test.ours)
				b.join("topic", test.theirs)
				var flushed struct{ Flushed bool }
				b.Call("swarmFlush", jspeer.Args{"on": b.On}, &flushed)
				if !flushed.Flushed || len(b.open()) != 1 {
					t.Errorf("%+v, %d connections after the flush", flushed, len(b.open()))
				}
			}
			w, conn := await(t, "a connection", a.opened), b.opened()
			if w.peer.PublicKey != key(t, b.PublicKey) || key(t, conn.RemotePublicKey) != a.Swarm.PublicKey() {
				t.Errorf("connected to %v and %v", w.peer.PublicKey, conn.RemotePublicKey)
			}
			if w.peer.Dialled == conn.Client || w.peer.Dialled != test.jsFirst {
				t.Errorf("dialled by Go: %v; by JavaScript: %v", w.peer.Dialled, conn.Client)
			}
			name := target("topic")
			if want := hex.EncodeToString(name[:]); !test.jsFirst && !slices.Equal(conn.Topics, []string{want}) ||
				test.jsFirst && !slices.Equal(w.peer.Topics, []id.Target{name}) {
				t.Errorf("topics %v and %v", w.peer.Topics, conn.Topics)
			}
			talk(t, w, b, conn)
			untilLinked(t, a, b)
		})
	}
}

// Both dial at the same time; one connection stays, whichever side has the greater key.
func TestSwarmsOfBothImplementationsDialAtOnce(t *testing.T) {
	t.Parallel()
	net := goTestnet(t)
	for _, names := range [][2]string{{"go", "js"}, {"js", "go"}} { // whose key is the greater one
		a, b := startGoSwarm(t, net, "at once: "+names[0]), startJSSwarm(t, net, "at once: "+names[1])
		b.Call("swarmListen", jspeer.Args{"on": b.On}, nil)
		listening := make(chan error, 1)
		a.do(func() { a.Listen(func(err error) { listening <- err }) })
		if err := await(t, "the server", listening); err != nil {
			t.Fatal(err)
		}
		theirs := key(t, b.PublicKey)
		ours := a.Swarm.PublicKey()
		answer := b.Go("swarmJoinPeer", jspeer.Args{"on": b.On, "key": hex.EncodeToString(ours[:])})
		a.do(func() { a.JoinPeer(theirs) })
		if err := answer(nil); err != nil {
			t.Fatal(err)
		}
		untilLinked(t, a, b)
	}
}

func TestSwarmsJoinPeersOfTheOtherImplementation(t *testing.T) {
	t.Parallel()
	for _, dialler := range []string{"Go", "JavaScript"} {
		t.Run(dialler+" dials", func(t *testing.T) {
			t.Parallel()
			net := goTestnet(t)
			a, b := startGoSwarm(t, net, "go"), startJSSwarm(t, net, "js")
			theirs, ours := key(t, b.PublicKey), a.Swarm.PublicKey()
			if dialler == "Go" {
				b.Call("swarmListen", jspeer.Args{"on": b.On}, nil)
				a.do(func() { a.JoinPeer(theirs) })
			} else {
				listening := make(chan error, 1)
				a.do(func() { a.Listen(func(err error) { listening <- err }) })
				if err := await(t, "the server", listening); err != nil {
					t.Fatal(err)
				}
				b.with("swarmJoinPeer", ours)
			}
			w, conn := await(t, "a connection", a.opened), b.opened()
			talk(t, w, b, conn)
			// It is dialled again when it ends, until it is left.
			w.destroy()
			w, conn = await(t, "the connection again", a.opened), b.opened()
			if w.peer.Dialled != (dialler == "Go") {
				t.Errorf("dialled by Go: %v", w.peer.Dialled)
			}
			talk(t, w, b, conn)
			if dialler == "Go" {
				a.do(func() { a.LeavePeer(theirs) })
			} else {
				b.with("swarmLeavePeer", ours)
			}
			untilLinked(t, a, b) // the connection stays
		})
	}
}

func TestSwarmsLeaveTopicsOfTheOtherImplementation(t *testing.T) {
	t.Parallel()
	net := goTestnet(t)
	a, b := startGoSwarm(t, net, "go"), startJSSwarm(t, net, "js")
	session := a.join("topic", swarm.ServerAndClient)
	b.join("topic", swarm.ServerAndClient)
	found := func() (list []id.PublicKey) {
		done := make(chan error, 1)
		a.do(func() {
			a.Lookup(target("topic"), func(f hyperdht.Found) {
				for _, p := range f.Peers {
					if !slices.Contains(list, p.PublicKey) {
						list = append(list, p.PublicKey)
					}
				}
			}, func(err error) { done <- err })
		})
		if err := await(t, "a lookup", done); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if n := len(found()); n != 2 {
		t.Fatalf("%d records", n)
	}
	untilLinked(t, a, b)
	left := make(chan struct{})
	a.do(func() { session.Leave(func() { close(left) }) })
	await(t, "the topic is left", left)
	if list := found(); !slices.Equal(list, []id.PublicKey{key(t, b.PublicKey)}) {
		t.Errorf("after Go has left: %v", list)
	}
	name := target("topic")
	b.Call("swarmLeave", jspeer.Args{"on": b.On, "topic": hex.EncodeToString(name[:])}, nil)
	if list := found(); len(list) != 0 {
		t.Errorf("after JavaScript has left: %v", list)
	}
	untilLinked(t, a, b) // the connection stays
}

func TestSwarmsKeepBannedPeersOfTheOtherImplementationAway(t *testing.T) {
	t.Parallel()
	net := goTestnet(t)
	a, b := startGoSwarm(t, net, "go"), startJSSwarm(t, net, "js")
	theirs, ours := key(t, b.PublicKey), a.Swarm.PublicKey()
	a.do(func() { a.Ban(theirs) })
	a.join("topic", swarm.ServerAndClient)
	b.join("topic", swarm.ServerAndClient)
	b.Call("swarmFlush", jspeer.Args{"on": b.On}, nil) // its dial has failed
	a.do(func() {
		if s := a.Swarm.Status().Stats; s.Dials != 0 || s.Refused == 0 || s.Incoming != 0 {
			t.Errorf("%+v", s)
		}
		a.Unban(theirs)
		a.JoinPeer(theirs)
	})
	w, conn := await(t, "a connection", a.opened), b.opened()
	b.with("swarmBan", ours)
	w.destroy()
	b.Await("close", jspeer.Of(conn.On))
	refused := make(chan struct{})
	a.do(func() {
		var look func()
		look = func() {
			if a.Swarm.Status().Stats.Failed > 0 {
				close(refused)
				return
			}
			a.host.AfterFunc(10*time.Millisecond, look)
		}
		look()
	})
	await(t, "a dial fails", refused)
	if n := len(b.open()); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A peer that crashes and starts again with its key replaces its connection.
func TestCrashedSwarmReplacesItsConnection(t *testing.T) {
	t.Parallel()
	net := goTestnet(t)
	a, b := startGoSwarm(t, net, "go"), startJSSwarm(t, net, "js")
	a.join("topic", swarm.ServerOnly)
	b.join("topic", swarm.ClientOnly)
	first := await(t, "a connection", a.opened)
	b.opened()
	b.Kill()
	b = startJSSwarm(t, net, "js")
	b.join("topic", swarm.ClientOnly)
	w, conn := await(t, "a connection again", a.opened), b.opened()
	await(t, "the end of the first", first.closed)
	talk(t, w, b, conn)
	untilLinked(t, a, b)
}
