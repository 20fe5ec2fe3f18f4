package dht_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// swarm is a private DHT on a simulated internet with transports on it.
type swarm struct {
	t         *testing.T
	net       *simnet.Net
	hosts     byte
	bootstrap []string
	calls     []string
}

// peer is a machine with a transport.
type peer struct {
	host      *simnet.Host
	node      *hyperdht.Node
	transport *dht.Transport
}

func newNet(t *testing.T, seed uint64) *swarm {
	t.Helper()
	n := &swarm{t: t, net: simnet.New(simnet.Config{
		Seed: seed, Scribble: true, Link: simnet.Link{Delay: 10 * time.Millisecond, Spread: 20 * time.Millisecond},
	})}
	boot := n.addHost("boot")
	addr := netip.AddrPortFrom(boot.Addr(), 49737)
	n.bootstrap = []string{addr.String()}
	nodes := []*hyperdht.Node{n.node(boot, hyperdht.Config{Bootstrap: []string{}, PublicAddr: addr})}
	for i := range 5 {
		nodes = append(nodes, n.node(n.addHost(fmt.Sprint("node", i)), hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true}))
	}
	n.until("the DHT is up", time.Minute, func() bool {
		for _, node := range nodes {
			if s := node.Status(); !s.Ready || s.Ephemeral {
				return false
			}
		}
		return true
	})
	return n
}

func (sw *swarm) addHost(name string) *simnet.Host {
	sw.hosts++
	return sw.net.AddHost(name, netip.AddrFrom4([4]byte{100, 128, 0, sw.hosts}))
}

func (sw *swarm) node(h *simnet.Host, cfg hyperdht.Config) *hyperdht.Node {
	sw.t.Helper()
	if cfg.Bootstrap == nil {
		cfg.Bootstrap = sw.bootstrap
	}
	var node *hyperdht.Node
	h.Do(func() {
		var err error
		if node, err = hyperdht.New(h, cfg); err != nil {
			sw.t.Fatal(err)
		}
	})
	return node
}

func (sw *swarm) peer(name string, cfg dht.Config) *peer {
	sw.t.Helper()
	h := sw.addHost(name)
	node := sw.node(h, hyperdht.Config{})
	sw.until(name+" is ready", time.Minute, node.Ready)
	return &peer{host: h, node: node, transport: dht.New(h, node, cfg)}
}

func (sw *swarm) until(what string, within time.Duration, cond func() bool) {
	sw.t.Helper()
	if !sw.net.RunUntil(cond, within) {
		sw.t.Fatalf("not within %v: %s; called %v", within, what, sw.calls)
	}
}

func (sw *swarm) call(format string, args ...any) {
	sw.calls = append(sw.calls, fmt.Sprintf(format, args...))
}

func (sw *swarm) called(what string) bool {
	for _, c := range sw.calls {
		if strings.HasPrefix(c, what) {
			return true
		}
	}
	return false
}

// wait runs until something was called.
func (sw *swarm) wait(what string) {
	sw.t.Helper()
	sw.until(what, 30*time.Second, func() bool { return sw.called(what) })
}

func keys(b byte) domain.KeyPair {
	var seed [32]byte
	seed[0] = b
	return domain.KeyPairFromSeed(domain.SeedFrom(seed))
}

var (
	clientKeys  = keys(1)
	scraperKeys = keys(2)
	dialKeys    = keys(3)
	secret      = domain.SecretFrom([32]byte{7})
)

func (sw *swarm) listenMetrics(p *peer) ports.Listener {
	sw.t.Helper()
	return sw.listenMetricsOf(p, []byte("up 1\n"))
}

func (sw *swarm) listenMetricsOf(p *peer, page []byte) ports.Listener {
	sw.t.Helper()
	var l ports.Listener
	p.host.Do(func() {
		var err error
		l, err = p.transport.ListenMetrics(ports.MetricsListen{
			Keys: clientKeys,
			Admit: func(remote domain.PublicKey, payload domain.HandshakePayload, addr netip.AddrPort) bool {
				sw.call("admit %v %v", remote == scraperKeys.Public, addr.IsValid())
				return remote == scraperKeys.Public
			},
			OnOpen: func(c ports.Conn) ports.MetricsHandlers {
				sw.call("metrics open %v %s", c.Peer().Key == scraperKeys.Public, c.Peer().Path)
				return ports.MetricsHandlers{
					OnScrape: func(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
						return scrape.Send(p.host, scrape.Text(page), nil, h)
					},
					OnError: func(err error) { sw.call("metrics error %v", err) },
					OnClose: func() { sw.call("metrics close") },
				}
			},
		}, func(err error) { sw.call("metrics ready %v", err) })
		if err != nil {
			sw.t.Fatal(err)
		}
	})
	sw.wait("metrics ready")
	return l
}

func (sw *swarm) listenAliases(p *peer) ports.Listener {
	sw.t.Helper()
	var l ports.Listener
	p.host.Do(func() {
		var err error
		l, err = p.transport.ListenAliases(ports.AliasListen{
			Keys: scraperKeys,
			OnOpen: func(c ports.Conn) ports.AliasHandlers {
				sw.call("alias open %s", c.Peer().Path)
				return ports.AliasHandlers{
					OnRegister: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
						if !req.Secret.Equal(secret) {
							reply(ports.AliasReply{Message: "Unauthorised"})
							return
						}
						sw.call("register %s", req.Alias)
						reply(ports.AliasReply{Success: true, Updated: true})
					},
					OnLeave: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
						sw.call("leave %s %t", req.Alias, req.Proven)
						reply(ports.AliasReply{Success: true})
					},
					OnError: func(err error) { sw.call("alias error %v", err) },
					OnClose: func() { sw.call("alias close") },
				}
			},
		}, func(err error) { sw.call("aliases ready %v", err) })
		if err != nil {
			sw.t.Fatal(err)
		}
	})
	sw.wait("aliases ready")
	return l
}

func registration(dial domain.KeyPair, s domain.Secret) ports.Registration {
	return ports.Registration{
		Scraper: scraperKeys.Public, Dial: dial, Secret: s,
		Register: domain.Register{Alias: "a", Key: clientKeys.Public, Hostname: "h", Service: "s"},
	}
}

func (sw *swarm) register(p *peer, dial domain.KeyPair, s domain.Secret) (err error) {
	sw.t.Helper()
	answered := false
	p.host.Do(func() {
		p.transport.RegisterAlias(registration(dial, s), func(_ bool, e error) { answered, err = true, e })
	})
	sw.until("the registration is answered", 30*time.Second, func() bool { return answered })
	return err
}

func (sw *swarm) dial(p *peer) (s ports.MetricsSession) {
	p.host.Do(func() {
		s = p.transport.DialMetrics(ports.MetricsDial{
			Keys: scraperKeys, Client: clientKeys.Public,
			OnOpen:  func(domain.Peer) { sw.call("session open") },
			OnReady: func() { sw.call("session ready") },
			OnClose: func(err error) { sw.call("session close %v", err) },
		})
	})
	return s
}

// request requests a page.
func request(s ports.MetricsSession, done func(scrape.Page, error)) {
	scrape.Collect(s, domain.ScrapeRequest{Within: time.Minute}, domain.MaxBody, done)
}

func (sw *swarm) scrape(p *peer, s ports.MetricsSession) (r scrape.Page, err error) {
	sw.t.Helper()
	done := false
	p.host.Do(func() { request(s, func(got scrape.Page, e error) { done, r, err = true, got, e }) })
	sw.until("the request is answered", 30*time.Second, func() bool { return done })
	return r, err
}

func (sw *swarm) close(p *peer) {
	sw.t.Helper()
	done := false
	p.host.Do(func() { p.transport.Close(func() { done = true }) })
	sw.until("the transport is closed", 30*time.Second, func() bool { return done })
}

func TestRegistrationThenScrape(t *testing.T) {
	n := newNet(t, 1)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenAliases(scraper)
	n.listenMetrics(client)
	if err := n.register(client, dialKeys, secret); err != nil {
		t.Fatalf("register: %v", err)
	}
	n.wait("alias close")
	s := n.dial(scraper)
	for range 3 {
		if r, err := n.scrape(scraper, s); err != nil || string(r.Body) != "up 1\n" {
			t.Fatalf("scrape: %q, %v", r.Body, err)
		}
	}
	if !n.called("admit true true") || !n.called("metrics open true") || !n.called("session ready") {
		t.Errorf("called %v", n.calls)
	}
	scraper.host.Do(func() { s.Close(nil) })
	n.wait("metrics close")
	if n.called("metrics error") || n.called("alias error") || !n.called("session close <nil>") {
		t.Errorf("called %v", n.calls)
	}
	if st := client.transport.Status(); st.State != "online" || st.Nodes == 0 || len(st.Addrs) != 1 || len(st.Counters) == 0 {
		t.Errorf("status %+v", st)
	}
}

func TestWrongSecretIsRefused(t *testing.T) {
	n := newNet(t, 2)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenAliases(scraper)
	var remote *domain.RemoteError
	if err := n.register(client, dialKeys, domain.SecretFrom([32]byte{8})); !errors.As(err, &remote) || remote.Message != "Unauthorised" {
		t.Errorf("error %v, want Unauthorised", err)
	}
}

func TestGoodbyeIsHeard(t *testing.T) {
	n := newNet(t, 3)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenAliases(scraper)
	leave := func() {
		client.transport.LeaveAlias(registration(dialKeys, secret), func(err error) { n.call("left %v", err) })
	}
	client.host.Do(leave)
	n.wait("left <nil>")
	if !n.called("leave a false") {
		t.Errorf("called %v", n.calls)
	}
	// A goodbye of a process that serves metrics under the key is proven.
	n.listenMetrics(client)
	client.host.Do(leave)
	n.wait("leave a true")
}

func TestAbsentScraperIsAConnectionError(t *testing.T) {
	n := newNet(t, 4)
	client := n.peer("client", dht.Config{})
	var ce *ports.ConnectionError
	if err := n.register(client, dialKeys, secret); !errors.As(err, &ce) || !errors.Is(err, hyperdht.ErrPeerNotFound) {
		t.Errorf("error %v, want ErrPeerNotFound in a ConnectionError", err)
	}
}

func TestStrangersAreNotServed(t *testing.T) {
	n := newNet(t, 5)
	client, stranger := n.peer("client", dht.Config{}), n.peer("stranger", dht.Config{})
	n.listenMetrics(client)
	stranger.host.Do(func() {
		stranger.transport.DialMetrics(ports.MetricsDial{
			Keys: dialKeys, Client: clientKeys.Public,
			OnOpen:  func(domain.Peer) { n.call("session open") },
			OnClose: func(err error) { n.call("session close %v", err) },
		})
	})
	n.wait("session close")
	if n.called("session open") || n.called("metrics open") || !n.called("admit false true") {
		t.Errorf("called %v", n.calls)
	}
}

func TestOneConnectionCarriesRegistrationAndMetrics(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  dht.Config
		want int
	}{"by default": {dht.Config{}, 1}, "unless turned off": {dht.Config{OwnConnections: true}, 2}} {
		t.Run(name, func(t *testing.T) {
			n := newNet(t, 6)
			client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", c.cfg)
			n.listenAliases(scraper)
			n.listenMetrics(client)
			if err := n.register(client, clientKeys, secret); err != nil {
				t.Fatalf("register: %v", err)
			}
			s := n.dial(scraper)
			if r, err := n.scrape(scraper, s); err != nil || string(r.Body) != "up 1\n" {
				t.Fatalf("scrape: %q, %v", r.Body, err)
			}
			n.net.Run(time.Second)
			if got := int(scraper.node.Status().Peering.ConnectionsOpened); got != c.want {
				t.Errorf("%d connections were made, want %d", got, c.want)
			}
			n.net.Run(time.Minute)
			if _, err := n.scrape(scraper, s); err != nil {
				t.Errorf("a minute later: %v", err)
			}
			if got := client.node.Status().Connections; got != 1 {
				t.Errorf("%d connections are left, want 1", got)
			}
			n.close(client)
			n.wait("session close")
		})
	}
}

func TestClosedListenerAnswersNoDial(t *testing.T) {
	n := newNet(t, 7)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	l := n.listenMetrics(client)
	s := n.dial(scraper)
	if _, err := n.scrape(scraper, s); err != nil {
		t.Fatal(err)
	}
	client.host.Do(func() {
		l.Close(func() { n.call("listener closed after metrics close: %v", n.called("metrics close")) })
		l.Close(func() { n.call("again") })
	})
	n.wait("listener closed after metrics close: true")
	n.wait("again")
	n.wait("session close <nil>")
	n.calls = nil
	n.dial(scraper)
	n.wait("session close")
	if n.called("session open") {
		t.Errorf("called %v", n.calls)
	}
	n.listenMetrics(client) // the key is free again
}

func TestClosingEndsConnectionsFirst(t *testing.T) {
	n := newNet(t, 8)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenMetrics(client)
	n.listenAliases(scraper)
	s := n.dial(scraper)
	if _, err := n.scrape(scraper, s); err != nil {
		t.Fatal(err)
	}
	// The scraper's machine vanishes: the client's close is not answered.
	scraper.host.Crash()
	n.close(client)
	if !n.called("metrics close") || n.called("metrics error") {
		t.Errorf("called %v", n.calls)
	}
	n.close(client) // twice is harmless
	if client.host.Timers() != 0 || client.host.Sockets() != 0 {
		t.Errorf("%d timers and %d sockets are left", client.host.Timers(), client.host.Sockets())
	}
	if st := client.transport.Status(); st.State != "closed" {
		t.Errorf("status %q", st.State)
	}

	client.host.Do(func() {
		tr := client.transport
		if _, err := tr.ListenMetrics(ports.MetricsListen{Keys: keys(9)}, func(error) {}); !errors.Is(err, domain.ErrClosed) {
			t.Errorf("listening on a closed transport: %v", err)
		}
		tr.RegisterAlias(registration(dialKeys, secret), func(_ bool, err error) { n.call("registered %v", err) })
		tr.LeaveAlias(registration(dialKeys, secret), func(err error) { n.call("left %v", err) })()
		tr.DialMetrics(ports.MetricsDial{OnClose: func(err error) { n.call("dialled %v", err) }})
		if n.called("registered") || n.called("dialled") {
			t.Error("called inside the call")
		}
	})
	n.wait("registered closed")
	n.wait("dialled closed")
	if n.called("left") {
		t.Error("called after cancel")
	}
}

// A program closes its servers first, and then the transport, within a few seconds in all: a connection whose peer has vanished must not take
// the time twice.
func TestClosingCountsFromTheCloseOfTheServers(t *testing.T) {
	n := newNet(t, 8)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	l := n.listenMetrics(client)
	n.dial(scraper)
	n.wait("metrics open")
	scraper.host.Crash()
	client.host.Do(func() { l.Close(func() {}) })
	n.net.Run(2 * time.Second)
	done := false
	client.host.Do(func() { client.transport.Close(func() { done = true }) })
	n.until("the transport is closed", 1100*time.Millisecond, func() bool { return done })
}

func TestBrokenConnectionsFailTheSession(t *testing.T) {
	n := newNet(t, 9)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenMetrics(client)
	s := n.dial(scraper)
	if _, err := n.scrape(scraper, s); err != nil {
		t.Fatal(err)
	}
	client.host.Crash()
	scraper.host.Do(func() { request(s, func(_ scrape.Page, err error) { n.call("no metrics %v", err != nil) }) })
	n.until("the session ends", 5*time.Minute, func() bool { return n.called("session close") })
	if !n.called("no metrics true") || n.called("session close <nil>") {
		t.Errorf("called %v", n.calls)
	}
}

func TestSameSeedSameRun(t *testing.T) {
	run := func() (uint64, string) {
		n := newNet(t, 10)
		client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
		n.listenAliases(scraper)
		n.listenMetrics(client)
		_ = n.register(client, clientKeys, secret)
		s := n.dial(scraper)
		_, _ = n.scrape(scraper, s)
		n.close(client)
		n.close(scraper)
		return n.net.Hash(), strings.Join(n.calls, "\n")
	}
	h1, c1 := run()
	h2, c2 := run()
	if h1 != h2 || c1 != c2 {
		t.Errorf("hashes %x and %x; calls\n%s\nand\n%s", h1, h2, c1, c2)
	}
}

// A restarted client sets Unconnected in its proven registration, and renewals of a connected one do not.
func TestRegistrationSaysWhetherAConnectionReachesTheClient(t *testing.T) {
	n := newNet(t, 12)
	scraper, client := n.peer("scraper", dht.Config{}), n.peer("client", dht.Config{})
	keys, metrics := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1})), domain.KeyPairFromSeed(domain.SeedFrom([32]byte{2}))
	var heard []bool
	scraper.host.Do(func() {
		_, err := scraper.transport.ListenAliases(ports.AliasListen{Keys: keys, OnOpen: func(ports.Conn) ports.AliasHandlers {
			return ports.AliasHandlers{OnRegister: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
				if !req.Proven {
					t.Error("the key is not proven")
				}
				heard = append(heard, req.Unconnected)
				reply(ports.AliasReply{Success: true})
			}}
		}}, func(error) { n.call("aliases ready") })
		if err != nil {
			t.Fatal(err)
		}
	})
	n.wait("aliases ready")
	client.host.Do(func() {
		_, err := client.transport.ListenMetrics(ports.MetricsListen{Keys: metrics, OnOpen: func(ports.Conn) ports.MetricsHandlers {
			return ports.MetricsHandlers{}
		}}, func(error) { n.call("metrics ready") })
		if err != nil {
			t.Fatal(err)
		}
	})
	n.wait("metrics ready")
	register := func() {
		done := false
		client.host.Do(func() {
			client.transport.RegisterAlias(ports.Registration{
				Scraper: keys.Public, Dial: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{3})),
				Register: domain.Register{Alias: "a", Key: metrics.Public},
			}, func(_ bool, err error) {
				if err != nil {
					t.Error(err)
				}
				done = true
			})
		})
		n.until("it is registered", 10*time.Second, func() bool { return done })
	}
	register()
	up := false
	scraper.host.Do(func() {
		scraper.transport.DialMetrics(ports.MetricsDial{Keys: keys, Client: metrics.Public, OnReady: func() { up = true }})
	})
	n.until("the session is ready", 10*time.Second, func() bool { return up })
	register()
	if fmt.Sprint(heard) != "[true false]" {
		t.Errorf("unconnected: %v, want true and then false", heard)
	}
}

// A scraper's key with 30 connections that acknowledge nothing of a page of 4 MB: a window of each is held, no more.
func TestUnreadPagesShareOneBoundOverAllConnections(t *testing.T) {
	n := newNet(t, 12)
	client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
	n.listenMetricsOf(client, make([]byte, 4<<20))
	const connections = 30
	ready := 0
	var sessions []ports.MetricsSession
	scraper.host.Do(func() {
		for range connections {
			sessions = append(sessions, scraper.transport.DialMetrics(ports.MetricsDial{
				Keys: scraperKeys, Client: clientKeys.Public, OnReady: func() { ready++ }, OnClose: func(error) {},
			}))
		}
	})
	n.until("all connections are ready", time.Minute, func() bool { return ready == connections })
	n.net.SetFilter(func(d simnet.Datagram) bool { return d.From.Addr() != client.host.Addr() || len(d.Payload) < 1000 })
	scraper.host.Do(func() {
		for _, s := range sessions {
			request(s, func(scrape.Page, error) {})
		}
	})
	most := 0
	for range 50 {
		n.net.Run(100 * time.Millisecond)
		all := 0
		client.node.Sizes(func(what string, held, _ int) {
			if what == "bytes sent and not acknowledged" {
				all = held
			}
		})
		most = max(most, all)
	}
	if most < connections*64<<10 || most > connections*128<<10 {
		t.Errorf("%d bytes of unread pages are held", most)
	}
}

func TestKeyListensOnce(t *testing.T) {
	n := newNet(t, 1)
	client := n.peer("client", dht.Config{})
	n.listenMetrics(client)
	client.host.Do(func() {
		l, err := client.transport.ListenMetrics(ports.MetricsListen{Keys: clientKeys, OnOpen: func(ports.Conn) ports.MetricsHandlers {
			return ports.MetricsHandlers{}
		}}, func(error) {})
		if l != nil || err == nil {
			t.Errorf("a second listener under one key: %v, %v", l, err)
		}
	})
}

// A server that closes before it is announced was never ready, and its listener receives the reason.
func TestFailedAnnouncementIsToldToItsListener(t *testing.T) {
	n := newNet(t, 1)
	client := n.peer("client", dht.Config{})
	client.host.Do(func() {
		if _, err := client.transport.ListenMetrics(ports.MetricsListen{Keys: clientKeys, OnOpen: func(ports.Conn) ports.MetricsHandlers {
			return ports.MetricsHandlers{}
		}}, func(err error) { n.call("metrics ready %v", err) }); err != nil {
			t.Error(err)
		}
		client.node.Close(func() {})
	})
	n.wait("metrics ready")
	if n.called("metrics ready <nil>") {
		t.Error("ready, though no node knows the server")
	}
}
