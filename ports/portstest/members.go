package portstest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Members is an in-memory group of scrapers that share a disk. The member that joined first leads, and the next one when it is gone,
// unless a test decides (Elect, Depose).
type Members struct {
	disk     *Disk
	all      []*member // in the order in which they stand for election
	identity domain.PublicKey
	leader   *member
	term     int64
	held     bool // there is no election until Elect

	Updates int // calls of Update so far, those of Join included
}

// NewMembers returns a group without members on a disk.
func NewMembers(disk *Disk) *Members { return &Members{disk: disk} }

// memberStart is the start of the first member. The others follow in steps of a second.
var memberStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Member returns a new member, which has not joined yet, and its store. Of several with one name, as of restarts of a scraper, the last
// one is meant by the name.
func (m *Members) Member(loop host.Loop, name string) (ports.Group, ports.SharedStore) {
	b := &member{group: m, loop: loop, name: name, self: domain.Member{ID: domain.MemberID(name), Started: memberStart.Add(time.Duration(len(m.all)) * time.Second)}}
	if before := m.find(name); before != nil {
		b.number = before.number + 1
		b.self.ID = domain.MemberID(fmt.Sprintf("%s/%d", name, b.number))
	}
	b.store = &memberStore{Store: NewStore(loop, m.disk), member: b}
	b.store.group = b
	m.all = append(m.all, b)
	return b, b.store
}

// Elect makes a member the leader, after OnFollow of the present one, and reports whether it can lead.
func (m *Members) Elect(name string) bool {
	b := m.find(name)
	if b == nil || !b.eligible() {
		return false
	}
	m.held = false
	if m.leader != b {
		m.install(b)
	}
	m.turnover()
	return true
}

// Depose removes the leader. None leads until Elect.
func (m *Members) Depose() {
	m.leader, m.held = nil, true
	m.turnover()
}

// Disconnect separates a member from the store, as long as it takes for its lease to end, or connects it again.
func (m *Members) Disconnect(name string, cut bool) {
	b := m.find(name)
	if b == nil || b.cut == cut {
		return
	}
	b.cut = cut
	m.all = append(slices.DeleteFunc(m.all, func(o *member) bool { return o == b }), b) // it stands for election again
	if !cut {
		b.enter()
		b.store.followWhole()
	}
	m.settle()
}

// Vanish ends a member as kill -9 does: nothing of it is called any more.
func (m *Members) Vanish(name string) {
	if b := m.find(name); b != nil {
		b.over, b.store.closed, b.store.follow, b.leads = true, true, nil, 0
		m.settle()
	}
}

// Leads returns the name of the leader; empty for none.
func (m *Members) Leads() string {
	if m.leader == nil {
		return ""
	}
	return m.leader.name
}

func (m *Members) find(name string) *member {
	var found *member
	for _, b := range m.all {
		if b.name == name && (found == nil || b.number > found.number) {
			found = b
		}
	}
	return found
}

// settle holds an election if there is no leader that can lead, and reports what has changed.
func (m *Members) settle() {
	if m.leader != nil && !m.leader.eligible() {
		m.leader = nil
	}
	if m.leader == nil && !m.held {
		if i := slices.IndexFunc(m.all, (*member).eligible); i >= 0 {
			m.install(m.all[i])
		}
	}
	m.turnover()
}

func (m *Members) install(b *member) {
	m.term++
	m.leader = b
}

// turnover calls OnFollow of a member that leads no more, then OnLead of the leader, and then OnView.
func (m *Members) turnover() {
	for _, b := range m.all {
		if b.leads != 0 && !b.isLeader() {
			b.loop.Post(func() {
				if !b.isLeader() {
					b.stop()
				}
				m.turnover()
			})
			return
		}
	}
	if b := m.leader; b != nil && b.leads == 0 {
		b.loop.Post(func() {
			if m.leader == b && b.leads == 0 && !b.over {
				b.leads = m.term
				b.handlers.OnLead(m.term)
			}
			m.show()
		})
		return
	}
	m.show()
}

// show calls OnView of the members whose view has changed.
func (m *Members) show() {
	for _, b := range m.all {
		v := m.viewOf(b)
		if !b.joined || b.over || sameView(v, b.view) {
			continue
		}
		b.view = v
		b.loop.Post(func() {
			if !b.over {
				b.handlers.OnView(v)
			}
		})
	}
}

func sameView(a, b domain.Group) bool {
	return a.Self == b.Self && a.Leader == b.Leader && a.Term == b.Term && a.Connected == b.Connected && slices.Equal(a.Members, b.Members)
}

func (m *Members) viewOf(b *member) domain.Group {
	if b.cut {
		v := b.view
		v.Self, v.Connected = b.self.ID, false
		if v.Leader == v.Self {
			v.Leader = ""
		}
		return v
	}
	v := domain.Group{Self: b.self.ID, Term: m.term, Connected: true}
	for _, o := range m.all {
		if o.joined && !o.cut && !o.over {
			v.Members = append(v.Members, o.self)
		}
	}
	slices.SortFunc(v.Members, func(a, b domain.Member) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if m.leader != nil && m.leader.leads == m.term {
		v.Leader = m.leader.self.ID
	}
	return v
}

// member is a ports.Group of Members.
type member struct {
	group    *Members
	loop     host.Loop
	store    *memberStore
	name     string
	number   int // of those with this name before it
	self     domain.Member
	join     ports.GroupJoin
	handlers ports.GroupHandlers
	done     func(error) // of a Join that waits
	joined   bool
	cut      bool
	over     bool  // it has left or vanished
	leads    int64 // the term of its OnLead, until OnFollow
	view     domain.Group
}

func (m *member) eligible() bool { return m.joined && !m.cut && !m.over && !m.self.Leaving }

// isLeader reports whether the member is the leader of the term that it knows.
func (m *member) isLeader() bool {
	return m.group.leader == m && (m.leads == 0 || m.leads == m.group.term)
}

// stop calls OnFollow of a member that leads.
func (m *member) stop() {
	if m.leads != 0 && !m.over {
		m.leads = 0
		m.handlers.OnFollow()
	}
}

// Join implements ports.Group.
func (m *member) Join(j ports.GroupJoin, h ports.GroupHandlers, done func(error)) {
	m.join, m.handlers, m.done = j, h, done
	m.Update(j.Member)
	m.loop.Post(func() {
		m.enter()
		m.group.settle()
	})
}

// enter finishes a Join if the store can be reached.
func (m *member) enter() {
	if m.done == nil || m.cut || m.over {
		return
	}
	g, done := m.group, m.done
	m.done = nil
	if g.identity.IsZero() {
		g.identity = m.join.Identity
	}
	if g.identity != m.join.Identity {
		err := fmt.Errorf("%w: its public key is %s, and that of this scraper %s", domain.ErrGroup, g.identity, m.join.Identity)
		m.loop.Post(func() { done(err) })
		return
	}
	m.joined = true
	m.loop.Post(func() { done(nil) })
}

// Update implements ports.Group.
func (m *member) Update(self domain.Member) {
	self.ID, self.Started = m.self.ID, m.self.Started
	m.self = self
	m.group.Updates++
	if self.Leaving {
		m.stop()
	}
	if m.joined {
		m.group.settle()
	}
}

// Leave implements ports.Group.
func (m *member) Leave(done func()) {
	m.stop()
	m.over = true
	m.group.settle()
	m.loop.Post(done)
}

// readable is the error of reading the store of a member.
func (m *member) readable() error {
	if m != nil && m.cut {
		return domain.ErrStoreUnreachable
	}
	return nil
}

// writable is the error of writing the store of a member.
func (m *member) writable() error {
	if m != nil && (m.group.leader != m || m.leads != m.group.term) {
		return domain.ErrNotLeader
	}
	return nil
}

// changed reports a change of the table to all members.
func (m *member) changed(c domain.TableChange) {
	if m == nil {
		return
	}
	for _, o := range m.group.all {
		if !o.cut {
			o.store.report(c)
		}
	}
}

// memberStore is a ports.SharedStore of Members.
type memberStore struct {
	*Store
	member *member
	follow func(domain.TableChange)
}

// Follow implements ports.SharedStore.
func (ms *memberStore) Follow(f func(domain.TableChange)) {
	ms.follow = f
	if !ms.member.cut {
		ms.followWhole()
	}
}

func (ms *memberStore) followWhole() {
	d := ms.disk
	ms.report(domain.TableChange{Whole: true, Put: d.entries(), Pins: d.pins(), Bad: slices.Clone(d.Bad)})
}

func (ms *memberStore) report(c domain.TableChange) {
	if ms.follow == nil {
		return
	}
	ms.loop.Post(func() {
		if ms.follow != nil && !ms.closed {
			ms.follow(c)
		}
	})
}

var (
	_ ports.Group       = (*member)(nil)
	_ ports.SharedStore = (*memberStore)(nil)
)
