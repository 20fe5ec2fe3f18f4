package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// hoardScenario tests memory and bytes: what strangers can make a scraper and a relay hold and send.
var hoardScenario = &Scenario{
	Name:  "hoard",
	About: "strangers send beginnings of long messages, leave gaps, read nothing, garble their streams, and forge handshakes: a scraper and a relay hold little and amplify nothing",
	Nodes: 12, Clients: 6, For: 30 * time.Second,
	Least: Least{Nodes: 4, Clients: 1, For: 10 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		relay := w.addRelay("relay")
		s := w.addScraper("scraper", scraperSetup{at: open})
		w.populate(s, w.opts.Clients, clientSetup{})
		w.run(20 * time.Second)
		honest := slices.Clone(w.machines)
		before := w.count(honest)
		stop := w.prometheus(s, 5*time.Second)
		w.check.tampers = true
		h := &hoard{attack: attack{w: w, s: s}}
		w.net.SetFilter(h.pass)

		w.phase("128 strangers send a long message each, to the scraper or the relay")
		h.heldLittle(func() {
			h.crowd(id.PublicKey(s.keys.Public), 96, func(c *hyperdht.Connection) { c.Send(make([]byte, 300_000)) })
			h.crowd(relay, 32, func(c *hyperdht.Connection) { c.Send(make([]byte, 300_000)) })
		})

		w.phase("strangers send as much as they may, and one packet of it never arrives")
		h.gaps = true
		h.heldLittle(func() {
			for range 2 {
				h.crowd(id.PublicKey(s.keys.Public), 32, func(c *hyperdht.Connection) {
					for range 20 {
						c.Send(make([]byte, 15_000))
					}
				})
			}
			h.crowd(relay, 16, func(c *hyperdht.Connection) {
				for range 20 {
					c.Send(make([]byte, 15_000))
				}
			})
		})
		h.gaps = false

		w.phase("strangers ask, and read no answers")
		h.deaf = true
		h.heldLittle(func() {
			h.crowd(id.PublicKey(s.keys.Public), 32, func(c *hyperdht.Connection) {
				// Opens of channels that the scraper does not have: each is rejected.
				for n := range byte(250) {
					c.Send([]byte{0, 1, n + 1, 1, 'x', 0})
				}
			})
		})
		h.deaf = false

		w.phase("strangers garble their streams")
		broken := s.node.Status().Peering.ConnectionsBroken
		h.garble = true
		h.heldLittle(func() {
			h.crowd(id.PublicKey(s.keys.Public), 32, func(c *hyperdht.Connection) {
				for range 10 {
					c.Send(make([]byte, 1000))
				}
			})
		})
		h.garble = false
		w.expect(s.node.Status().Peering.ConnectionsBroken > broken, "garbled streams were not detected")

		w.phase("handshakes from forged sources are never followed up")
		h.forged(id.PublicKey(s.keys.Public), 50*time.Millisecond)
		w.run(w.opts.For)
		w.result.row("forged handshakes", "%d bytes in %d, %d bytes of answers", h.spent, h.sent, h.returned)
		w.expect(h.spent > 0 && h.returned > 0, "no handshake was answered")
		w.expect(h.returned <= 3*h.spent, "%d bytes of forged handshakes bring %d bytes", h.spent, h.returned)
		w.expect(w.failedScrapes() == 0, "%d scrapes fail beside strangers", w.failedScrapes())

		w.phase("an honest client comes")
		c := w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		w.until("it is registered", startWithin, func() bool { return c.app.Status().Registered })
		stop()
		h.end()
		w.run(5 * time.Minute)
		w.mustShrink(honest, before)
	},
}

// hoard is a set of attacks on memory.
type hoard struct {
	attack
	strangers []*machine
	gaps      bool // the third long packet of each connection is lost, whenever it is sent
	deaf      bool // datagrams to strangers are lost once they have a connection
	garble    bool
	lost      map[netip.AddrPort]int

	source          netip.AddrPort // of forged handshakes
	spent, returned int            // bytes
}

// pass decides whether a stranger's datagram arrives, and garbles it.
func (h *hoard) pass(d simnet.Datagram) bool {
	if d.To == h.source {
		h.returned += len(d.Payload)
	}
	long := len(d.Payload) > 500
	switch {
	case !h.isAttacker(d.From.Addr()):
		return !h.deaf || !h.isAttacker(d.To.Addr()) || len(d.Payload) > 60
	case long && h.gaps:
		h.lost[d.From]++
		return h.lost[d.From]%5 != 3
	case long && h.garble:
		d.Payload[len(d.Payload)/2] ^= 1
	}
	return true
}

// isAttacker reports whether an address is a stranger's.
func (h *hoard) isAttacker(a netip.Addr) bool {
	return slices.ContainsFunc(h.strangers, func(m *machine) bool { return m.host.Addr() == a })
}

// crowd has n strangers on one machine dial a key and calls do with each opened connection.
func (h *hoard) crowd(key id.PublicKey, n int, do func(*hyperdht.Connection)) {
	m := h.machine(fmt.Sprintf("hoarder-%d", len(h.strangers)))
	h.strangers = append(h.strangers, m)
	h.w.until(m.name+" is ready", startWithin, m.node.Ready)
	for i := range n {
		keys := id.KeyPairFromSeed(id.Seed(h.w.seedOf(fmt.Sprintf("%s %d", m.name, i))))
		m.host.Do(func() {
			c := m.node.Connect(key, hyperdht.ConnectOptions{Keys: &keys})
			c.OnOpen(func() { do(c) })
		})
	}
}

// heldLittle starts an attack, and checks during the scenario's time how much is held for strangers.
func (h *hoard) heldLittle(begin func()) {
	w := h.w
	h.lost = map[netip.AddrPort]int{}
	begin()
	each, all := 0, 0
	for range int(w.opts.For / (100 * time.Millisecond)) {
		w.run(100 * time.Millisecond)
		for _, m := range w.machines {
			if !m.isAttacker && m.up() {
				each = max(each, holdsOf(m, "bytes held for one unproven peer"))
				all = max(all, holdsOf(m, "bytes held for unproven peers"))
			}
		}
	}
	w.result.row("held, "+w.story.doing, "%d bytes for one, %d for all", each, all)
	w.expect(each > 0 && each <= 64<<10, "one stranger makes a machine hold %d bytes", each)
	w.expect(all <= 64<<20, "strangers make a machine hold %d bytes", all)
	for _, m := range h.strangers {
		if m.up() {
			m.crash()
		}
	}
}

// forged sends handshakes from an address at which nothing listens.
func (h *hoard) forged(key id.PublicKey, every time.Duration) {
	w := h.w
	m := w.settle("forger-of-sources", open)
	m.isAttacker = true
	h.attackers = append(h.attackers, m)
	var sock host.Socket
	m.host.Do(func() { sock = must(m.host.OpenSocket(netip.AddrPort{})) })
	h.source = netip.AddrPortFrom(m.host.Addr(), sock.LocalAddr().Port())
	random := rand.NewChaCha8(w.seedOf("forger of sources"))
	to := netip.AddrPortFrom(h.s.host.Addr(), h.s.node.Status().Local.Port())
	h.again(every, func() {
		f := forge.Handshake{Server: key, Message: must(forge.NewMessage(key, random))}
		b := f.Append(nil, to, uint16(h.sent))
		h.sent++
		h.spent += len(b)
		m.host.Do(func() { sock.Send(to, 0, b) })
	})
}
