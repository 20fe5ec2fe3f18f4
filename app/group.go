package app

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// GroupConfig makes a scraper a member of a group: several scrapers with one key, one set of secrets and one table. One of them leads: it
// takes registrations. Each holds the connections to a share of the clients, and serves the metrics of all.
type GroupConfig struct {
	Group   ports.Group
	Members ports.Members // reaches the others; nil: requests for their clients go to these from here
	Member  domain.Member // Name, URL and Version of this one
}

// membership is a scraper's part in its group.
type membership struct {
	scraper *Scraper
	cfg     *GroupConfig
	self    domain.Member // what it reports of itself
	view    domain.Group
	led     host.Instant // since when the present leader leads, by this view
	since   host.Instant // since when the same members hold clients
	joined  bool
	begun   func(error) // Start's

	term   int64 // while this member leads, else 0
	ruling bool  // it leads, and has the table of its term

	settling  host.Timer // until each client that it holds was dialled
	reporting host.Timer // until the number of connections is reported again
	lingers   host.Timer // until sessions with clients of others end
	reach     reach
	visits    map[domain.PublicKey]host.Timer // sessions with clients of another member that did not answer
	handover  []func()                        // called when another member has the clients
	deadline  host.Timer                      // of handover
}

func newMembership(s *Scraper) *membership {
	return &membership{
		scraper: s, cfg: s.cfg.Group, self: s.cfg.Group.Member, visits: map[domain.PublicKey]host.Timer{},
		reach: reach{
			absent: map[domain.PublicKey]host.Instant{}, heard: map[domain.PublicKey]bool{}, tried: map[domain.PublicKey]host.Instant{},
		},
	}
}

// leads reports whether this scraper may change the table.
func (s *Scraper) leads() bool { return s.group == nil || s.group.ruling }

// holds reports whether this scraper is to hold the connection to a client.
func (s *Scraper) holds(key domain.PublicKey) bool {
	if s.group == nil {
		return true
	}
	holder, ok := s.group.view.Holder(key)
	return ok && holder.ID == s.group.view.Self && s.loaded
}

// holderFor returns the member that requests for a client go to. false means that they go to the client from here: it is this scraper's,
// or connected here, or no member is known to hold it, or that one misses it.
func (s *Scraper) holderFor(key domain.PublicKey) (m domain.Member, elsewhere bool) {
	if s.group == nil || s.group.cfg.Members == nil || s.holds(key) || s.group.view.Missed(key) {
		return m, false
	}
	held, kept := s.sessions[key], !s.group.taken(key) || s.group.visits[key] != nil
	if kept && held != nil && held.State() == domain.SessionOpen {
		return m, false
	}
	m, ok := s.group.view.Holder(key)
	return m, ok && m.ID != s.group.view.Self
}

// holderOf returns the name of another member that holds the connection to a client.
func (s *Scraper) holderOf(key domain.PublicKey) string {
	if s.group == nil || s.holds(key) {
		return ""
	}
	if m, ok := s.group.view.Holder(key); ok && m.ID != s.group.view.Self {
		return m.Name
	}
	return ""
}

// visit keeps the session with a client of another member for a while.
func (s *Scraper) visit(key domain.PublicKey) {
	if s.group == nil || s.holds(key) || !s.group.taken(key) {
		return // it is this member's, or stays until another one has it
	}
	if t := s.group.visits[key]; t != nil {
		t.Reset(visitTime)
		return
	}
	s.group.visits[key] = s.cfg.Host.AfterFunc(visitTime, func() {
		delete(s.group.visits, key)
		s.group.review()
	})
}

// endVisit forgets that the session with a client is a visit.
func (s *Scraper) endVisit(key domain.PublicKey) {
	if s.group != nil && s.group.visits[key] != nil {
		s.group.visits[key].Stop()
		delete(s.group.visits, key)
	}
}

// hangUp closes a session without a word to its client, which is another member's.
func (s *Scraper) hangUp(key domain.PublicKey) {
	s.endVisit(key)
	if held := s.sessions[key]; held != nil {
		delete(s.sessions, key)
		s.stats.Dials += held.dials
		held.Close()
	}
}

// Group returns the group as this scraper sees it; false without one.
func (s *Scraper) Group() (domain.Group, bool) {
	if s.group == nil {
		return domain.Group{}, false
	}
	v := s.group.view
	if v.Leader != "" {
		v.Since = s.cfg.Clock.Now().Add(-s.cfg.Host.Now().Sub(s.group.led))
	}
	return v, true
}

// join enters the group. done is called when this member has the table, and the others see it.
func (m *membership) join(done func(error)) {
	m.begun = done
	m.follow()
	m.cfg.Group.Join(ports.GroupJoin{Member: m.self, Identity: m.scraper.cfg.Keys.Public}, ports.GroupHandlers{
		OnView: m.onView, OnLead: m.onLead, OnFollow: m.onFollow,
	}, func(err error) {
		if err != nil {
			m.begin(err)
			return
		}
		m.joined = true
		m.settle()
		m.report()
		m.survey()
		m.beginMaybe()
	})
}

// beginMaybe ends Start when this member is ready to serve.
func (m *membership) beginMaybe() {
	if m.joined && m.scraper.loaded {
		m.begin(nil)
	}
}

func (m *membership) begin(err error) {
	if done := m.begun; done != nil && !m.scraper.closed {
		m.begun = nil
		m.scraper.cfg.Host.Post(func() { done(err) })
	}
}

func (m *membership) onView(v domain.Group) {
	s, old := m.scraper, m.view
	m.view = v
	if s.closed {
		return
	}
	if v.Leader != old.Leader || v.Term != old.Term {
		m.led = s.cfg.Host.Now()
		if leader, ok := v.Member(v.Leader); v.Leader == "" || ok && leader.ID != v.Self {
			tell(s.cfg.OnEvent, domain.GroupLeader{Name: leader.Name, Term: v.Term})
		}
	}
	if v.Connected != old.Connected && (old.Self != "" || !v.Connected) {
		tell(s.cfg.OnEvent, domain.GroupStore{Reachable: v.Connected})
	}
	for _, member := range m.besides(old, v) {
		tell(s.cfg.OnEvent, domain.GroupMember{Member: member})
	}
	for _, member := range m.besides(v, old) {
		tell(s.cfg.OnEvent, domain.GroupMember{Member: member, Left: true})
	}
	if v.Holders() != old.Holders() {
		m.since = s.cfg.Host.Now()
		m.hold()
	} else {
		m.holdRepinned(old)
	}
	m.review()
}

// besides lists the other members that are in the second of two views only.
func (m *membership) besides(without, with domain.Group) (all []domain.Member) {
	for _, member := range with.Members {
		if _, ok := without.Member(member.ID); !ok && member.ID != m.view.Self {
			all = append(all, member)
		}
	}
	return all
}

// hold dials the clients that are this member's, and reports to the others when each was dialled.
func (m *membership) hold() {
	s := m.scraper
	if !s.loaded || s.closed {
		return
	}
	for _, e := range s.table.Entries() {
		m.holdMaybe(e.Key)
	}
	m.settle()
}

// holdMaybe dials a client if it is this member's.
func (m *membership) holdMaybe(key domain.PublicKey) {
	if s := m.scraper; s.holds(key) {
		s.endVisit(key)
		s.session(key)
	}
}

// settle reports to the others when each client of this member was dialled.
func (m *membership) settle() {
	if m.settling != nil {
		m.settling.Stop()
	}
	s, holders, open := m.scraper, m.view.Holders(), 0
	if !m.joined || m.self.Settled == holders {
		return
	}
	for _, key := range s.clients() {
		switch held := s.sessions[key]; {
		case held.ready():
			open++
		case held.LastError() == nil && s.holds(key):
			m.settling = s.cfg.Host.AfterFunc(settleCheck, m.settle)
			return
		}
	}
	m.self.Settled, m.self.Clients = holders, open
	m.cfg.Group.Update(m.self)
}

// report reports the number of connections from time to time, where it has changed.
func (m *membership) report() {
	s, open := m.scraper, 0
	for _, held := range s.sessions {
		if held.ready() {
			open++
		}
	}
	if m.joined && open != m.self.Clients {
		m.self.Clients = open
		m.cfg.Group.Update(m.self)
	}
	m.reporting = s.cfg.Host.AfterFunc(reportEvery, m.report)
}

// review closes the sessions with clients that other members have now, and ends a handover when there is none left.
func (m *membership) review() {
	s := m.scraper
	if m.lingers != nil {
		m.lingers.Stop()
		m.lingers = nil
	}
	if s.closed {
		return
	}
	wait := time.Duration(0)
	for _, key := range s.clients() {
		switch {
		case s.holds(key) || m.visits[key] != nil:
		case !m.taken(key):
			wait = max(wait, settleCheck)
		case len(s.sessions[key].pending) > 0:
			wait = max(wait, scrapesCheck)
		default:
			s.hangUp(key)
		}
	}
	if wait > 0 {
		m.lingers = s.cfg.Host.AfterFunc(wait, m.review)
	}
	if wait == 0 || !m.succeeded() {
		m.handedOver()
	}
}

// taken reports whether another member has dialled a client that it holds, or counts as having done so after a while.
func (m *membership) taken(key domain.PublicKey) bool {
	holder, ok := m.view.Holder(key)
	if !ok || holder.ID == m.view.Self {
		return false
	}
	return holder.Settled == m.view.Holders() || m.scraper.cfg.Host.Now().Sub(m.since) >= handoverTime
}

// succeeded reports whether another member could take over.
func (m *membership) succeeded() bool {
	for _, other := range m.view.Members {
		if other.ID != m.view.Self && !other.Leaving {
			return m.view.Connected
		}
	}
	return false
}

// HandOver leaves leadership and clients to the other members of the group, and calls done when those have dialled the clients, or after a
// while. Until Close this scraper answers scrapes. Without a group, or without another member, done is called at once.
func (s *Scraper) HandOver(done func()) {
	m := s.group
	if m == nil || !m.joined || s.closed {
		s.cfg.Host.Post(done)
		return
	}
	m.handover = append(m.handover, done)
	if m.deadline != nil {
		return
	}
	m.deadline = s.cfg.Host.AfterFunc(handoverTime, m.handedOver)
	m.self.Leaving = true
	m.cfg.Group.Update(m.self)
	s.cfg.Host.Post(m.review)
}

func (m *membership) handedOver() {
	waiting := m.handover
	m.handover = nil
	for _, f := range waiting {
		m.scraper.cfg.Host.Post(f)
	}
}

// leave removes this member from the group.
func (m *membership) leave(done func()) {
	for _, t := range []host.Timer{m.settling, m.reporting, m.reach.timer, m.lingers, m.deadline} {
		if t != nil {
			t.Stop()
		}
	}
	m.handedOver()
	m.cfg.Group.Leave(done)
}

// notLeader returns the error of a change at a member that does not lead.
func (m *membership) notLeader() error {
	leader, ok := m.view.Member(m.view.Leader)
	switch {
	case !m.view.Connected:
		return fmt.Errorf("%w, and %w", domain.ErrNotLeader, domain.ErrStoreUnreachable)
	case !ok || leader.ID == m.view.Self:
		return fmt.Errorf("%w, and no other does yet", domain.ErrNotLeader)
	}
	return fmt.Errorf("%w: %s does, at %s", domain.ErrNotLeader, leader.Name, leader.URL)
}

const (
	// handoverTime bounds the time for which a member keeps its connections to clients that are another's, while that one dials them.
	handoverTime = 15 * time.Second
	// reportEvery is the interval at which a member reports its number of connections.
	reportEvery = time.Minute
	// visitTime is the time for which a connection to another member's client is kept after a scrape.
	visitTime = time.Minute
	// scrapesCheck is the interval at which a former holder looks whether the scrapes on its connections have ended.
	scrapesCheck = 100 * time.Millisecond
	// settleCheck is the interval at which a member looks whether each client was dialled, its own or those of another one.
	settleCheck = 200 * time.Millisecond
	// reloadWait is the time after which a new leader reads the table again, where that failed.
	reloadWait = time.Second
)
