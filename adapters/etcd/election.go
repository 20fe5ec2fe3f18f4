package etcd

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// roster lists the members and candidates in the store, as far as this member has seen them.
type roster struct {
	revision   int64
	members    map[domain.MemberID]listed
	candidates []candidate // oldest first
	term       int64       // of the last leader that was seen
}

type listed struct {
	domain.Member
	modified int64
}

// candidate is a candidacy of a member. Its name begins with the member's ID.
type candidate struct {
	name              string
	id                domain.MemberID
	created, modified int64
}

func newRoster() roster { return roster{members: map[domain.MemberID]listed{}} }

// set notes a key below the prefix.
func (r *roster) set(key string, c kv.Change) {
	section, name, _ := strings.Cut(key, "/")
	switch id := domain.MemberID(name); {
	case section == "members" && c.Deleted:
		delete(r.members, id)
	case section == "members":
		r.members[id] = listed{decodeMember(id, c.Value), c.Modified}
	case section == "candidates":
		r.setCandidate(name, c)
	}
}

func (r *roster) setCandidate(name string, c kv.Change) {
	r.candidates = slices.DeleteFunc(r.candidates, func(o candidate) bool { return o.name == name })
	if !c.Deleted {
		id, _, _ := strings.Cut(name, "/")
		r.candidates = append(r.candidates, candidate{name, domain.MemberID(id), c.Created, c.Modified})
		slices.SortFunc(r.candidates, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
		})
	}
	if first := r.first(); first.name != "" {
		r.term = first.created
	}
}

// first returns the oldest candidacy, which leads; the zero candidate for none.
func (r *roster) first() candidate {
	if len(r.candidates) == 0 {
		return candidate{}
	}
	return r.candidates[0]
}

// review looks at what has changed.
func (m *Member) review() {
	m.heal()
	m.judge()
}

// judge begins or ends this member's leadership, by what it knows.
func (m *Member) judge() {
	if m.left {
		return
	}
	first := m.roster.first()
	leads := m.mayLead() && first.name == m.candidacy(m.own.candidacy)
	switch {
	case m.term != 0 && (!leads || first.created != m.term):
		m.stepDown()
	case m.term == 0 && leads:
		m.lead(first.created)
	}
	m.show()
}

// mayLead reports whether this member is a candidate with a lease that does not end soon.
func (m *Member) mayLead() bool {
	return m.own.granted && m.entered && !m.self.Leaving && m.host.Now().Before(m.limit())
}

func (m *Member) lead(term int64) {
	m.term, m.fence, m.queue.large = term, fence{}, 0
	m.push(job{alone: m.complete})
	m.handlers.OnLead(term)
}

// stepDown ends this member's leadership. It stands for election again with a new candidacy.
func (m *Member) stepDown() {
	if m.term == 0 {
		return
	}
	m.term = 0
	m.own.giveUp()
	m.handlers.OnFollow()
	m.publish()
}

// show calls OnView if the view has changed.
func (m *Member) show() {
	if m.left || !m.entered || !m.shown.once && m.roster.revision < m.own.published {
		return
	}
	v := domain.Group{Self: m.self.ID, Leader: m.roster.first().id, Term: m.roster.term, Connected: m.shown.connected}
	if v.Leader == m.self.ID && m.term == 0 {
		v.Leader = ""
	}
	for _, id := range slices.Sorted(maps.Keys(m.roster.members)) {
		v.Members = append(v.Members, m.roster.members[id].Member)
	}
	old := m.shown.view
	if m.shown.once && v.Leader == old.Leader && v.Term == old.Term && v.Connected == old.Connected && slices.Equal(v.Members, old.Members) {
		return
	}
	m.shown.view, m.shown.once = v, true
	m.handlers.OnView(v)
}

func (m *Member) onWhole(l kv.List) {
	term := m.roster.term
	m.roster = newRoster()
	m.roster.term, m.roster.revision = term, l.Revision
	for _, i := range l.Items {
		m.roster.set(strings.TrimPrefix(i.Key, m.cfg.Prefix), kv.Change{Item: i})
	}
	m.followWhole(l)
	m.review()
}

func (m *Member) onChanges(changes []kv.Change, revision int64) {
	m.roster.revision = revision
	for _, c := range changes {
		m.roster.set(strings.TrimPrefix(c.Key, m.cfg.Prefix), c)
	}
	m.followChanges(changes)
	m.review()
}

func (m *Member) onConnected(connected bool) {
	m.shown.connected = connected
	m.show()
}
