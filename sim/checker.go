package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// checker judges what doc.go lists. It sees events, answers to scrapes, and disks.
type checker struct {
	w          *World
	clientKeys map[domain.PublicKey][]*client
	conns      map[connection]domain.Side // that are open
	tries      map[string]*tries          // by who tries what
	registered uint64                     // registrations that clients know of
	dials      uint64

	watching string // attempts at this are counted by second
	since    time.Duration
	seconds  []int
}

// connection names one by its machine, the boot of that, and its uid.
type connection struct {
	machine string
	boot    int
	uid     domain.UID
}

// tries are the last attempts at something.
type tries struct {
	at   []time.Duration // within retryWindow
	last time.Duration

	early time.Duration // the last one that did not wait
}

func newChecker(w *World) *checker {
	return &checker{
		w: w, clientKeys: map[domain.PublicKey][]*client{},
		conns: map[connection]domain.Side{}, tries: map[string]*tries{},
	}
}

// onClientEvent is told every event of a client.
func (w *World) onClientEvent(c *client, boot int, e domain.Event) {
	if boot != c.boots {
		w.fail("connections", "%s tells %s after it crashed", c.name, e.Name())
		return
	}
	w.log.event(c.name, e)
	k := w.check
	k.lifetimes(c.machine, e)
	switch e := e.(type) {
	case domain.ConnectionOpen:
		if e.Side == domain.SideMetrics && e.Peer.Key != c.scraper.keys.Public {
			w.fail("stranger", "%s lets %s in", c.name, w.nameOf(e.Peer.Key))
		}
	case domain.AliasAttempt:
		k.try(c.name+" registers", maxAttempts)
	case domain.RegisterAliasSuccess:
		k.registered++
		c.scraper.ledger.acknowledge(c)
	}
}

// onScraperEvent is told every event of a scraper.
func (w *World) onScraperEvent(s *scraper, boot int, e domain.Event) {
	if boot != s.boots {
		w.fail("connections", "%s tells %s after it crashed", s.name, e.Name())
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
	case domain.SetAlias:
		l.set(e.Entry)
	case domain.AliasExpired:
		l.expired(e.Entry)
	case domain.LoadAliases:
		l.loaded()
	case domain.ConnectionOpen:
		if e.Side == domain.SideScrape && !k.member(e.Peer.Key) {
			w.fail("stranger", "%s scrapes %s", s.name, w.nameOf(e.Peer.Key))
		}
	case domain.SessionWait:
		k.dials++
		if e.RetryIn < minRetry {
			w.fail("retries", "%s dials %s again after %v", s.name, w.nameOf(e.Key), e.RetryIn)
		}
		k.try(s.name+" dials "+w.nameOf(e.Key), maxAttempts+4*l.renewals(e.Key))
	}
}

// member reports whether a key belongs to a client that knows the secret. Such a client's metrics may also come over
// the connection that its dialler registered on.
func (k *checker) member(key domain.PublicKey) bool {
	return slices.ContainsFunc(k.clientKeys[key], func(c *client) bool { return c.knows })
}

// owner reports whether a key is the server's of a client that knows the secret.
func (k *checker) owner(key domain.PublicKey) bool {
	return slices.ContainsFunc(k.clientKeys[key], func(c *client) bool { return c.knows && c.keys.Public == key })
}

// lifetimes pairs the opening and the end of each connection.
func (k *checker) lifetimes(m *machine, e domain.Event) {
	switch e := e.(type) {
	case domain.ConnectionOpen:
		c := connection{m.name, m.boots, e.UID}
		if _, twice := k.conns[c]; twice {
			k.w.fail("connections", "%s opens %s twice", m.name, e.UID)
		}
		k.conns[c] = e.Side
	case domain.ConnectionClose:
		c := connection{m.name, m.boots, e.UID}
		if side, ok := k.conns[c]; !ok || side != e.Side {
			k.w.fail("connections", "%s closes %s, which is not open", m.name, e.UID)
		}
		delete(k.conns, c)
	}
}

// try counts an attempt.
func (k *checker) try(what string, limit int) {
	now := k.w.net.Now()
	if k.watching != "" && strings.HasSuffix(what, k.watching) {
		second := int((now - k.since) / time.Second)
		for len(k.seconds) <= second {
			k.seconds = append(k.seconds, 0)
		}
		k.seconds[second]++
	}
	t := k.tries[what]
	if t == nil {
		t = &tries{last: -time.Hour, early: -time.Hour}
		k.tries[what] = t
	}
	if now-t.last < minRetry {
		// A machine that has moved may try at once, though not whenever it moves.
		if now-t.early < earlyEvery {
			k.w.fail("retries", "%s again after %v, and %v after it did so before", what, now-t.last, now-t.early)
		}
		t.early = now
	}
	t.last = now
	for len(t.at) > 0 && now-t.at[0] > retryWindow {
		t.at = t.at[1:]
	}
	if t.at = append(t.at, now); len(t.at) > limit {
		k.w.fail("retries", "%s %d times in %v", what, len(t.at), retryWindow)
	}
}

// watch counts attempts at something from now on, in every second.
func (k *checker) watch(what string) {
	k.watching, k.since, k.seconds = what, k.w.net.Now(), nil
}

// watched ends watch.
func (k *checker) watched() []int {
	k.watching = ""
	return k.seconds
}

// crashed forgets what a machine could not tell any more.
func (k *checker) crashed(m *machine) {
	for c := range k.conns {
		if c.machine == m.name {
			delete(k.conns, c)
		}
	}
	// A program that was started anew may try at once.
	for what, t := range k.tries {
		if strings.HasPrefix(what, m.name+" ") {
			t.last = -time.Hour
		}
	}
}

// audit counts what a machine holds.
func (k *checker) audit(m *machine) {
	if m.host.Down() {
		return
	}
	peers := 0
	if m.node != nil && !m.isNode {
		status := m.node.Status()
		peers = status.Connections
		k.readable(m, status)
	}
	for _, s := range k.w.scrapers {
		if s.machine == m && s.app != nil {
			peers += len(s.app.Aliases())
			k.sessions(s)
		}
	}
	sockets, timers := maxSockets+peers, maxTimers+maxTimersPerPeer*peers
	if n := m.host.Sockets(); n > sockets {
		k.w.fail("bounds", "%s has %d sockets open for %d peers", m.name, n, peers)
	}
	if n := m.host.Timers(); n > timers {
		k.w.fail("bounds", "%s has %d timers armed for %d peers", m.name, n, peers)
	}
	k.w.result.peak(m.host.Sockets(), m.host.Timers())
}

// readable demands that nobody gets what cannot be read, unless the scenario tampers with datagrams. A connection that
// breaks over it comes back by itself, and nobody else would notice.
func (k *checker) readable(m *machine, s hyperdht.Status) {
	if k.w.tampers || m.garbled {
		return
	}
	broken := s.Peering.ConnectionsBroken
	if k.w.result.faulty {
		// A first message that is repeated more than ten seconds later finds that its server has forgotten it, and is
		// answered with other keys; the stream may have begun with the old ones.
		broken = 0
	}
	if broken > 0 || s.RPC.Dropped.Malformed > 0 {
		m.garbled = true
		k.w.fail("readable", "%s cannot read %d encrypted streams and %d DHT messages", m.name, broken, s.RPC.Dropped.Malformed)
	}
}

// sessions holds the number of a scraper's sessions against that of its clients.
func (k *checker) sessions(s *scraper) {
	keys := map[domain.PublicKey]bool{}
	for _, a := range s.app.Aliases() {
		keys[a.Key] = true
	}
	sessions := 0
	for _, n := range s.app.Sessions() {
		sessions += n
	}
	if sessions > len(keys) {
		k.w.fail("bounds", "%s has %d sessions for %d clients", s.name, sessions, len(keys))
	}
}

// final looks at everything before the world is closed.
func (k *checker) final() {
	for _, s := range k.w.scrapers {
		s.ledger.compare()
	}
	for _, m := range k.w.machines {
		k.audit(m)
	}
}

// leftovers looks at a machine whose software has closed.
func (k *checker) leftovers(m *machine) {
	if t, s := m.host.Timers(), m.host.Sockets(); t > 0 || s > 0 {
		k.w.fail("leftovers", "%s still has %d timers and %d sockets", m.name, t, s)
	}
	for c, side := range k.conns {
		if c.machine == m.name {
			k.w.fail("connections", "%s never told the end of %s (%s)", m.name, c.uid, side)
			break
		}
	}
}
