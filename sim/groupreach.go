package sim

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

const (
	// missedWithin bounds the time until a client that only one member can reach is scraped at all members: the dial of its holder ends, the
	// holder misses it, the other one gets a connection by a scrape or a registration, and pins it.
	missedWithin = 2 * time.Minute
	// oneWayClients is the number of such clients at a time: about one in the number of members belongs to that one anyway.
	oneWayClients = 4
)

// oneWay has clients that one member can reach: each must be scraped at all members, and stay with that one, then with another.
func (g *scraperGroup) oneWay() {
	w, leader := g.w, g.leader()
	w.phase("%d clients that only %s can reach, which leads", oneWayClients, leader.name)
	var clients []*client
	for i := range oneWayClients {
		c := w.addClient(g.members[0], clientSetup{at: open, late: true, alias: domain.Alias(fmt.Sprintf("one-way-%d", i)), change: g.client(i)})
		g.only(leader, c)
		c.boot()
		clients = append(clients, c)
	}
	g.mustServe("one member reaches some", missedWithin)
	g.mustHold(leader, clients)

	m := g.follower()
	w.phase("now only %s can reach them, which does not lead", m.name)
	for _, c := range clients {
		g.only(m, c)
	}
	g.mustServe("another one reaches them", missedWithin)
	g.mustHold(m, clients)

	w.phase("%s is gone, and all others can reach them", m.name)
	m.crash()
	for _, c := range clients {
		g.only(nil, c)
	}
	g.mustServe("the one that reached them is gone", missedWithin)
	m.restart()
	w.until(m.name+" is ready", startWithin, func() bool { return m.app.Ready() })
	g.mustServe("it is back", groupWithin)
	for _, c := range clients {
		c.retired = true
		c.close()
	}
}

// offerOnly has clients that no member can dial, and that can dial the leader alone: their networks let out one UDP port, and they know its
// address. The leader takes the connections of their registrations, although most belong to others: of their second ones, an hour before
// their time, when their holders have missed them.
func (g *scraperGroup) offerOnly() {
	w, leader := g.w, g.leader()
	w.phase("%d clients that %s, which leads, gets to by their registrations alone", oneWayClients, leader.name)
	at := leader.node.Status().Local.Port()
	known := domain.Address{Host: leader.host.Addr().String(), Port: at}
	var clients []*client
	for i := range oneWayClients {
		clients = append(clients, w.addClient(g.members[0], clientSetup{
			at: behind(simnet.OnePort(simnet.Masquerade(), at)), alias: domain.Alias(fmt.Sprintf("offered-%d", i)), addrs: []domain.Address{known},
		}))
	}
	g.mustServe("the leader is offered some", missedWithin)
	g.mustHold(leader, clients)
	for _, c := range clients {
		n := c.app.Status().Registrations
		w.expect(n <= 3, "%s has registered %d times", c.name, n)
		c.retired = true
		c.close()
	}
}

// firstWait reports whether a member's session with a client has just lost its connection, or not got one, for the first time. Sessions with clients of other
// members are made for scrapes, and end: the next one has the shortest wait again.
func (g *scraperGroup) firstWait(m *scraper, key domain.PublicKey) bool {
	failures := 0
	for _, c := range g.w.clients {
		if c.keys.Public != key {
			continue
		}
		if a, known := m.app.Alias(c.alias); known && a.Key == key {
			for _, change := range a.History {
				if change.State == domain.SessionWaiting {
					failures += change.Count
				}
			}
		}
	}
	return failures == 1
}

// only blocks the ways between a client and all members but one; nil blocks none.
func (g *scraperGroup) only(m *scraper, c *client) {
	for _, other := range g.members {
		if m == nil || other == m {
			g.w.net.Unblock(other.host, c.host)
			g.w.net.Unblock(c.host, other.host)
		} else {
			g.w.net.Block(other.host, c.host)
			g.w.net.Block(c.host, other.host)
		}
	}
}

// mustHold demands that all members agree on the holder of clients, which has their connections alone, once visits are over.
func (g *scraperGroup) mustHold(holder *scraper, clients []*client) {
	w := g.w
	w.run(visitsEnd)
	for _, m := range g.ups() {
		for _, c := range clients {
			a, known := m.app.Alias(c.alias)
			want := holder.name
			if m == holder {
				want = ""
			}
			if !known || a.Holder != want || a.SessionUp != (m == holder) {
				w.fail("group", "%s: %s is held by %q, connected %v, want %q to hold it", m.name, c.alias, a.Holder, a.SessionUp, holder.name)
			}
		}
	}
}
