package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// checker enforces the rules that doc.go lists. It observes events, answers to scrapes, and disks.
type checker struct {
	w          *World
	clientKeys map[domain.PublicKey][]*client
	conns      map[connection]domain.Side // open ones
	open       map[string]int             // number of them, by machine
	closing    map[string][]time.Duration // when the other side ended some lately, by machine
	over       map[string]bool            // bounds already reported as exceeded, by machine
	tries      map[string]*tries          // by machine and purpose
	struck     map[string]int             // faults, by kind
	roamed     int                        // machines that were given another address
	paths      map[domain.Path]int        // of connections of scrapers
	unrest     bool                       // faults make networks come and go
	tampers    bool                       // datagrams are forged
	registered uint64                     // registrations that clients reported
	dials      uint64
	guesses    guesses
	lengthened map[domain.PublicKey][]time.Duration // when a changed length of a message ended a connection, by client

	watching string // attempts at this are counted by second
	since    time.Duration
	seconds  []int
}

// connection identifies a connection by its machine, the boot of that, and its uid.
type connection struct {
	machine string
	boot    int
	uid     domain.UID
}

func newChecker(w *World) *checker {
	return &checker{
		w: w, clientKeys: map[domain.PublicKey][]*client{},
		conns: map[connection]domain.Side{}, open: map[string]int{}, closing: map[string][]time.Duration{}, over: map[string]bool{}, tries: map[string]*tries{}, struck: map[string]int{}, paths: map[domain.Path]int{},
		guesses: guesses{map[attempt]bool{}, map[guess]time.Duration{}}, lengthened: map[domain.PublicKey][]time.Duration{},
	}
}

// onClientEvent handles every event of a client.
func (w *World) onClientEvent(c *client, boot int, e domain.Event) {
	if boot != c.boots {
		w.fail("connections", "%s reports %s after it crashed", c.name, e.LogRecord().Name)
		return
	}
	w.log.event(c.name, e)
	k := w.check
	k.lifetimes(c.machine, e)
	switch e := e.(type) {
	case domain.ConnectionOpen:
		if e.Side == domain.SideMetrics && c.with(e.Peer.Key) == nil {
			w.fail("stranger", "%s lets %s in", c.name, w.nameOf(e.Peer.Key))
		}
		if e.Side == domain.SideMetrics {
			k.held(c.registering(e.Peer.Key))
		}
	case domain.ConnectionError:
		err, ok := errors.AsType[*ports.ConnectionError](e.Err)
		k.triesOf(c.registering(e.Peer.Key)).silent = ok && err.Silent && e.Side == domain.SideMetrics
		if e.Side == domain.SideMetrics {
			k.noteLength(c.keys.Public, e)
		}
	case domain.ConnectionClose:
		if e.Side == domain.SideMetrics {
			k.unheld(c.registering(e.Peer.Key), c.unfound())
		}
	case domain.AliasAttempt:
		k.attempt(c.machine, c.registering(e.Scraper))
	case domain.RegisterAliasError:
		most := c.interval
		if len(c.addrs) > 0 {
			most = min(most, knownRetryMax/2) // the shortest of its waits
			k.triesOf(c.registering(e.Scraper)).known = true
		}
		k.failedTo(c.registering(e.Scraper), e.Err, e.RetryIn, most)
	case domain.RegisterAliasSuccess:
		k.registered++
		k.worked(c.registering(e.Scraper), c.interval)
		if s := c.with(e.Scraper); s != nil {
			s.ledger.acknowledge(c)
			if s.ledger.shared {
				k.awaitsMember(c.registering(e.Scraper))
			}
		}
	}
}

// onScraperEvent handles every event of a scraper.
func (w *World) onScraperEvent(s *scraper, boot int, e domain.Event) {
	if boot != s.boots {
		w.fail("connections", "%s reports %s after it crashed", s.name, e.LogRecord().Name)
		return
	}
	w.log.event(s.name, e)
	k, l := w.check, s.ledger
	k.lifetimes(s.machine, e)
	switch e := e.(type) {
	case domain.AliasRequest:
		l.asked(e)
	case domain.AliasSuccess:
		l.succeeded(e)
		k.nudge(s.name + " dials " + w.nameOf(e.Register.Key))
	case domain.SetAlias:
		l.set(e.Entry)
	case domain.SetTargets:
		l.registered(e)
		k.nudge(s.name + " dials " + w.nameOf(e.Key))
	case domain.AliasExpired:
		l.expired(e.Entry)
	case domain.LoadAliases:
		l.loaded()
	case domain.ConnectionOpen:
		if e.Side == domain.SideScrape && !k.member(e.Peer.Key) {
			w.fail("stranger", "%s scrapes %s", s.name, w.nameOf(e.Peer.Key))
		}
		if e.Side == domain.SideScrape {
			k.paths[e.Peer.Path]++
			k.dialled(s.name + " dials " + w.nameOf(e.Peer.Key))
		}
	case domain.ConnectionError:
		if e.Side == domain.SideScrape {
			k.noteLength(e.Peer.Key, e)
		}
	case domain.SessionWait:
		k.dials++
		k.dialFailed(s.machine, s.name+" dials "+w.nameOf(e.Key), e.Err, e.RetryIn)
	}
}

// member reports whether a key belongs to a client that knows the secret. Such a client's metrics may also come over
// the connection that its dialler registered on.
func (ch *checker) member(key domain.PublicKey) bool {
	return slices.ContainsFunc(ch.clientKeys[key], func(c *client) bool { return c.knows })
}

// owner reports whether a key is the server key of a client that knows the secret.
func (ch *checker) owner(key domain.PublicKey) bool {
	return slices.ContainsFunc(ch.clientKeys[key], func(c *client) bool { return c.knows && c.keys.Public == key })
}

// lifetimes pairs the opening and the end of each connection.
func (ch *checker) lifetimes(m *machine, e domain.Event) {
	switch e := e.(type) {
	case domain.ConnectionOpen:
		c := connection{m.name, m.boots, e.UID}
		if _, twice := ch.conns[c]; twice {
			ch.w.fail("connections", "%s opens %s twice", m.name, e.UID)
		}
		ch.conns[c] = e.Side
		ch.open[m.name]++
	case domain.ConnectionClose:
		c := connection{m.name, m.boots, e.UID}
		if side, ok := ch.conns[c]; !ok || side != e.Side {
			ch.w.fail("connections", "%s closes %s, which is not open", m.name, e.UID)
		} else {
			ch.open[m.name]--
			ch.closing[m.name] = append(ch.closing[m.name], ch.w.net.Now())
		}
		delete(ch.conns, c)
	}
}

// crashed removes the state of a machine that crashed.
func (ch *checker) crashed(m *machine) {
	ch.forget(m)
	for c := range ch.conns {
		if c.machine == m.name {
			delete(ch.conns, c)
		}
	}
}

// audit checks the resources of a machine.
func (ch *checker) audit(m *machine) {
	if m.host.Down() {
		return
	}
	if m.node != nil && !m.isNode {
		ch.readable(m, m.node.Status())
	}
	if m.up() {
		ch.timely(m, m.node.Faults)
	}
	// Callers that have not opened a connection have a bound of their own, and a socket and a stream each.
	peers := ch.peers(m) + max(holdsOf(m, "callers"), 0)
	ch.bounded(m, peers)
	sockets, timers := maxSockets+peers, maxTimers+maxTimersPerPeer*peers
	if n := m.host.Sockets(); n > sockets {
		ch.w.fail("bounds", "%s has %d sockets open for %d peers", m.name, n, peers)
	}
	if n := m.host.Timers(); n > timers {
		ch.w.fail("bounds", "%s has %d timers armed for %d peers", m.name, n, peers)
	}
	ch.w.result.peak(m.host.Sockets(), m.host.Timers())
}

// timely demands that no part of a node is in a state beyond its limit or makes an invalid transition, on the machines of
// attackers, too.
func (ch *checker) timely(m *machine, faults func(slack time.Duration, tell func(what string))) {
	faults(lateness, func(what string) {
		if !ch.over[m.name+" deadlines"] {
			ch.over[m.name+" deadlines"] = true
			ch.w.fail("deadlines", "%s has a %s", m.name, what)
		}
	})
}

// final checks everything before the world is closed.
func (ch *checker) final() {
	for _, s := range ch.w.scrapers {
		s.ledger.compare()
	}
	for _, m := range ch.w.machines {
		ch.audit(m)
	}
}

// leftovers checks a machine whose software has closed.
func (ch *checker) leftovers(m *machine) {
	if t, s := m.host.Timers(), m.host.Sockets(); t > 0 || s > 0 {
		ch.w.fail("leftovers", "%s still has %d timers and %d sockets", m.name, t, s)
	}
	ch.emptied(m)
	for c, side := range ch.conns {
		if c.machine == m.name {
			ch.w.fail("connections", "%s never reported the end of %s (%s)", m.name, c.uid, side)
			break
		}
	}
}
