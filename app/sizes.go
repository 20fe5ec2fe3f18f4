package app

import "github.com/dhtprom/dhtprom/domain"

// unbounded is the limit of what has none of its own.
const unbounded = -1

// Sizes reports the size and the limit of everything that grows with what clients do: a named limit, or the size of what bounds
// it. It is for finding leaks; names may change.
func (s *Scraper) Sizes(report func(what string, held, most int)) {
	keys := map[domain.PublicKey]bool{}
	for _, e := range s.table.Entries() {
		keys[e.Key] = true
	}
	waiting, links := 0, 0
	for _, held := range s.sessions {
		waiting, links = max(waiting, len(held.pending)), max(links, held.links())
	}
	g := s.registry
	report("aliases", s.table.Len(), s.cfg.MaxAliases)
	report("sessions", len(s.sessions), len(keys))
	report("sessions that dial", len(s.dials.turns), len(s.sessions))
	if s.group != nil {
		report("visits of clients of other members", len(s.group.visits), len(s.sessions))
	}
	report("scrape histories", len(s.scrapes), s.table.Len())
	report("pins", len(s.pins), s.cfg.MaxAliases)
	report("scrapes of one client under way", waiting, maxSessionRequests)
	report("connections to one client", links, maxSessionLinks)
	report("registrations being written", g.writes, maxPendingWrites)
	report("sets", len(g.sets), len(keys)+g.writes)
	report("keys of aliases", len(g.owners), len(keys)+g.writes)
	report("targets of sets", g.targets, s.cfg.MaxAliases+domain.MaxTargets)
	report("aliases being written", len(g.pending), s.table.Limit()+maxPendingWrites)
	report("new aliases being written", g.fresh, len(g.pending))
	report("registration connections", g.gate.conns.Len(), maxAliasConns)
	report("registration connections of strangers", g.gate.conns.In(stranger), g.gate.conns.Len())
	report("keys that have shown a secret", g.gate.members.Len(), maxMembers)
	report("addresses with refusals", g.gate.refusals.Len(s.cfg.Host.Now()), maxRefusing)
}

// Sizes reports the size and the limit of everything that grows with what scrapers do, as Scraper.Sizes does.
func (c *Client) Sizes(report func(what string, held, most int)) {
	connections, texts, limit, waiting, scrapes, probes, targets := 0, 0, 0, 0, 0, 0, 0
	for _, k := range c.scrapers {
		connections, texts, limit = connections+k.connections, texts+k.texts.running, limit+k.texts.limit
		waiting, targets = max(waiting, len(k.texts.waiting)), max(targets, len(k.targets))
		for _, t := range k.targets {
			scrapes = max(scrapes, t.scrapes.running+len(t.scrapes.waiting))
			probes = max(probes, t.probes.running+len(t.probes.waiting))
		}
	}
	report("metrics connections", connections, unbounded)
	report("collections of texts", texts, limit)
	report("collections of texts for one scraper that wait", waiting, maxWaitingCollections)
	report("collections of a target for one scraper", scrapes, maxScrapes+maxWaitingCollections)
	report("collections of a target with parameters for one scraper", probes, maxProbes+maxWaitingCollections)
	report("targets that one scraper has requested", targets, len(c.targets))
	report("targets that are registered by themselves", len(c.singles.members), maxSingles)
}
