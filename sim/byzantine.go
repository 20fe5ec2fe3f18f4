package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// A quarter of the DHT is the share that this is known to hold for, behind routers that keep a socket's port: a quarter
// seldom has more than two of the four nodes that a punch asks for its address, or a quarter of the twelve that are asked
// whether a machine has moved; with a third, both happen within minutes. Where a router gives each remote end another port,
// one of thirty runs was late with a fifth of liars, when two of four answers were enough.
var byzantineScenario = &Scenario{
	Name:  "byzantine",
	About: "a quarter of the DHT lies in the form of the protocol, about addresses, closeness, tokens, peers and handshakes, some of it late: clients register and are scraped as ever",
	Nodes: 18, Clients: 6, For: 5 * time.Minute,
	Least: Least{Nodes: 9, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		liars := w.opts.Nodes / byzantineShare
		w.check.unrest = true // false addresses look as a move does
		b := &byzantine{w: w, wrong: map[*machine]time.Duration{}}
		w.phase("%d nodes that lie join %d that do not", liars, w.opts.Nodes)
		b.join(liars)
		w.run(time.Minute)
		stop := b.watchAddresses()

		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.FullCone())})
		w.phase("%d clients come", w.opts.Clients)
		for i := range w.opts.Clients {
			w.addClient(s, clientSetup{at: steady()[i%len(steady())]})
		}
		w.mustHeal(healWithin)
		honest := slices.DeleteFunc(slices.Clone(w.machines), func(m *machine) bool { return m.isAttacker })
		w.run(time.Minute)
		before := w.count(honest)

		w.phase("they are scraped for %v", w.opts.For)
		failed, scraped := 0, 0
		end := w.scraping(s, func(err error) {
			scraped++
			if err != nil {
				failed++
			}
		})
		w.run(w.opts.For)
		end()
		w.run(scrapeWithin)
		w.result.row("scrapes among liars", "%d, of which %d failed", scraped, failed)
		w.expect(scraped > 0 && failed == 0, "%d of %d scrapes fail", failed, scraped)

		for _, c := range w.clients[:min(3, len(w.clients))] {
			w.phase("%s gets another public address", c.name)
			if c.router != nil && c.router.Addr().IsValid() {
				c.router.SetAddr(w.addrs.newPublic())
				w.stirs(c.machine)
			} else {
				w.roam(c.machine)
			}
			w.mustHeal(healWithin)
		}
		w.phase("the scraper crashes and boots again")
		s.crash()
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)
		w.phase("a new client comes")
		w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		w.mustHeal(healWithin)

		w.run(2 * time.Minute)
		stop()
		w.result.row("the longest time with a false address", "%v", b.longest)
		w.phase("the liars are switched off; ten minutes later nothing is left of them")
		for _, m := range w.machines {
			if m.isAttacker {
				m.crash()
			}
		}
		w.run(10 * time.Minute)
		w.mustShrink(honest, before)
		w.mustHeal(healWithin)
	},
}

// byzantineShare is the number of honest nodes for each liar.
const byzantineShare = 3

// falseAddressWithin bounds the time for which a machine may take a false address for its own.
const falseAddressWithin = 3 * time.Minute

// byzantine holds the lying nodes.
type byzantine struct {
	w       *World
	all     []*forge.Liar
	wrong   map[*machine]time.Duration // since when a machine has had a false address
	longest time.Duration
}

// join boots lying nodes and has them greet all honest ones from time to time, so that they are in the routing tables. Each
// lies about addresses, and every kind of lie about handshakes is used by one of them.
func (b *byzantine) join(n int) {
	w, r := b.w, b.w.randFor("liars")
	hosts := r.IntN(2) == 0
	w.result.row("they lie about", "%s", map[bool]string{false: "ports", true: "hosts and ports"}[hosts])
	lies := forge.RelayLies()
	first := r.IntN(len(lies))
	var ghosts, named []netip.AddrPort
	for range 6 {
		ghosts = append(ghosts, netip.AddrPortFrom(w.addrs.newPublic(), dhtPort))
	}
	for i := range n {
		m := w.settle(fmt.Sprintf("liar-%d", i), open)
		m.isAttacker = true
		at := netip.AddrPortFrom(m.host.Addr(), b.port(m.host.Addr()))
		named = append(named, at)
		l := &forge.Liar{Self: at, Hosts: hosts, Relays: lies[(first+i)%len(lies)], Random: rand.NewChaCha8(w.seedOf(m.name))}
		b.all = append(b.all, l)
		delay := time.Duration(0)
		if i%3 == 2 {
			delay = time.Duration(r.Int64N(int64(900 * time.Millisecond)))
		}
		b.boot(m, l, delay)
	}
	for _, l := range b.all {
		l.Closer = append(slices.Clone(named), ghosts...)[:min(20, len(named)+len(ghosts))]
	}
}

// port draws a port with which the attackers have at most two of the three nodes nearest to each key of the scenario: an
// attacker that has all three hides a server, against which nothing is done (docs/security.md).
func (b *byzantine) port(ip netip.Addr) uint16 {
	for port := uint16(dhtPort); ; port++ {
		if b.spares(netip.AddrPortFrom(ip, port)) {
			return port
		}
	}
}

func (b *byzantine) spares(at netip.AddrPort) bool {
	w := b.w
	keys := []id.PublicKey{id.PublicKey(w.keysOf("scraper").Public)}
	for i := range w.opts.Clients + 1 {
		keys = append(keys, id.PublicKey(w.keysOf(fmt.Sprintf("client-%d", i)).Public))
	}
	return !slices.ContainsFunc(keys, func(key id.PublicKey) bool {
		nearest := w.nodes[0]
		for _, m := range w.nodes {
			if id.Closer(key.Target(), nodeID(m), nodeID(nearest)) < 0 {
				nearest = m
			}
		}
		closer := 0
		for _, l := range append(slices.Clone(b.all), &forge.Liar{Self: at}) {
			if id.Closer(key.Target(), id.NodeIDOf(l.Self), nodeID(nearest)) < 0 {
				closer++
			}
		}
		return closer > 2
	})
}

func nodeID(m *machine) id.NodeID { return id.NodeIDOf(netip.AddrPortFrom(m.host.Addr(), dhtPort)) }

// boot opens a liar's socket. delay is the time until it answers.
func (b *byzantine) boot(m *machine, l *forge.Liar, delay time.Duration) {
	var sock host.Socket
	send := func(d forge.Sent) {
		if delay == 0 {
			sock.Send(d.To, 0, d.Payload)
			return
		}
		m.host.AfterFunc(delay, func() { sock.Send(d.To, 0, d.Payload) })
	}
	m.host.Do(func() {
		sock = must(m.host.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), l.Self.Port())))
		sock.OnReceive(func(from netip.AddrPort, request []byte) {
			for _, d := range l.Receive(from, request) {
				send(d)
			}
		})
	})
	n := uint16(0)
	var greet func()
	greet = func() {
		for _, node := range b.w.nodes {
			to := netip.AddrPortFrom(node.host.Addr(), dhtPort)
			n++
			sock.Send(to, 0, l.Greeting(to, n))
		}
		m.host.AfterFunc(30*time.Second, greet)
	}
	m.host.Do(greet)
}

// watchAddresses demands that no honest machine takes a false address for its own for long, until stop is called.
func (b *byzantine) watchAddresses() (stop func()) {
	stopped := false
	var look func()
	look = func() {
		for _, m := range b.w.machines {
			if !stopped && !m.isAttacker {
				b.look(m)
			}
		}
		if !stopped {
			b.w.net.AfterFunc(time.Second, look)
		}
	}
	look()
	return func() { stopped = true }
}

func (b *byzantine) look(m *machine) {
	believed := netip.AddrPort{}
	if m.up() {
		believed = m.node.Status().Public
	}
	at := m.host.Addr()
	if m.router != nil && m.router.Addr().IsValid() {
		at = m.router.Addr()
	}
	right := !believed.IsValid() || believed.Addr() == at && (!m.isNode || believed.Port() == dhtPort)
	since, before := b.wrong[m]
	switch now := b.w.net.Now(); {
	case right:
		delete(b.wrong, m)
	case !before:
		b.wrong[m] = now
	default:
		if now-since > b.longest {
			b.longest = now - since
		}
		if now-since > falseAddressWithin {
			b.w.fail("outcome", "%s has reported, for %v, the address %v, but has %v", m.name, falseAddressWithin, believed, at)
			b.wrong[m] = never
		}
	}
}
