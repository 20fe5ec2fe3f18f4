package etcd

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// registration is the state of this member's keys under its lease: what it reports of itself, and its candidacy.
type registration struct {
	lease     kv.Lease
	granted   bool
	dirty     bool       // the keys are to be put
	busy      bool       // a transaction is under way
	retry     host.Timer // after a failed one
	published int64      // revision of the last one
	standing  bool       // it put the candidate key
	candidacy int        // number of the candidacy, a part of its key
	outdated  []int      // earlier ones, whose keys are to be removed
	fences    int        // that were put
}

// giveUp ends a candidacy.
func (r *registration) giveUp() {
	r.outdated = append(r.outdated, r.candidacy)
	r.candidacy++
	r.dirty = true
}

// candidacy is the name of a candidacy. Each has its own, so that transactions that are carried out late have no effect on later ones.
func (m *Member) candidacy(number int) string { return string(m.self.ID) + "/" + strconv.Itoa(number) }

func (m *Member) candidateKey(number int) string { return m.key("candidates", m.candidacy(number)) }

// publish puts the keys, and removes those of earlier candidacies.
func (m *Member) publish() {
	r, lease := &m.own, m.own.lease
	if !r.dirty || r.busy || !m.own.granted || m.left {
		return
	}
	r.dirty, r.busy = false, true
	stands, number, outdated := !m.self.Leaving, r.candidacy, len(r.outdated)
	ops := []kv.Op{{Key: m.key("members", string(m.self.ID)), Value: encodeMember(m.self), Lease: lease.ID()}}
	if stands {
		ops = append(ops, kv.Op{Key: m.candidateKey(number), Value: strconv.AppendInt(nil, int64(lease.ID()), 16), Lease: lease.ID()})
	}
	for _, old := range r.outdated {
		ops = append(ops, kv.Op{Key: m.candidateKey(old), Delete: true})
	}
	m.store.Commit(kv.Txn{Then: ops}, func(result kv.Result, err error) {
		switch {
		case m.left || m.own.lease != lease:
		case err != nil:
			r.busy, r.dirty = false, true
			r.retry = m.host.AfterFunc(longPause, m.publish)
		default:
			r.busy, r.outdated = false, slices.Delete(r.outdated, 0, outdated)
			r.published, r.standing = result.Revision, stands
			m.published()
		}
	})
}

// published ends Join, and goes on.
func (m *Member) published() {
	m.entered = true
	if done := m.joining.done; done != nil {
		m.joining.done = nil
		done(nil)
	}
	m.publish()
	m.review()
}

// heal puts the keys again if the store does not have them as they were put. A transaction that was repeated may have been carried out
// late, and an operator may have removed keys.
func (m *Member) heal() {
	r := &m.own
	if !m.own.granted || r.busy || r.dirty || m.roster.revision < r.published {
		return
	}
	stands := false
	for _, c := range m.roster.candidates {
		switch {
		case c.id != m.self.ID:
		case c.name == m.candidacy(r.candidacy):
			stands = c.modified == r.published
		default:
			if number, err := strconv.Atoi(strings.TrimPrefix(c.name, string(m.self.ID)+"/")); err == nil && number < r.candidacy {
				r.outdated = append(r.outdated, number)
			}
		}
	}
	if m.roster.members[m.self.ID].modified != r.published || stands != r.standing || len(r.outdated) > 0 {
		r.dirty = true
		m.publish()
	}
}

// memberRecord is a member in JSON.
type memberRecord struct {
	Version int       `json:"v"`
	Name    string    `json:"name"`
	URL     string    `json:"url"`
	Program string    `json:"program"` // its version
	Started time.Time `json:"started"`
	Leaving bool      `json:"leaving,omitzero"`
	Settled uint64    `json:"settled,omitzero"`
	Clients int       `json:"clients,omitzero"`
	Missed  []byte    `json:"missed,omitempty"` // keys, one after the other
	Pinned  []byte    `json:"pinned,omitempty"`
}

func encodeMember(m domain.Member) []byte {
	value, err := json.Marshal(memberRecord{
		Version: 1, Name: m.Name, URL: m.URL, Program: m.Version, Started: m.Started.UTC(), Leaving: m.Leaving, Settled: m.Settled, Clients: m.Clients,
		Missed: []byte(m.Missed), Pinned: []byte(m.Pinned),
	})
	if err != nil {
		panic(err) // strings and numbers, and a time of this century
	}
	return value
}

// decodeMember returns a member. Later versions may add fields. One that cannot be read has no name.
func decodeMember(id domain.MemberID, value []byte) domain.Member {
	var r memberRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return domain.Member{ID: id}
	}
	return domain.Member{
		ID: id, Name: r.Name, URL: r.URL, Version: r.Program, Started: r.Started, Leaving: r.Leaving, Settled: r.Settled, Clients: r.Clients,
		Missed: domain.KeyListFrom(r.Missed), Pinned: domain.KeyListFrom(r.Pinned),
	}
}
