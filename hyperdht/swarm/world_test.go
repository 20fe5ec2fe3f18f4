package swarm_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "doc.go", swarm.Tables...)
}

// world is a private DHT on a simulated internet, and the peers of a swarm.
type world struct {
	t         *testing.T
	net       *simnet.Net
	bootstrap []string
	dht       []*hyperdht.Node
	all       []*member
}

// member is a machine with a swarm.
type member struct {
	w      *world
	name   string
	keys   id.KeyPair
	cfg    swarm.Config
	host   *simnet.Host
	router *simnet.Router // nil on a public address
	node   *hyperdht.Node
	swarm  *swarm.Swarm
	got    []*hyperdht.Connection // reported, in order
	peers  []swarm.Peer           // with them
	ended  []error                // of those, in the order of their ends
}

// newWorld starts a DHT of a few nodes.
func newWorld(t *testing.T, seed uint64, loss float64) *world {
	t.Helper()
	w := &world{t: t, net: simnet.New(simnet.Config{
		Seed: seed, Scribble: true, Link: simnet.Link{Delay: 10 * time.Millisecond, Spread: 20 * time.Millisecond, Loss: loss},
	})}
	for i := range 8 {
		h := w.net.AddHost(fmt.Sprintf("node%d", i), netip.AddrFrom4([4]byte{100, 128, 0, byte(i + 1)}))
		at := netip.AddrPortFrom(h.Addr(), 49737)
		cfg := hyperdht.Config{Bootstrap: w.bootstrap, Listen: at, Mode: hyperdht.Persistent, PublicAddr: at}
		if i == 0 {
			cfg.Bootstrap, w.bootstrap = []string{}, []string{at.String()}
		}
		h.Do(func() {
			n, err := hyperdht.New(h, cfg)
			if err != nil {
				t.Fatal(err)
			}
			w.dht = append(w.dht, n)
		})
	}
	w.run(10 * time.Second)
	t.Cleanup(w.check)
	return w
}

// check demands that no machine of any swarm has made a transition that its table does not list.
func (w *world) check() {
	for _, m := range w.all {
		if n := m.status().Stats.WrongTransitions; n != 0 {
			w.t.Errorf("%s made %d wrong transitions", m.name, n)
		}
	}
}

// add starts a member, behind a router if nat is not nil.
func (w *world) add(nat *simnet.NAT, cfg swarm.Config) *member {
	w.t.Helper()
	n := byte(len(w.all) + 1)
	m := &member{w: w, name: fmt.Sprintf("peer%d", n), keys: id.KeyPairFromSeed(id.Seed{n}), cfg: cfg}
	at := netip.AddrFrom4([4]byte{100, 128, 1, n})
	if nat == nil {
		m.host = w.net.AddHost(m.name, at)
	} else {
		m.router = w.net.AddRouter(m.name+"'s router", *nat, at)
		m.host = m.router.AddHost(m.name, netip.AddrFrom4([4]byte{192, 168, 1, n}))
	}
	w.all = append(w.all, m)
	m.start()
	return m
}

func (m *member) start() {
	m.w.t.Helper()
	cfg := m.cfg
	if cfg.Keys == (id.KeyPair{}) {
		cfg.Keys = m.keys
	}
	m.keys, m.got, m.peers, m.ended = cfg.Keys, nil, nil, nil
	cfg.OnConnection = func(c *hyperdht.Connection, p swarm.Peer) {
		m.got, m.peers = append(m.got, c), append(m.peers, p)
		c.OnClose(func(err error) { m.ended = append(m.ended, err) })
		if m.cfg.OnConnection != nil {
			m.cfg.OnConnection(c, p)
		}
	}
	m.host.Do(func() {
		var err error
		if m.node, err = hyperdht.New(m.host, hyperdht.Config{Bootstrap: m.w.bootstrap}); err == nil {
			m.swarm, err = swarm.New(m.node, cfg)
		}
		if err != nil {
			m.w.t.Fatal(err)
		}
	})
	m.w.until(m.name+" is ready", time.Minute, m.node.Ready)
}

// restart crashes the machine and starts it again with the same keys.
func (m *member) restart() {
	m.w.t.Helper()
	m.host.Crash()
	m.host = m.host.Restart()
	m.start()
}

func (m *member) do(f func(*swarm.Swarm)) { m.host.Do(func() { f(m.swarm) }) }

func (m *member) status() (s swarm.Status) {
	m.do(func(sw *swarm.Swarm) { s = sw.Status() })
	return s
}

// join joins a topic.
func (m *member) join(topic id.Target, opts swarm.JoinOptions) (session *swarm.Session) {
	m.w.t.Helper()
	m.do(func(s *swarm.Swarm) {
		var err error
		if session, err = s.Join(topic, opts); err != nil {
			m.w.t.Fatal(err)
		}
	})
	return session
}

// flush waits for a flush.
func (m *member) flush() error {
	m.w.t.Helper()
	return m.w.wait("a flush", func(done func(error)) { m.do(func(s *swarm.Swarm) { s.Flush(done) }) })
}

// wait waits until start has called done.
func (w *world) wait(what string, start func(done func(error))) (err error) {
	w.t.Helper()
	over := false
	start(func(e error) { err, over = e, true })
	w.until(what, 5*time.Minute, func() bool { return over })
	return err
}

func (w *world) run(d time.Duration) { w.net.Run(d) }

func (w *world) until(what string, within time.Duration, cond func() bool) {
	w.t.Helper()
	if !w.net.RunUntil(cond, within) {
		w.t.Fatalf("not within %v: %s", within, what)
	}
}

// open returns the open connections of m with a peer.
func (m *member) open(with *member) (open []*hyperdht.Connection) {
	for _, c := range m.got {
		if !c.Closed() && c.RemotePublicKey() == with.keys.Public {
			open = append(open, c)
		}
	}
	return open
}

// linked reports whether two members have one connection, the same on both sides.
func linked(a, b *member) bool {
	x, y := a.open(b), b.open(a)
	return len(x) == 1 && len(y) == 1 && x[0].HandshakeHash() == y[0].HandshakeHash()
}

// records returns the number of keys that a lookup of a topic finds.
func (w *world) records(topic id.Target) int {
	w.t.Helper()
	keys := map[id.PublicKey]bool{}
	_ = w.wait("a lookup", func(done func(error)) {
		w.dht[3].Lookup(topic, func(f hyperdht.Found) {
			for _, p := range f.Peers {
				keys[p.PublicKey] = true
			}
		}, done)
	})
	return len(keys)
}

var (
	topic   = id.Target(id.Hash([]byte("topic")))
	another = id.Target(id.Hash([]byte("another")))
	asBoth  = swarm.JoinOptions{}
	server  = swarm.JoinOptions{Mode: swarm.ServerOnly}
	client  = swarm.JoinOptions{Mode: swarm.ClientOnly}
)
