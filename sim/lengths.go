package sim

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

var lengthsScenario = &Scenario{
	Name:  "lengths",
	About: "an observer of the path changes the length of a message, which is in clear, again and again: each time all clients are scraped again soon",
	Nodes: 6, Clients: 6, For: 3 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: open})
		w.populateAt(s, w.opts.Clients, setting{clients: steady()}, clientSetup{})
		w.run(10 * time.Second)
		before := w.count(w.machines)
		stop := w.prometheus(s, 5*time.Second)
		w.check.tampers = true
		l := &lengthener{s: s, random: w.randFor("lengths")}
		w.net.SetFilter(l.pass)
		end := w.net.Now() + w.opts.For
		for w.net.Now() < end {
			l.arm()
			w.phase("the length of a message %s the scraper changes in bit %d", map[bool]string{true: "to", false: "of"}[l.in], l.bit)
			w.until("it has changed", time.Minute, func() bool { return !l.armed })
			w.mustHeal(healWithin)
			w.run(time.Duration(l.random.Int64N(int64(10 * time.Second))))
		}
		stop()
		broken := s.node.Status().Peering.ConnectionsBroken
		for _, c := range w.clients {
			broken += c.node.Status().Peering.ConnectionsBroken
		}
		w.result.row("lengths changed", "%d, %d connections broke", l.changed, broken)
		w.expect(broken > 0, "%d messages had another length, and no connection broke", l.changed)
		w.run(time.Minute)
		w.mustShrink(w.machines, before)
	},
}

// lengthener is an observer that forges packets that arrive before the true ones.
type lengthener struct {
	s       *scraper
	random  *rand.Rand
	armed   bool
	in      bool // the next message is one to the scraper
	bit     int  // of the length, from 0 to 23
	changed int
}

func (l *lengthener) arm() { l.armed, l.in, l.bit = true, l.random.IntN(2) == 0, l.random.IntN(24) }

// pass changes the next message on a stream of the scraper. A message begins with a packet, since the streams are idle before.
func (l *lengthener) pass(d simnet.Datagram) bool {
	const header, data = 20, 1 // of UDX
	b, at := d.Payload, l.s.host.Addr()
	if !l.armed || l.in && d.To.Addr() != at || !l.in && d.From.Addr() != at || len(b) <= header+3 || b[0] != 0xff || b[1] != 1 || b[2] != data {
		return true
	}
	if b = b[header+int(b[3]):]; len(b) > 3 {
		b[l.bit/8] ^= 1 << (l.bit % 8)
		l.armed = false
		l.changed++
	}
	return true
}

// noteLength notes the end of a connection to a client by a changed length of a message, which one of its ends has recognised.
func (ch *checker) noteLength(client domain.PublicKey, e domain.ConnectionError) {
	if errors.Is(e.Err, hyperdht.ErrUnendedMessage) {
		ch.lengthened[client] = append(ch.lengthened[client], ch.w.net.Now())
	}
}

// lengthenedAt reports whether the connection to a client with an alias ended by a changed length of a message so that a scrape, which ended at a
// time, could not succeed: it waited for an answer, or no other connection was there.
func (ch *checker) lengthenedAt(a domain.Alias, ended time.Duration) bool {
	return slices.ContainsFunc(ch.w.clients, func(c *client) bool {
		return c.alias == a && slices.ContainsFunc(ch.lengthened[c.keys.Public], func(at time.Duration) bool {
			return ended >= at-scrapeWithin && ended <= at+reconnectWithin
		})
	})
}

// reconnectWithin bounds the time without a connection after its end: the least wait, and a dial.
const reconnectWithin = 3 * time.Second
