package sim

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

var hostileScenario = &Scenario{
	Name:  "hostile",
	About: "wrong secrets, false scrapers, floods of handshakes, garbage, stale replays, and nodes made to sit next to the scraper's key",
	Nodes: 24, Clients: 6, For: 30 * time.Second,
	Least: Least{Nodes: 12, Clients: 2, For: 30 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.FullCone())})
		w.populate(s, w.opts.Clients, clientSetup{})
		w.run(30 * time.Second)
		honest := slices.Clone(w.machines)
		before := w.count(honest)
		victim := w.clients[w.opts.Clients-1]
		others := &scrapesOf{w: w, but: victim}
		stop := w.prometheusOf(s, 10*time.Second, others.ended)

		w.phase("strangers with a wrong secret, a false scraper, silent connections, garbage and old datagrams")
		a := &attack{w: w, s: s}
		w.check.tampers = true
		a.strangers(5)
		a.falseScraper()
		a.crowd(2, 25*time.Millisecond)
		a.sendGarbage(4 * time.Millisecond)
		a.noise(2, time.Millisecond)
		a.forger()
		a.hoard(w.nodes[1])
		a.replay()
		victim.retired = true
		victim.crash()
		a.thief(victim)
		others.begin()
		w.run(w.opts.For)
		scrapes, failed := others.count()
		w.result.row("scrapes under attack", "%d, %d failed", scrapes, failed)
		w.expect(100*failed <= scrapes, "%d of %d scrapes fail under attack", failed, scrapes)
		w.expect(a.thefts > 0, "the thief had no answer")
		w.expect(a.stored() == 0, "nodes keep values without a token")
		w.expect(a.blocked() > 0, "the false scraper was not blocked")
		w.expect(s.app.Stats().Rejected[domain.ReasonUnauthorised] > 0, "the wrong secrets were not rejected")
		w.expect(a.sent > int(w.opts.For/time.Millisecond), "only %d datagrams of garbage", a.sent)
		values := holdsOf(w.nodes[1], "immutable values")
		w.result.row("values hoarded", "%d kept of %d", values, a.taken)
		w.expect(a.taken > mostValues, "a node has taken %d values, too few to fill it", a.taken)
		w.expect(values > maxHoard/4, "a node that was made to keep %d values has %d", maxHoard, values)
		w.result.row("attacks", "%d handshakes by false scrapers stopped, %d wrong secrets, %d idle connections denied, %d datagrams of garbage",
			a.blocked(), s.app.Stats().Rejected[domain.ReasonUnauthorised], total(s.app.Stats().ConnectionsDenied), a.sent)

		w.phase("silent connections were closed")
		a.stopCrowd()
		w.run(45 * time.Second)
		w.expect(s.app.Stats().AliasConnections <= 12, "%d idle registration connections are open", s.app.Stats().AliasConnections)

		w.phase("an honest client comes in the middle of it")
		c := w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		w.until("it is registered", startWithin, func() bool { return c.app.Status().Registered })

		w.phase("nodes whose ids lie next to the scraper's answer everything and store nothing: new clients may not find it")
		a.sybils(12)
		others.begin()
		w.run(w.opts.For)
		scrapes, failed = others.count()
		w.result.row("scrapes among false nodes", "%d, %d failed", scrapes, failed)
		w.expect(scrapes > 0 && 100*failed <= scrapes, "%d of %d scrapes over connections that stand fail among false nodes", failed, scrapes)

		w.phase("the attackers are gone")
		stop()
		a.end()
		// Records that the false nodes displaced stay away until the scraper's next round of announcing.
		w.mustHeal(healWithin)
		w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		w.mustHeal(healWithin)

		w.phase("ten minutes later nothing is left of them")
		w.run(10 * time.Minute)
		w.mustShrink(honest, before)
	},
}

// scrapesOf has the scrapes of all clients but one, which is switched off.
type scrapesOf struct {
	w       *World
	but     *client
	scrapes int
	failed  []failedScrape
}

// failedScrape is the end of one.
type failedScrape struct {
	alias domain.Alias
	at    time.Duration
	err   error
}

func (o *scrapesOf) begin() { o.scrapes, o.failed = 0, nil }

func (o *scrapesOf) ended(a domain.Alias, err error) {
	if a == o.but.alias {
		return
	}
	o.scrapes++
	if err != nil {
		o.failed = append(o.failed, failedScrape{a, o.w.net.Now(), err})
	}
}

// count returns the numbers of scrapes since begin and of those that failed. A changed length of a message, which old datagrams of the connection
// with other bytes have, ends a connection: that costs a scrape that waits for the answer, and those of the time until the next connection. More
// than mostLengthened ends are not the work of old datagrams.
func (o *scrapesOf) count() (scrapes, failed int) {
	ends := 0
	for _, at := range o.w.check.lengthened {
		ends += len(at)
	}
	for _, f := range o.failed {
		if _, answered := errors.AsType[*domain.RemoteError](f.err); answered || ends > mostLengthened || !o.w.check.lengthenedAt(f.alias, f.at) {
			failed++
		}
	}
	return o.scrapes, failed
}

// mostLengthened bounds the connections that old datagrams end by a changed length in a run: there were none in six runs, and one in two others.
const mostLengthened = 3

// attack is a set of attacks on a scraper and its clients.
type attack struct {
	w         *World
	s         *scraper
	over      bool
	quiet     bool // the crowd does not dial any more
	attackers []*machine
	strange   []*client
	seen      [][]byte         // datagrams of others, sent earlier
	targets   []netip.AddrPort // their destinations
	sent      int
	garbage   int
	hoarded   int // values that were sent to one node
	taken     int // those that it has confirmed
	dials     []dial
	thefts    int            // registrations of the thief that were answered
	forged    []id.Target    // values that the forger sent
	firsts    [][]byte       // first messages of handshakes
	public    netip.AddrPort // the scraper's, when the flood began
	random    io.Reader
	networks  int // networks of senders
}

// again calls f periodically until the attack is over.
func (a *attack) again(every time.Duration, f func()) {
	var next func()
	next = func() {
		if !a.over {
			f()
			a.w.net.AfterFunc(every, next)
		}
	}
	a.w.net.AfterFunc(every, next)
}

// machine boots an attacker's machine with an honest node on it.
func (a *attack) machine(name string) *machine {
	m := a.w.settle(name, open)
	m.run = func() { m.join(hyperdht.Config{}) }
	m.stop = func(done func()) { m.node.Close(done) }
	m.isAttacker = true
	m.boot()
	a.attackers = append(a.attackers, m)
	return m
}

// strangers boots clients that guess the secret.
func (a *attack) strangers(n int) {
	for i := range n {
		// They register the aliases of others.
		victim := a.w.clients[i%a.w.opts.Clients]
		a.strange = append(a.strange, a.w.addClient(a.s, clientSetup{alias: victim.alias, stranger: true}))
	}
}

// falseScraper dials all clients, each time under another key.
func (a *attack) falseScraper() {
	m, n := a.machine("false-scraper"), 0
	a.again(time.Second, func() {
		for _, c := range a.w.clients {
			n++
			keys := id.KeyPairFromSeed(id.Seed(a.w.seedOf(fmt.Sprintf("false scraper %d", n))))
			m.host.Do(func() {
				conn := m.node.Connect(id.PublicKey(c.keys.Public), hyperdht.ConnectOptions{Keys: &keys})
				conn.OnOpen(func() { a.w.fail("stranger", "%s lets a false scraper in", c.name) })
			})
		}
	})
}

// blocked returns how often clients have rejected a scraper.
func (a *attack) blocked() (n uint64) {
	for _, c := range a.w.clients {
		n += c.app.Status().Blocked
	}
	return n
}

// crowd dials the scraper repeatedly, each time under another key, and then stays silent. It dials at full pace for a third
// of the time, and then at a tenth of it.
func (a *attack) crowd(machines int, every time.Duration) {
	n, calm := 0, a.w.net.Now()+a.w.opts.For/3
	relays := a.nextTo(id.PublicKey(a.s.keys.Public).Target(), 4)
	for i := range machines {
		m := a.machine(fmt.Sprintf("crowd-%d", i))
		a.again(every, func() {
			n++
			if a.quiet || a.w.net.Now() > calm && n%10 != 0 {
				return
			}
			keys := id.KeyPairFromSeed(id.Seed(a.w.seedOf(fmt.Sprintf("crowd %d", n))))
			m.host.Do(func() {
				conn := m.node.Connect(id.PublicKey(a.s.keys.Public), hyperdht.ConnectOptions{Keys: &keys, RelayAddrs: relays})
				a.dials = append(a.dials, dial{m, conn})
			})
		})
	}
}

// dial is a connection of the crowd.
type dial struct {
	by   *machine
	conn *hyperdht.Connection
}

// stopCrowd ends the dialling. Open connections stay.
func (a *attack) stopCrowd() {
	a.quiet = true
	for _, d := range a.dials {
		d.by.host.Do(func() {
			if !d.conn.Opened() {
				d.conn.Destroy(nil)
			}
		})
	}
	a.dials = nil
}

// nextTo lists the nodes whose ids are the closest to a target: where a server with that target announces itself.
func (a *attack) nextTo(target id.Target, n int) []netip.AddrPort {
	type node struct {
		addr netip.AddrPort
		id   id.NodeID
	}
	var nodes []node
	for _, m := range a.w.nodes {
		addr := netip.AddrPortFrom(m.host.Addr(), dhtPort)
		nodes = append(nodes, node{addr, id.NodeIDOf(addr)})
	}
	slices.SortFunc(nodes, func(x, y node) int { return id.Closer(target, x.id, y.id) })
	var nearest []netip.AddrPort
	for _, near := range nodes[:min(n, len(nodes))] {
		nearest = append(nearest, near.addr)
	}
	return nearest
}

// sendGarbage sends meaningless first messages of handshakes, all different, to nodes that lead to the scraper and to the
// scraper itself. Each costs the scraper a Diffie-Hellman operation before it is rejected.
func (a *attack) sendGarbage(every time.Duration) {
	w := a.w
	m := w.settle("babbler", open)
	m.isAttacker = true
	a.attackers = append(a.attackers, m)
	var sock host.Socket
	m.host.Do(func() { sock = must(m.host.OpenSocket(netip.AddrPort{})) })
	target := id.PublicKey(a.s.keys.Public).Target()
	n := uint16(0)
	a.again(every, func() {
		if a.quiet {
			return
		}
		n++
		to := netip.AddrPortFrom(w.nodes[int(n)%len(w.nodes)].host.Addr(), dhtPort)
		if n%2 == 0 {
			if public := a.s.node.Status().Public; public.Port() != 0 {
				to = public
			}
		}
		noise := make([]byte, 200+w.rand.IntN(200))
		for i := range noise {
			noise[i] = byte(w.rand.Uint32())
		}
		// The mode of a client's message, which nodes pass on (hyperdht lib/messages.js).
		value := compact.AppendBytes([]byte{0, 0}, noise)
		b := []byte{requestByte, flagTarget | flagValue, byte(n), byte(n >> 8)}
		b = compact.AppendAddr(b, to)
		b = compact.AppendUint(b, commandPeerHandshake)
		b = append(b, target[:]...)
		b = compact.AppendBytes(b, value)
		m.host.Do(func() { sock.Send(to, 0, b) })
		a.garbage++
	})
}

// commandPeerHandshake carries the messages of a handshake (hyperdht lib/constants.js).
const commandPeerHandshake = 0

// replay makes the internet deliver earlier datagrams again from time to time, with their old source addresses.
func (a *attack) replay() {
	l := usualInternet(0)
	l.Replay, l.Stale = 0.05, 3*time.Minute
	a.w.net.Internet().SetLink(l)
}

// noise sends random, broken and outdated datagrams.
func (a *attack) noise(machines int, every time.Duration) {
	w := a.w
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if len(a.seen) < 4096 {
			a.seen, a.targets = append(a.seen, slices.Clone(d.Payload)), append(a.targets, d.To)
		} else {
			i := w.rand.IntN(len(a.seen))
			a.seen[i] = append(a.seen[i][:0], d.Payload...)
			a.targets[i] = d.To
		}
		return true
	})
	for i := range machines {
		m := w.settle(fmt.Sprintf("noise-%d", i), open)
		var sock host.Socket
		m.host.Do(func() { sock = must(m.host.OpenSocket(netip.AddrPort{})) })
		m.isAttacker = true
		a.attackers = append(a.attackers, m)
		a.again(every, func() {
			if len(a.seen) == 0 {
				return
			}
			to := a.targets[w.rand.IntN(len(a.targets))]
			if w.rand.IntN(4) == 0 {
				to = netip.AddrPortFrom(a.s.router.Addr(), to.Port())
			}
			b := a.broken()
			m.host.Do(func() { sock.Send(to, 0, b) })
			a.sent++
		})
	}
}

// broken returns a datagram that should do no harm.
func (a *attack) broken() []byte {
	r := a.w.rand
	b := slices.Clone(a.seen[r.IntN(len(a.seen))])
	switch r.IntN(4) {
	case 0: // a stale one
	case 1: // cut short
		b = b[:r.IntN(len(b)+1)]
	case 2: // a few bits flipped
		for range 1 + r.IntN(8) {
			if len(b) > 0 {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		}
	default: // random bytes
		b = make([]byte, r.IntN(1400))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// sybils puts machines next to the scraper's key: they answer every request, name each other, and store nothing.
func (a *attack) sybils(n int) {
	w, target := a.w, id.PublicKey(a.s.keys.Public).Target()
	var addrs []netip.AddrPort
	for len(addrs) < n {
		ip := w.addrs.newPublic()
		for port := uint16(1024); port < 2048; port++ {
			// Among a few dozen honest nodes, ten common bits are next to the target.
			if at := netip.AddrPortFrom(ip, port); commonBits(id.NodeIDOf(at), target) >= 10 {
				addrs = append(addrs, at)
				break
			}
		}
	}
	for i, at := range addrs {
		m := &machine{w: w, name: fmt.Sprintf("sybil-%d", i)}
		m.host = w.net.AddHost(m.name, at.Addr())
		w.machines, w.byName[m.name] = append(w.machines, m), m
		a.attackers = append(a.attackers, m)
		var sock host.Socket
		m.host.Do(func() {
			sock = must(m.host.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())))
			self := id.NodeIDOf(at)
			sock.OnReceive(func(from netip.AddrPort, b []byte) {
				if len(b) > 4 && b[0] == requestByte {
					sock.Send(from, 0, lie(self, from, b[2:4], addrs))
				}
			})
		})
		// They ping all nodes to get into the routing tables.
		a.again(5*time.Second, func() {
			for _, node := range w.nodes {
				m.host.Do(func() { a.greet(sock, at, node) })
			}
		})
	}
}

// The first bytes of a request and of a response, the flags of the latter, and the command of a ping (dht-rpc
// lib/io.js, lib/commands.js).
const (
	requestByte, responseByte = 0x03, 0x13
	flagID, flagToken         = 1, 2
	flagInternal, flagCloser  = 4, 4
	flagFailed                = 8
	commandPing               = 0
)

// lie answers a request with nothing but other liars.
func lie(self id.NodeID, to netip.AddrPort, tid []byte, others []netip.AddrPort) []byte {
	b := append([]byte{responseByte, flagID | flagToken | flagCloser}, tid...)
	b = compact.AppendAddr(b, to)
	b = append(b, self[:]...)
	b = append(b, make([]byte, 32)...) // a token as good as any
	return compact.AppendAddrs(b, others)
}

// greet sends a ping with a valid id, which adds a node to the receiver's table.
func (a *attack) greet(sock host.Socket, at netip.AddrPort, node *machine) {
	self := id.NodeIDOf(at)
	to := netip.AddrPortFrom(node.host.Addr(), dhtPort)
	b := append([]byte{requestByte, flagID | flagInternal}, byte(a.sent), byte(a.sent>>8))
	b = compact.AppendAddr(b, to)
	b = append(b, self[:]...)
	sock.Send(to, 0, compact.AppendUint(b, commandPing))
	a.sent++
}

// end switches the attackers' machines off.
func (a *attack) end() {
	a.over = true
	a.w.net.SetFilter(nil)
	a.w.net.Internet().SetLink(usualInternet(0))
	for _, m := range a.attackers {
		m.crash()
	}
	for _, c := range a.strange {
		c.retired = true
		c.close()
	}
}

// commonBits returns the length of the common prefix of two ids, in bits.
func commonBits(a id.NodeID, b id.Target) (n int) {
	for i := range a {
		for bit := 7; bit >= 0; bit-- {
			if (a[i]^b[i])>>bit&1 != 0 {
				return n
			}
			n++
		}
	}
	return n
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// total returns the sum of counts by reason.
func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
