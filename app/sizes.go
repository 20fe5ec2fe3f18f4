package app

import "github.com/dhtprom/dhtprom/domain"

// unbounded stands for the most of what has no bound of its own.
const unbounded = -1

// Sizes tells how much the scraper holds in everything that grows with what clients do, and how much that may be at
// most: a named limit, or the size of what bounds it. It is for those who look for leaks; names may change.
func (s *Scraper) Sizes(tell func(what string, held, most int)) {
	keys := map[domain.PublicKey]bool{}
	for _, e := range s.table.Entries() {
		keys[e.Key] = true
	}
	waiting, links := 0, 0
	for _, held := range s.sessions {
		waiting, links = max(waiting, len(held.pending)), max(links, held.links())
	}
	g := s.registry
	tell("aliases", s.table.Len(), s.cfg.MaxAliases)
	tell("sessions", len(s.sessions), len(keys))
	tell("sessions that dial", len(s.dials.turns), len(s.sessions))
	tell("scrape histories", len(s.scrapes), s.table.Len())
	tell("pins", len(s.pins), s.cfg.MaxAliases)
	tell("scrapes of one client under way", waiting, maxSessionRequests)
	tell("connections to one client", links, maxSessionLinks)
	tell("registrations being written", g.writes, maxPendingWrites)
	tell("aliases being written", len(g.pending), g.writes)
	tell("new aliases being written", g.fresh, len(g.pending))
	tell("registration connections", g.gate.conns.Len(), maxAliasConns)
	tell("registration connections of strangers", g.gate.conns.In(stranger), g.gate.conns.Len())
	tell("keys that have shown a secret", g.gate.members.Len(), maxMembers)
	tell("addresses with refusals", g.gate.refusals.Len(s.cfg.Host.Now()), maxRefusing)
}

// Sizes tells how much the client holds in everything that grows with what scrapers do, as Scraper.Sizes does.
func (c *Client) Sizes(tell func(what string, held, most int)) {
	connections, running, limit, waiting := 0, 0, 0, 0
	for _, k := range c.scrapers {
		connections, running, limit = connections+k.connections, running+k.running, limit+k.limit
		waiting = max(waiting, len(k.waiting))
	}
	tell("metrics connections", connections, unbounded)
	tell("collections", running, limit)
	tell("collections of one scraper that wait", waiting, maxWaitingCollections)
}
