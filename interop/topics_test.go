package interop_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// peer is a swarm of either implementation.
type peer interface {
	key() id.PublicKey
	join(topic string, mode swarm.Mode) // and waits until it is announced and looked up; again to refresh it
	flushed()
	connections() int
	met() id.PublicKey // waits for a connection
	pause()
	proceed()
	drop() // destroys all connections
}

type goPeer struct {
	*goSwarm
	sessions map[string]*swarm.Session
}

func newGoPeer(t testing.TB, net testnet, name string, cfg swarm.Config) *goPeer {
	t.Helper()
	return &goPeer{startGoSwarmWith(t, net, name, cfg), map[string]*swarm.Session{}}
}

func (p *goPeer) key() id.PublicKey { return p.Swarm.PublicKey() }
func (p *goPeer) flushed()          { p.flush() }
func (p *goPeer) connections() int  { return len(p.open()) }
func (p *goPeer) met() id.PublicKey {
	return await(p.t, "a connection of a Go swarm", p.opened).peer.PublicKey
}

func (p *goPeer) join(topic string, mode swarm.Mode) {
	p.t.Helper()
	session := p.sessions[topic]
	if session == nil {
		p.sessions[topic] = p.goSwarm.join(topic, mode)
		return
	}
	done := make(chan error, 1)
	p.do(func() {
		if err := session.Refresh(swarm.JoinOptions{Mode: mode}); err != nil {
			done <- err
			return
		}
		session.Flush(func(err error) { done <- err })
	})
	if err := await(p.t, "a topic is refreshed", done); err != nil {
		p.t.Fatal(err)
	}
}

func (p *goPeer) pause() {
	suspended := make(chan struct{})
	p.do(func() { p.Swarm.Suspend(func() { close(suspended) }) })
	await(p.t, "a swarm is suspended", suspended)
}

func (p *goPeer) proceed() {
	p.do(func() {
		if err := p.Swarm.Resume(); err != nil {
			p.t.Error(err)
		}
	})
}

func (p *goPeer) drop() {
	p.do(func() {
		for _, c := range p.Connections() {
			c.Destroy(nil)
		}
	})
}

type jsPeer struct{ *jsSwarm }

func newJSPeer(t testing.TB, p *jspeer.Peer, net testnet, name string, args jspeer.Args) *jsPeer {
	t.Helper()
	return &jsPeer{startJSSwarmOn(t, p.For(t), net, name, args)}
}

func (p *jsPeer) key() id.PublicKey { return key(p.t, p.PublicKey) }
func (p *jsPeer) flushed()          { p.Call("swarmFlush", jspeer.Args{"on": p.On}, nil) }
func (p *jsPeer) connections() int  { return len(p.open()) }
func (p *jsPeer) met() id.PublicKey { return key(p.t, p.opened().RemotePublicKey) }
func (p *jsPeer) pause()            { p.Call("swarmSuspend", jspeer.Args{"on": p.On}, nil) }
func (p *jsPeer) proceed()          { p.Call("swarmResume", jspeer.Args{"on": p.On}, nil) }
func (p *jsPeer) drop()             { p.Call("swarmDrop", jspeer.Args{"on": p.On}, nil) }

// sides are the two ways to give a Go and a JavaScript swarm the roles of a test.
func sides(t *testing.T, play func(t *testing.T, server, client peer)) {
	p, net := jspeer.Start(t), goTestnet(t)
	t.Run("Go serves", func(t *testing.T) {
		play(t, newGoPeer(t, net, t.Name(), swarm.Config{}), newJSPeer(t, p, net, t.Name()+" JavaScript", nil))
	})
	t.Run("JavaScript serves", func(t *testing.T) {
		play(t, newJSPeer(t, p, net, t.Name()+" JavaScript", nil), newGoPeer(t, net, t.Name(), swarm.Config{}))
	})
}

// meet waits for a connection of two swarms, on both.
func meet(t *testing.T, a, b peer) {
	t.Helper()
	if got := a.met(); got != b.key() {
		t.Errorf("met %v, want %v", got, b.key())
	}
	if got := b.met(); got != a.key() {
		t.Errorf("met %v, want %v", got, a.key())
	}
}

func count(t *testing.T, what string, want int, peers ...peer) {
	t.Helper()
	for i, p := range peers {
		if got := p.connections(); got != want {
			t.Errorf("%s: swarm %d has %d connections, want %d", what, i, got, want)
		}
	}
}

// topicsOf returns the topics under which a swarm has found a peer.
func topicsOf(t *testing.T, p peer, of id.PublicKey) (topics []string) {
	t.Helper()
	switch p := p.(type) {
	case *goPeer:
		p.do(func() {
			found, _ := p.Peer(of)
			for _, topic := range found.Topics {
				topics = append(topics, hex.EncodeToString(topic[:]))
			}
		})
	case *jsPeer:
		var info struct {
			Peers []struct {
				PublicKey string
				Topics    []string
			}
		}
		p.Call("swarmInfo", jspeer.Args{"on": p.On}, &info)
		for _, found := range info.Peers {
			if found.PublicKey == of.Hex() {
				topics = found.Topics
			}
		}
	}
	slices.Sort(topics)
	return topics
}

func TestSwarmsShareOneConnectionForTwoTopics(t *testing.T) {
	t.Parallel()
	sides(t, func(t *testing.T, server, client peer) {
		one, two := t.Name()+" one", t.Name()+" two"
		server.join(one, swarm.ServerOnly)
		server.join(two, swarm.ServerOnly)
		client.join(one, swarm.ClientOnly)
		client.join(two, swarm.ClientOnly)
		client.flushed()
		meet(t, server, client)
		count(t, "two topics", 1, server, client)
		var want []string
		for _, topic := range []string{one, two} {
			name := target(topic)
			want = append(want, hex.EncodeToString(name[:]))
		}
		slices.Sort(want)
		if got := topicsOf(t, client, server.key()); !slices.Equal(got, want) {
			t.Errorf("found under %v, want %v", got, want)
		}
	})
}

// A client finds servers that have joined after it when it looks up again, and none that have left before.
func TestSwarmsFindServersThatJoinLater(t *testing.T) {
	t.Parallel()
	sides(t, func(t *testing.T, server, client peer) {
		client.join(t.Name(), swarm.ClientOnly)
		client.flushed()
		server.join(t.Name(), swarm.ClientOnly) // no server yet: two clients do not meet
		server.flushed()
		count(t, "two clients", 0, server, client)
		server.join(t.Name(), swarm.ServerAndClient)
		count(t, "a server before any lookup", 0, server, client)
		client.join(t.Name(), swarm.ClientOnly)
		client.flushed()
		meet(t, server, client)
		count(t, "a server that was looked up", 1, server, client)
	})
}

// A connection that is destroyed comes back, whichever side destroys it, and so do those of a swarm that was suspended.
func TestSwarmsComeBack(t *testing.T) {
	t.Parallel()
	for _, what := range []struct {
		name string
		cut  func(server, client peer)
	}{
		{"the server drops the connection", func(server, _ peer) { server.drop() }},
		{"the client drops the connection", func(_, client peer) { client.drop() }},
		{"the server is suspended", func(server, _ peer) { server.pause(); server.proceed() }},
		{"the client is suspended", func(_, client peer) { client.pause(); client.proceed() }},
	} {
		t.Run(what.name, func(t *testing.T) {
			t.Parallel()
			sides(t, func(t *testing.T, server, client peer) {
				t.Parallel()
				server.join(t.Name(), swarm.ServerOnly)
				client.join(t.Name(), swarm.ClientOnly)
				meet(t, server, client)
				what.cut(server, client)
				meet(t, server, client)
			})
		})
	}
}

// A swarm that is suspended has no connections, and is not found.
func TestSuspendedSwarmsAreAway(t *testing.T) {
	t.Parallel()
	sides(t, func(t *testing.T, server, client peer) {
		server.join(t.Name(), swarm.ServerOnly)
		server.pause()
		client.join(t.Name(), swarm.ClientOnly)
		client.flushed()
		count(t, "while the server is suspended", 0, server, client)
		server.proceed()
		server.join(t.Name(), swarm.ServerOnly)
		client.join(t.Name(), swarm.ClientOnly)
		meet(t, server, client)
	})
}

// Every swarm of a topic connects to every other one, once.
func TestManySwarmsOfBothMeet(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	var all []peer
	for range 3 {
		name := string(rune('a' + len(all)))
		all = append(all, newGoPeer(t, net, name, swarm.Config{}), newJSPeer(t, p, net, name+" JavaScript", nil))
	}
	for _, s := range all {
		s.join(t.Name(), swarm.ServerAndClient)
	}
	for _, s := range all {
		met := map[id.PublicKey]bool{}
		for len(met) < len(all)-1 {
			met[s.met()] = true
		}
	}
	for _, s := range all {
		s.flushed()
	}
	count(t, "many", len(all)-1, all...)
}

// A swarm with all the connections that it may have dials no more, and flushes all the same.
func TestSwarmsStopDiallingAtTheirMost(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	servers := []peer{newGoPeer(t, net, "one server", swarm.Config{}), newJSPeer(t, p, net, "another server", nil)}
	for _, s := range servers {
		s.join(t.Name(), swarm.ServerOnly)
	}
	for _, client := range []peer{
		newGoPeer(t, net, "client", swarm.Config{MaxPeers: 1, MaxParallel: 1}),
		newJSPeer(t, p, net, "client, JavaScript", jspeer.Args{"maxPeers": 1, "maxParallel": 1}),
	} {
		client.join(t.Name(), swarm.ClientOnly)
		client.flushed()
		count(t, "at most one", 1, client)
	}
}

// The roles of a topic are those of all its sessions.
func TestSessionsOfATopicEndByThemselves(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	a, b := newGoPeer(t, net, "sessions", swarm.Config{}), newJSPeer(t, p, net, "sessions, JavaScript", nil)
	a.join(t.Name(), swarm.ServerOnly)
	client := a.goSwarm.join(t.Name(), swarm.ClientOnly)
	left := make(chan struct{})
	a.do(func() { client.Leave(func() { close(left) }) })
	await(t, "a session ends", left)
	b.join(t.Name(), swarm.ClientOnly)
	meet(t, a, b)
}

// The firewall of a swarm holds in both directions.
func TestFirewallsOfSwarms(t *testing.T) {
	t.Parallel()
	p, net := jspeer.Start(t), goTestnet(t)
	for _, c := range []struct {
		name   string
		ours   swarm.Mode
		theirs swarm.Mode
	}{
		{"a Go server", swarm.ServerOnly, swarm.ClientOnly},
		{"a JavaScript server", swarm.ClientOnly, swarm.ServerOnly},
	} {
		for _, rejects := range []string{"Go", "JavaScript"} {
			t.Run(c.name+", "+rejects+" rejects", func(t *testing.T) {
				name := t.Name()
				bad := keys(t, name+" bad").Public
				var reject []string
				asked := make(chan id.PublicKey, maxQueued)
				cfg := swarm.Config{}
				if rejects == "Go" {
					cfg.Admit = func(remote id.PublicKey) bool {
						asked <- remote
						return remote != bad
					}
				} else {
					reject = []string{bad.Hex()}
				}
				one, other := name+" bad", name+" good"
				start := func(as string) (a *goPeer, b *jsPeer) {
					// The one that is rejected, or admitted, is the one that has the key.
					if rejects == "Go" {
						return newGoPeer(t, net, as+" rejects", cfg), newJSPeer(t, p, net, as, nil)
					}
					return newGoPeer(t, net, as, swarm.Config{}), newJSPeer(t, p, net, as+" rejects", jspeer.Args{"reject": reject})
				}
				join := func(a *goPeer, b *jsPeer, topic string) {
					if c.ours == swarm.ServerOnly {
						a.join(topic, c.ours)
						b.join(topic, c.theirs)
					} else {
						b.join(topic, c.theirs)
						a.join(topic, c.ours)
					}
				}
				a, b := start(one)
				join(a, b, name)
				if rejects == "Go" {
					if got := await(t, "our firewall is asked", asked); got != bad {
						t.Errorf("asked about %v", got)
					}
				} else {
					p.Await("swarm-firewall", func(e jspeer.Event) bool {
						var facts struct{ RemotePublicKey string }
						return e.Decode(&facts) == nil && facts.RemotePublicKey == bad.Hex()
					})
				}
				// By the time at which another pair has met, a pair that is let in would have met, too.
				x, y := start(other)
				join(x, y, name+" other")
				meet(t, x, y)
				count(t, "rejected", 0, a, b)
			})
		}
	}
}
