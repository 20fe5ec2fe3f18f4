package etcd

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// Config configures a member.
type Config struct {
	// Prefix begins all keys of the group; "/dhtprom/" if it is empty.
	Prefix string
	// TTL is the time after which a member that vanished is missed; 5 s if it is 0. The store may have a longer minimum.
	TTL time.Duration
	// Margin is the time before the end of its lease at which a leader stops; a fifth of TTL if it is 0.
	Margin time.Duration
	// Clock is the wall clock of Member.Started.
	Clock ports.Clock
}

func (c Config) normal() Config {
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	if !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}
	c.TTL = cmp.Or(max(c.TTL, 0), defaultTTL)
	c.Margin = min(cmp.Or(max(c.Margin, 0), c.TTL/marginShare), c.TTL/2)
	return c
}

// Member is a scraper's part in a group: ports.Group, and ports.SharedStore with the table of the group.
type Member struct {
	host     host.Host
	store    kv.Store
	cfg      Config
	self     domain.Member
	handlers ports.GroupHandlers
	joining  joining
	entered  bool // its keys are in the store, or were
	left     bool

	feed   feed
	roster roster
	shown  shown

	own      registration
	term     int64      // while this member leads, else 0
	deadline host.Timer // it leads no longer then

	fence fence
	queue queue
	table table
}

// joining is the state of Join.
type joining struct {
	identity domain.PublicKey
	done     func(error) // nil when it has ended
	retry    host.Timer
}

// shown is the last view that was reported.
type shown struct {
	view      domain.Group
	once      bool // there was one
	connected bool // that of the next one
}

// New returns a member, which has not joined yet. The store stays open when it has left: it is the caller's.
func New(h host.Host, store kv.Store, cfg Config) *Member {
	m := &Member{host: h, store: store, cfg: cfg.normal(), roster: newRoster()}
	var id [8]byte
	if _, err := io.ReadFull(h.Rand(), id[:]); err != nil {
		panic("no randomness: " + err.Error())
	}
	m.self.ID, m.self.Started = domain.MemberID(hex.EncodeToString(id[:])), m.cfg.Clock.Now()
	m.feed = feed{host: h, store: store, prefix: m.cfg.Prefix, onWhole: m.onWhole, onChanges: m.onChanges, onConnected: m.onConnected}
	return m
}

// key returns a key of the group.
func (m *Member) key(parts ...string) string { return m.cfg.Prefix + strings.Join(parts, "/") }

// Join implements ports.Group.
func (m *Member) Join(j ports.GroupJoin, h ports.GroupHandlers, done func(error)) {
	m.handlers, m.joining = h, joining{identity: j.Identity, done: done}
	m.self = m.described(j.Member)
	m.feed.ensure()
	m.checkIdentity()
}

func (m *Member) described(self domain.Member) domain.Member {
	self.ID, self.Started = m.self.ID, m.self.Started
	return self
}

// checkIdentity compares the identity of the group with this scraper's, which becomes the group's if there is none.
func (m *Member) checkIdentity() {
	key := m.key("config")
	m.store.List(key, func(l kv.List, err error) {
		if m.left {
			return
		}
		i := slices.IndexFunc(l.Items, func(i kv.Item) bool { return i.Key == key })
		switch {
		case err != nil:
			m.retryJoin(err)
		case i >= 0:
			m.admit(l.Items[i].Value)
		default:
			m.setIdentity(key)
		}
	})
}

func (m *Member) setIdentity(key string) {
	t := kv.Txn{If: []kv.Condition{{Key: key}}, Then: []kv.Op{{Key: key, Value: []byte(m.joining.identity.String())}}}
	m.store.Commit(t, func(_ kv.Result, err error) {
		switch {
		case m.left:
		case err != nil:
			m.retryJoin(err)
		default:
			m.checkIdentity()
		}
	})
}

// retryJoin waits for a store that cannot be reached. One that refuses access ends Join.
func (m *Member) retryJoin(err error) {
	if isLost(err) {
		m.joining.retry = m.host.AfterFunc(longPause, m.checkIdentity)
		return
	}
	m.reject(err)
}

// reject ends Join with an error.
func (m *Member) reject(err error) {
	done := m.joining.done
	m.joining.done = nil
	m.feed.stop()
	done(err)
}

// admit ends Join with an error if the identity of the group is another one.
func (m *Member) admit(identity []byte) {
	if mine := m.joining.identity.String(); !bytes.Equal(identity, []byte(mine)) {
		m.reject(fmt.Errorf("%w: its public key is %s, and that of this scraper %s (key %q)", domain.ErrGroup, clip(string(identity)), mine, m.key("config")))
		return
	}
	m.register()
}

// register requests a lease, under which the keys of this member are put.
func (m *Member) register() {
	m.own = registration{candidacy: m.own.candidacy + 1, dirty: true}
	m.own.lease = m.store.Lease(m.cfg.TTL, kv.LeaseHandlers{OnGranted: m.onGranted, OnRenewed: m.onRenewed, OnLost: m.onLost})
}

func (m *Member) onGranted() {
	if m.left {
		return
	}
	m.own.granted = true
	m.publish()
	m.onRenewed()
}

func (m *Member) onRenewed() {
	if m.left {
		return
	}
	if wait := max(m.limit().Sub(m.host.Now()), 0); m.deadline == nil {
		m.deadline = m.host.AfterFunc(wait, m.judge)
	} else {
		m.deadline.Reset(wait)
	}
	m.judge()
}

// onLost begins again under a new lease.
func (m *Member) onLost() {
	if m.left {
		return
	}
	m.own.granted = false
	m.stepDown()
	m.register()
	m.show()
}

// limit is the instant until which this member may lead.
func (m *Member) limit() host.Instant { return m.own.lease.Until().Add(-m.cfg.Margin) }

// Update implements ports.Group.
func (m *Member) Update(self domain.Member) {
	self = m.described(self)
	if self == m.self || m.left {
		return
	}
	leaves := self.Leaving && !m.self.Leaving
	m.self, m.own.dirty = self, true
	if leaves {
		m.stepDown()
		m.own.giveUp()
	}
	m.publish()
	m.judge()
}

// Leave implements ports.Group.
func (m *Member) Leave(done func()) {
	m.left, m.joining.done = true, nil
	m.stepDown()
	m.feed.stop()
	for _, t := range []host.Timer{m.joining.retry, m.deadline, m.own.retry} {
		if t != nil {
			t.Stop()
		}
	}
	if m.own.lease == nil {
		m.host.Post(done)
		return
	}
	over := false
	end := func() {
		if !over {
			over = true
			done()
		}
	}
	limit := m.host.AfterFunc(leaveTime, end)
	m.own.lease.Close(func() {
		limit.Stop()
		end()
	})
}

func clip(text string) string { return text[:min(len(text), domain.MaxAlias)] }

var (
	_ ports.Group       = (*Member)(nil)
	_ ports.SharedStore = (*Member)(nil)
)
