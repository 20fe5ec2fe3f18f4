package app

import (
	"cmp"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// This file has clients that some members of a group cannot reach. Their holder reports them as missed. The others try to connect: by a dial
// now and then, for scrapes, and the leader on registrations that offer their connection. A member that has a connection to a missed client
// pins it and so becomes its holder, as long as it has the connection.

// reach has the state of the reports on clients that this member, or others, cannot reach.
type reach struct {
	absent map[domain.PublicKey]host.Instant // clients of this member's sessions without a connection, since when
	heard  map[domain.PublicKey]bool         // those of them that have registered since then
	tried  map[domain.PublicKey]host.Instant // clients that others miss, when this member tried last to connect to them
	timer  host.Timer
}

// takes reports whether this scraper is to connect to a client that registers: its own, and those that their holders missed.
func (s *Scraper) takes(key domain.PublicKey) bool {
	return s.holds(key) || s.group != nil && s.loaded && s.group.view.Connected && s.group.view.Missed(key)
}

// survey looks at the sessions from time to time, and reports what has changed.
func (m *membership) survey() {
	s, now := m.scraper, m.scraper.cfg.Host.Now()
	m.reach.timer = s.cfg.Host.AfterFunc(surveyEvery, m.survey)
	if s.closed || !m.view.Connected {
		return
	}
	for key := range m.reach.absent {
		if held := s.sessions[key]; held == nil || held.ready() {
			delete(m.reach.absent, key)
			delete(m.reach.heard, key)
		}
	}
	var missed []missedClient
	var pinned, fresh []domain.PublicKey
	for _, key := range s.clients() {
		held := s.sessions[key]
		since, absent := m.reach.absent[key]
		if !absent && !held.ready() {
			m.reach.absent[key] = now
		}
		switch {
		case !m.pins(key):
		case m.self.Pinned.Has(key):
			pinned = append(pinned, key)
		default:
			fresh = append(fresh, key)
		}
		if absent && now.Sub(since) >= missAfter && held.LastError() != nil && s.holds(key) {
			missed = append(missed, missedClient{key, since, m.reach.heard[key]})
		}
	}
	m.try()
	pinned = append(pinned, fresh[:min(len(fresh), maxPinned-len(pinned))]...)
	next := m.self
	next.Missed, next.Pinned = latest(missed), domain.NewKeyList(pinned)
	if next != m.self {
		m.self = next
		m.cfg.Group.Update(m.self)
	}
}

// try connects to some of the clients that others miss, for the time of a visit: to those that were not tried yet, or not for the longest time.
func (m *membership) try() {
	s, now := m.scraper, m.scraper.cfg.Host.Now()
	missed := map[domain.PublicKey]bool{}
	var due []domain.PublicKey
	for _, other := range m.view.Members {
		for key := range other.Missed.All() {
			if holder, _ := m.view.Holder(key); holder.ID == other.ID && other.ID != m.view.Self && s.table.Serves(key) {
				missed[key] = true
				last, before := m.reach.tried[key]
				if s.sessions[key] == nil && (!before || now.Sub(last) >= trialEvery) {
					due = append(due, key)
				}
			}
		}
	}
	slices.SortStableFunc(due, func(a, b domain.PublicKey) int { return cmp.Compare(m.reach.tried[a], m.reach.tried[b]) })
	for _, key := range due[:min(len(due), maxTrials)] {
		m.reach.tried[key] = now
		s.session(key)
		s.visit(key)
	}
	for key := range m.reach.tried {
		if !missed[key] {
			delete(m.reach.tried, key)
		}
	}
}

// pins reports whether this member is to pin the client of a session.
func (m *membership) pins(key domain.PublicKey) bool {
	s := m.scraper
	holder, ok := m.view.Holder(key)
	self, _ := m.view.Member(m.view.Self)
	switch {
	case !ok || m.self.Leaving:
		return false
	case !m.self.Pinned.Has(key):
		return holder.ID != self.ID && holder.Missed.Has(key) && s.sessions[key].ready() && s.table.Serves(key)
	case self.Pinned.Has(key) && holder.ID != self.ID:
		return false // another one has pinned it, too
	}
	since, absent := m.reach.absent[key]
	return !absent || s.cfg.Host.Now().Sub(since) < pinGrace
}

// heard notes that a client has registered: it runs, whether it can be reached or not.
func (m *membership) heard(key domain.PublicKey) {
	if _, absent := m.reach.absent[key]; absent {
		m.reach.heard[key] = true
	}
}

// missedClient is a client that this member cannot reach, since a time.
type missedClient struct {
	key   domain.PublicKey
	since host.Instant
	heard bool // it has registered meanwhile
}

// latest lists missed clients. Of too many, those that have not registered are probably gone, and of these those that were missed first.
func latest(missed []missedClient) domain.KeyList {
	slices.SortStableFunc(missed, func(a, b missedClient) int {
		if a.heard != b.heard {
			if a.heard {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.since, a.since)
	})
	keys := make([]domain.PublicKey, 0, min(len(missed), maxMissed))
	for _, c := range missed[:min(len(missed), maxMissed)] {
		keys = append(keys, c.key)
	}
	return domain.NewKeyList(keys)
}

// holdRepinned dials the clients that are this member's since other pins of members were seen. Clients decide how often that is, so that it must
// not take time for all others. The pins of a member that is gone change Holders.
func (m *membership) holdRepinned(old domain.Group) {
	for _, now := range m.view.Members {
		before, _ := old.Member(now.ID)
		if before.Pinned == now.Pinned {
			continue
		}
		for _, list := range []domain.KeyList{before.Pinned, now.Pinned} {
			for key := range list.All() {
				if before.Pinned.Has(key) != now.Pinned.Has(key) && m.scraper.table.Serves(key) {
					m.holdMaybe(key)
				}
			}
		}
	}
}

const (
	// surveyEvery is the interval at which a member reports clients that it misses or pins, where that has changed.
	surveyEvery = 5 * time.Second
	// missAfter is the time without a connection after which the holder of a client misses it.
	missAfter = 30 * time.Second
	// pinGrace is the time for which a client stays pinned without a connection.
	pinGrace = 30 * time.Second
	// trialEvery is the time after which a member tries again to connect to a client that its holder misses, and maxTrials the number of such
	// clients in a survey. Most of them are switched off, and their holders dial them, too.
	trialEvery = 10 * time.Minute
	maxTrials  = 8
	// maxMissed and maxPinned bound the clients of either kind that a member reports, 32 bytes each.
	maxMissed = 256
	maxPinned = 1024
)
