package hyperdht_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// lab is a private DHT of a few nodes, a dialler and an answerer on simulated hosts, and the transcript of a dial.
type lab struct {
	t         *testing.T
	net       *simnet.Net
	bootstrap []string
	dht       []*actor // n1, n2, ...; the bootstrap node first
	dialler   *actor
	answerer  *actor
	server    *hyperdht.Server
	accepted  []*hyperdht.Connection // by the answerer
	all       []*actor
	log       *transcript
}

// actor is a host with its node.
type actor struct {
	l      *lab
	name   string
	host   *simnet.Host
	router *simnet.Router // nil on a public address
	node   *hyperdht.Node
	computations
}

// place is the location of an actor.
type place struct {
	nat  *simnet.NAT // nil for a public address
	home string      // shares the router of that name; "" for one of its own
	cfg  hyperdht.Config
	host func(l *lab) (*simnet.Host, *simnet.Router) // makes the host, in place of all that
}

// open is a host that knows that it is reachable, public one that does not.
func open() place   { return place{cfg: hyperdht.Config{Reachable: true}} }
func public() place { return place{cfg: hyperdht.Config{NoQuickFirewall: true}} }

// cone and random are behind a NAT which gives a socket one port, or one for each remote end.
func cone() place {
	n := simnet.PortRestricted()
	return place{nat: &n}
}

func random() place {
	n := simnet.SymmetricRandom()
	return place{nat: &n}
}

const (
	answererKey = 1
	diallerKey  = 2
	relayKey    = 7
	hop         = 10 * time.Millisecond // one way between any two hosts
)

// newLab starts size DHT nodes, and the dialler and the answerer where they are. Nothing listens yet.
func newLab(t *testing.T, size int, dialler, answerer place) *lab {
	t.Helper()
	l := &lab{t: t, net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: hop}, Scribble: true})}
	l.log = newTranscript(l)
	for i := range size {
		name := fmt.Sprintf("n%d", i+1)
		h := l.net.AddHost(name, netip.AddrFrom4([4]byte{100, 128, 1, byte(i + 1)}))
		at := netip.AddrPortFrom(h.Addr(), mainPort)
		cfg := hyperdht.Config{Bootstrap: l.bootstrap, Listen: at, Mode: hyperdht.Persistent, PublicAddr: at}
		if i == 0 {
			cfg.Bootstrap = []string{}
			l.bootstrap = []string{at.String()}
		}
		l.dht = append(l.dht, l.start(name, h, nil, cfg))
		l.net.Run(5 * time.Second)
	}
	l.answerer = l.join("answerer", answerer)
	l.dialler = l.join("dialler", dialler)
	l.net.Run(5 * time.Second)
	l.net.SetTap(l.log.crossing)
	l.net.SetObserver(l.log.event)
	return l
}

// join adds an actor where p says, and waits until it has entered the network.
func (l *lab) join(name string, p place) *actor {
	l.t.Helper()
	l.log.actors[name] = true
	n := byte(len(l.log.actors))
	outside := netip.AddrFrom4([4]byte{100, 128, 2, n})
	cfg := p.cfg
	cfg.Bootstrap = l.bootstrap
	cfg.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), mainPort)
	cfg.Keys = keysOf(diallerKey)
	if name != "dialler" {
		cfg.Keys = keysOf(100 + n)
	}
	var h *simnet.Host
	var r *simnet.Router
	switch {
	case p.host != nil:
		h, r = p.host(l)
	case p.home != "":
		r = l.actor(p.home).router
		l.log.names[r.Addr()], l.log.actors["home"] = "home", true
		h = r.AddHost(name, netip.AddrFrom4([4]byte{192, 168, 1, n}))
	case p.nat != nil:
		r = l.net.AddRouter(name+"'s router", *p.nat, outside)
		h = r.AddHost(name, netip.AddrFrom4([4]byte{192, 168, 1, n}))
	default:
		h = l.net.AddHost(name, outside)
	}
	a := l.start(name, h, r, cfg)
	if !l.net.RunUntil(a.node.Ready, time.Minute) {
		l.t.Fatalf("%s does not enter the network", name)
	}
	return a
}

func (l *lab) actor(name string) *actor {
	if name == "answerer" {
		return l.answerer
	}
	return l.dialler
}

func (l *lab) start(name string, h *simnet.Host, r *simnet.Router, cfg hyperdht.Config) *actor {
	l.t.Helper()
	a := &actor{l: l, name: name, host: h, router: r}
	l.all = append(l.all, a)
	l.log.names[h.Addr()] = name
	if r != nil && l.log.names[r.Addr()] == "" {
		l.log.names[r.Addr()] = name
	}
	h.Do(func() { a.node = node(l.t, watchedHost{h, l.log, &a.computations}, cfg) })
	return a
}

// watchedHost records the randomness that a node draws, from which the transcript reads the handshakes on the wire, and
// the ports of its sockets.
type watchedHost struct {
	*simnet.Host
	log *transcript
	*computations
}

func (h watchedHost) Rand() io.Reader { return watchedRand{h.Host.Rand(), h.log} }

func (h watchedHost) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	s, err := h.Host.OpenSocket(local)
	if err != nil {
		return nil, err
	}
	h.log.sockets[h.Name()] = append(h.log.sockets[h.Name()], s.LocalAddr().Port())
	if !h.log.on {
		h.log.main[h.Name()] = append(h.log.main[h.Name()], s.LocalAddr().Port())
	}
	return s, nil
}

type watchedRand struct {
	io.Reader
	log *transcript
}

func (r watchedRand) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n == len(r.log.draws[0]) {
		r.log.draws = append(r.log.draws, [32]byte(b))
	}
	if n == 4 {
		r.log.lastID = binary.LittleEndian.Uint32(b)
	}
	return n, err
}

// listen announces the answerer's server and waits until it is found. Received messages are sent back.
func (l *lab) listen(opts hyperdht.ListenOptions) {
	l.t.Helper()
	l.listenAt(l.answerer, opts)
	l.net.Run(2 * time.Second)
}

func (l *lab) listenAt(a *actor, opts hyperdht.ListenOptions) {
	l.t.Helper()
	opts.Keys = keysOf(answererKey)
	if opts.OnConnection == nil {
		opts.OnConnection = func(c *hyperdht.Connection) {
			l.accepted = append(l.accepted, c)
			l.watch(a.name, c)
			c.OnMessage(func(b []byte) { c.Send(b) })
			c.OnEnd(c.End)
		}
	}
	done := false
	a.host.Do(func() {
		var err error
		if l.server, err = a.node.Listen(opts, func(error) { done = true }); err != nil {
			l.t.Fatal(err)
		}
	})
	if !l.net.RunUntil(func() bool { return done }, time.Minute) {
		l.t.Fatal("the server is not announced")
	}
}

// dial connects the dialler to the answerer's key. Its connection sends one message as soon as it may.
func (l *lab) dial(opts hyperdht.ConnectOptions) *hyperdht.Connection {
	return l.dialKey(keysOf(answererKey).Public, opts)
}

func (l *lab) dialKey(key id.PublicKey, opts hyperdht.ConnectOptions) (c *hyperdht.Connection) {
	l.dialler.host.Do(func() {
		c = l.dialler.node.Connect(key, opts)
		l.watch("dialler", c)
		c.OnMessage(func(b []byte) { l.log.say("dialler", "app: %q comes back over %v", b, c.Path()) })
		c.Send([]byte("hello"))
	})
	return c
}

// watch logs what a connection reports to its application.
func (l *lab) watch(who string, c *hyperdht.Connection) {
	c.OnOpen(func() { l.log.say(who, "app: open over %v", c.Path()) })
	c.OnClose(func(err error) { l.log.say(who, "app: closed: %v", err) })
}

// relay starts a blind relay on a host of its own.
func (l *lab) relay(cfg hyperdht.RelayConfig) (*actor, *hyperdht.RelayServer) {
	l.t.Helper()
	a := l.join("relay", open())
	cfg.Keys = keysOf(relayKey)
	var r *hyperdht.RelayServer
	done := false
	a.host.Do(func() {
		var err error
		if r, err = a.node.ServeRelay(cfg, func(error) { done = true }); err != nil {
			l.t.Fatal(err)
		}
	})
	if !l.net.RunUntil(func() bool { return done }, time.Minute) {
		l.t.Fatal("the relay is not announced")
	}
	return a, r
}

var throughRelay = []id.PublicKey{keysOf(relayKey).Public}

// spy is a bare host outside the DHT. It sends raw datagrams and records those that it receives.
type spy struct {
	l    *lab
	host *simnet.Host
	sock host.Socket
	got  [][]byte
}

func (l *lab) spy() *spy {
	l.t.Helper()
	s := &spy{l: l, host: l.net.AddHost("stranger", netip.AddrFrom4([4]byte{100, 128, 3, 1}))}
	l.log.names[s.host.Addr()] = "stranger"
	s.host.Do(func() {
		var err error
		if s.sock, err = s.host.OpenSocket(netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), mainPort)); err != nil {
			l.t.Fatal(err)
		}
		s.sock.OnReceive(func(_ netip.AddrPort, b []byte) { s.got = append(s.got, append([]byte(nil), b...)) })
	})
	return s
}

func (s *spy) send(to netip.AddrPort, b []byte) { s.host.Do(func() { s.sock.Send(to, 0, b) }) }

func (s *spy) addr() netip.AddrPort { return netip.AddrPortFrom(s.host.Addr(), mainPort) }

// addr returns the public address of an actor's main socket.
func (a *actor) addr() netip.AddrPort {
	if a.router != nil {
		return netip.AddrPortFrom(a.router.Addr(), mainPort)
	}
	return netip.AddrPortFrom(a.host.Addr(), mainPort)
}

// run lets time pass.
func (l *lab) run(d time.Duration) { l.net.Run(d) }

// until runs to an event of an actor, which must come.
func (l *lab) until(who string, step hyperdht.AttemptStep) {
	l.t.Helper()
	l.await(who, step)
	l.awaited()
}

// await is the first half of until, for events that may come at once.
func (l *lab) await(who string, step hyperdht.AttemptStep) {
	l.log.awaited, l.log.awaitedBy, l.log.met = step, who, false
}

func (l *lab) awaited() {
	l.t.Helper()
	if !l.net.RunUntil(func() bool { return l.log.met }, 2*time.Minute) {
		l.t.Fatalf("%s never comes to the step %q", l.log.awaitedBy, l.log.awaited)
	}
}

// cut drops what goes from one actor to another from now on, where their ways meet: their own routers see it.
func (l *lab) cut(from, to *actor) {
	l.net.Block(from.host, to.host)
	l.log.lost[[2]string{from.name, to.name}] = true
}

// apart drops everything that the dialler and the answerer send to each other, together ends that.
func (l *lab) apart() {
	l.cut(l.dialler, l.answerer)
	l.cut(l.answerer, l.dialler)
}

func (l *lab) together() {
	l.log.note("the direct way is free")
	l.net.Heal()
	clear(l.log.lost)
}

// off cuts an actor off from all others.
func (l *lab) off(a *actor) {
	l.log.note("%s is cut off", a.name)
	for _, other := range l.all {
		if other != a {
			l.cut(a, other)
			l.cut(other, a)
		}
	}
}
