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

var floodScenario = &Scenario{
	Name:  "flood",
	About: "strangers send 600 handshakes a second, from one sender and from a hundred, and with invented callers: clients register and are scraped as ever",
	Nodes: 16, Clients: 6, For: 10 * time.Second,
	Least: Least{Nodes: 8, Clients: 2, For: 6 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.FullCone())})
		w.populate(s, w.opts.Clients, clientSetup{at: behind(simnet.PortRestricted())})
		w.addClient(s, clientSetup{at: behind(simnet.SymmetricRandom())})
		w.mustHeal(startWithin)
		var scraped, failed int
		stopped := false
		held := slices.Clone(w.clients)
		var scrape func()
		scrape = func() {
			for _, c := range held {
				w.scrape(s, c.alias, func(_ time.Duration, err error) {
					scraped++
					if err != nil {
						failed++
					}
				})
			}
			if !stopped {
				w.net.AfterFunc(2*time.Second, scrape)
			}
		}
		scrape()
		w.run(30 * time.Second)
		honest := len(w.machines)
		before := w.count(w.machines[:honest])
		a := &attack{w: w, s: s, random: rand.NewChaCha8(w.seedOf("flood"))}
		for _, f := range []struct {
			name    string
			senders int
			to      floodWay
		}{
			{"from one sender through the scraper's relays", 1, throughRelays},
			{"from a hundred senders through the scraper's relays", 100, throughRelays},
			{"from one sender that invents callers", 1, inventedCallers},
			{"from a hundred senders that invent callers", 100, inventedCallers},
		} {
			w.phase("600 handshakes a second %s", f.name)
			a.over = false
			a.flood(f.name, f.senders, f.to)
			read := s.node.Status().Peering.HandshakesRead
			scraped, failed = 0, 0
			// New clients come, one each second, behind NATs of both kinds. Ports are guessed for one peer at a time, with
			// a pause of 20 s, so those behind a random NAT come at intervals.
			var fresh []*client
			late := 0
			for i := range int(w.opts.For / time.Second) {
				at := behind(simnet.PortRestricted())
				if i == 5 {
					at = behind(simnet.SymmetricRandom())
				}
				c := w.addClient(s, clientSetup{at: at})
				fresh = append(fresh, c)
				w.net.AfterFunc(floodFirstTry, func() {
					if i != 5 && !c.app.Status().Registered {
						late++
					}
				})
				w.run(time.Second)
			}
			w.run(floodWithin)
			registered := 0
			for _, c := range fresh {
				if c.app.Status().Registered {
					registered++
				}
			}
			read = s.node.Status().Peering.HandshakesRead - read
			w.result.row(f.name, "%d of %d clients registered, %d late; %d scrapes, %d failed; %d handshakes read", registered, len(fresh), late, scraped, failed, read)
			w.expect(registered == len(fresh) && late == 0, "%s: %d of %d clients registered, %d late", f.name, registered, len(fresh), late)
			w.expect(scraped > 0 && failed == 0, "%s: %d of %d scrapes failed", f.name, failed, scraped)
			// The cost of strangers is bounded by the pace of all, and that of one sender by its own.
			seconds := uint64((w.opts.For + floodWithin) / time.Second)
			limit := 512 + 512*seconds
			if f.senders == 1 {
				limit = 1024 + 64*seconds
			}
			w.expect(read <= limit+uint64(8*len(fresh)), "%s: %d handshakes were read, %d were the bound", f.name, read, limit)
			a.end()
			for _, c := range fresh {
				c.retire()
			}
			w.run(time.Minute)
		}
		w.result.row("handshakes sent", "%d", a.sent)

		w.phase("ten minutes later nothing is left of it")
		stopped = true
		w.run(10 * time.Minute)
		w.mustShrink(w.machines[:honest], before)
	},
}

// floodWithin bounds the time in which all are registered after the last new client: two tries, and a punch that guesses
// ports.
const floodWithin = 15 * time.Second

// floodFirstTry is the time in which a new client joins the DHT and registers with its first try, behind a NAT with
// predictable ports.
const floodFirstTry = 4 * time.Second

// floodWay returns the destination of one handshake of a flood, and its caller; an invalid caller is the sender itself.
type floodWay func(a *attack, n int) (to, caller netip.AddrPort)

func throughRelays(a *attack, n int) (to, caller netip.AddrPort) {
	relays := a.nextTo(id.PublicKey(a.s.keys.Public).Target(), 3)
	return relays[n%len(relays)], netip.AddrPort{}
}

func inventedCallers(a *attack, _ int) (to, caller netip.AddrPort) {
	r := a.w.rand
	ip := netip.AddrFrom4([4]byte{byte(20 + r.IntN(60)), byte(r.IntN(256)), byte(r.IntN(256)), byte(1 + r.IntN(254))})
	return a.public, netip.AddrPortFrom(ip, uint16(1024+r.IntN(60000)))
}

// floodPool is the number of first messages of a flood; they are sent again, at its pace, when the scraper has forgotten
// them.
const floodPool = 20 * floodPerSecond

// floodPerSecond is the number of handshakes a second.
const floodPerSecond = 600

// flood sends handshakes until the attack is over, from each sender in turn.
func (a *attack) flood(name string, senders int, way floodWay) {
	w := a.w
	var hosts []*machine
	var socks []host.Socket
	for i := range senders {
		// Each sender is in a network of its own, as the senders of one share a limit.
		m := &machine{w: w, name: fmt.Sprintf("sender-%d %s", i, name), isAttacker: true}
		a.networks++
		m.host = w.net.AddHost(m.name, netip.AddrFrom4([4]byte{91, byte(a.networks >> 8), byte(a.networks), 1}))
		w.machines, w.byName[m.name] = append(w.machines, m), m
		a.attackers, hosts = append(a.attackers, m), append(hosts, m)
		m.host.Do(func() { socks = append(socks, must(m.host.OpenSocket(netip.AddrPort{}))) })
	}
	server := id.PublicKey(a.s.keys.Public)
	a.public = a.s.node.Status().Public
	n := 0
	a.again(time.Second/floodPerSecond, func() {
		if len(a.firsts) < floodPool {
			a.firsts = append(a.firsts, must(forge.NewMessage(server, a.random)))
		}
		to, caller := way(a, n)
		b := forge.Handshake{Server: server, Message: a.firsts[a.sent%len(a.firsts)], Peer: caller}.Append(nil, to, uint16(n))
		m, sock := hosts[n%senders], socks[n%senders]
		m.host.Do(func() { sock.Send(to, 0, b) })
		n++
		a.sent++
	})
}
