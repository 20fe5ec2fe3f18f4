package web

import (
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/domain"
)

// This file shows the scraper's group: on the pages, in /api/v1/status and in the metrics.

var (
	descLeader    = desc("group_leader", "Whether this scraper leads its group: it takes registrations.")
	descMembers   = desc("group_members", "Members of the group, as this one sees it.")
	descReachable = desc("group_store_reachable", "Whether the store that the group shares can be reached.")
	descTerm      = desc("group_term", "Term of the leader of the group, which increases with each.")
	descMissed    = desc("group_clients_missed", "Clients of this member that it cannot reach: another member that can takes them.")
	descPinned    = desc("group_clients_pinned", "Clients of other members that this one holds, because those members cannot reach them.")
	descPassedOn  = desc("group_scrapes_passed_on_total", "Scrapes of aliases passed on to the member of the group that holds the connection.")
	descTakenBack = desc("group_scrapes_taken_back_total", "Scrapes passed on that went to the client from here, because the other member did not answer or had no connection.")
	descForged    = desc("group_requests_rejected_total", "Requests rejected because they pretend to be from another member of the group.")
)

// membership is the group of a scraper; the zero value without one.
type membership struct {
	domain.Group
	exists bool
}

// membershipOf is called on the loop.
func membershipOf(s Scraper) membership {
	g, ok := s.Group()
	return membership{g, ok}
}

// leads reports whether this scraper takes registrations.
func (m membership) leads() bool { return !m.exists || m.Leader == m.Self }

// leader is the name of the leader; empty for none.
func (m membership) leader() string {
	leader, _ := m.Member(m.Leader)
	return leader.Name
}

func (h *Handler) collectGroup(s snapshot, gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, uint64, ...string)) {
	if !s.group.exists {
		return
	}
	gauge(descLeader, truth(s.group.leads()))
	gauge(descMembers, float64(len(s.group.Members)))
	gauge(descReachable, truth(s.group.Connected))
	gauge(descTerm, float64(s.group.Term))
	self, _ := s.group.Member(s.group.Self)
	gauge(descMissed, float64(self.Missed.Len()))
	gauge(descPinned, float64(self.Pinned.Len()))
	count(descPassedOn, s.stats.Group.PassedOn)
	count(descTakenBack, s.stats.Group.TakenBack)
	count(descForged, h.forged.Load())
}

// Group is the scraper's group, as it sees it.
type Group struct {
	Self           string        `json:"self"`   // the ID of this member
	Leader         string        `json:"leader"` // the ID of the leader; empty for none
	Term           int64         `json:"term"`
	LeaderSince    *time.Time    `json:"leaderSince,omitempty"` // when this member saw it first
	StoreReachable bool          `json:"storeReachable"`
	Members        []GroupMember `json:"members"`
}

// GroupMember is a member of a group, as it describes itself.
type GroupMember struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	URL         string    `json:"url"`
	Version     string    `json:"version"`
	StartTime   time.Time `json:"startTime"`
	Stopping    bool      `json:"stopping"`
	Connections int       `json:"connections"` // to clients, reported each minute
	Missed      int       `json:"missed"`      // clients of its own that it cannot reach
	Pinned      int       `json:"pinned"`      // clients that it holds because their own members cannot reach them
}

func (m membership) entry() *Group {
	if !m.exists {
		return nil
	}
	g := &Group{Self: string(m.Self), Leader: string(m.Leader), Term: m.Term, StoreReachable: m.Connected, Members: []GroupMember{}}
	if !m.Since.IsZero() {
		since := m.Since.UTC()
		g.LeaderSince = &since
	}
	for _, one := range m.Members {
		g.Members = append(g.Members, GroupMember{
			ID: string(one.ID), Name: one.Name, URL: one.URL, Version: one.Version, StartTime: one.Started.UTC(), Stopping: one.Leaving,
			Connections: one.Clients, Missed: one.Missed.Len(), Pinned: one.Pinned.Len(),
		})
	}
	return g
}

// groupView is the data of the group on the page of the node.
type groupView struct {
	Reachable bool
	Leader    string
	Since     moment
	Members   []memberView
}

type memberView struct {
	Name, Link, URL, Version, Role string
	Started                        moment
	Clients, Missed, Pinned        int
	Self                           bool
}

// view returns nil without a group.
func (m membership) view(now time.Time) *groupView {
	if !m.exists {
		return nil
	}
	v := &groupView{Reachable: m.Connected, Leader: oneLine(m.leader()), Since: momentAt(m.Since, now)}
	for _, one := range m.Members {
		shown := memberView{
			Name: oneLine(one.Name), URL: oneLine(one.URL), Version: oneLine(one.Version), Role: "Member", Started: momentAt(one.Started, now),
			Clients: one.Clients, Missed: one.Missed.Len(), Pinned: one.Pinned.Len(), Self: one.ID == m.Self,
		}
		if at, err := url.Parse(one.URL); err == nil && (at.Scheme == "http" || at.Scheme == "https") {
			shown.Link = at.String()
		}
		switch {
		case one.ID == m.Leader:
			shown.Role = "Leads"
		case one.Leaving:
			shown.Role = "Stopping"
		}
		v.Members = append(v.Members, shown)
	}
	return v
}

// banner returns what is wrong with the group, or that another member leads it.
func (m membership) banner() (b banner, ok bool) {
	switch {
	case !m.exists, m.Connected && m.leads():
		return b, false
	case !m.Connected:
		return banner{"down", down.Mark(), "Store unreachable", "The store that the group shares cannot be reached, so registrations are rejected. Scrapes go on with the last list of aliases."}, true
	case m.leader() != "":
		return banner{"up", up.Mark(), "In a group", oneLine(m.leader()) + " leads the group, and takes registrations."}, true
	default:
		return banner{"expired", "◆", "No leader", "No member of the group leads it now, so registrations are rejected. Scrapes go on."}, true
	}
}
