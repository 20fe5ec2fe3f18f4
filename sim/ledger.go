package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// ledger is the expected alias table of a scraper, derived from its events and its clients'. It outlives crashes, as the
// disk does.
type ledger struct {
	s       *scraper              // of a group: the one that leads, or did last
	entries func() []domain.Entry // what is durable
	shared  bool                  // by a group, whose members serve what is durable before the leader's event
	aliases map[domain.Alias]*account
	pending map[question]promise // unanswered registrations: when they would expire
}

// account is the expected state of an alias.
type account struct {
	owner   domain.PublicKey // by the scraper's last event
	former  domain.PublicKey // the owner before that
	acked   domain.PublicKey // key of the last acknowledged registration; zero for none
	expires time.Time        // of the last registration that succeeded, at the earliest
	atMost  time.Time        // the same at the latest: the length of a downtime is unknown to a boot
	perhaps time.Time        // of registrations with an unknown outcome, the latest
	stored  time.Time        // the latest expiry that may be on the disk, by the scraper's own clock
	due     time.Time        // the expiry of the last registration that succeeded, by the scraper's clock when it was asked
}

type question struct {
	uid   domain.UID
	alias domain.Alias
}

// promise is the expiry of an alias that is being registered.
type promise struct {
	expires time.Time // in steady time
	stored  time.Time // by the scraper's own clock
}

func newLedger(s *scraper) *ledger {
	return &ledger{
		s: s, aliases: map[domain.Alias]*account{}, pending: map[question]promise{},
		entries: func() []domain.Entry { return s.disk.Entries() },
	}
}

func (l *ledger) account(a domain.Alias) *account {
	acc := l.aliases[a]
	if acc == nil {
		acc = &account{}
		l.aliases[a] = acc
	}
	return acc
}

// now returns steady time: the right time, whatever the scraper's own clock shows. Its wall clock only bridges boots.
func (l *ledger) now() time.Time { return l.s.w.net.Clock().Now() }

// revoked records that the identity of an alias was revoked: nothing is owed to its client.
func (l *ledger) revoked(a domain.Alias) { delete(l.aliases, a) }

// asked records a registration with the right secret.
func (l *ledger) asked(e domain.AliasRequest) {
	expires := l.now().Add(l.s.expiry)
	stored := l.s.host.Clock().Now().Add(l.s.expiry)
	l.pending[question{e.UID, e.Register.Alias}] = promise{expires, stored}
	acc := l.account(e.Register.Alias)
	if expires.After(acc.perhaps) {
		acc.perhaps = expires
	}
	if stored.After(acc.stored) {
		acc.stored = stored
	}
}

// succeeded records a durable registration.
func (l *ledger) succeeded(e domain.AliasSuccess) {
	q := question{e.UID, e.Register.Alias}
	acc := l.account(e.Register.Alias)
	acc.expires, acc.due = l.pending[q].expires, l.pending[q].stored
	acc.atMost = acc.expires
	acc.give(e.Register.Key)
	l.taken(acc)
	delete(l.pending, q)
	if !l.others(e.Register.Alias) {
		acc.perhaps = time.Time{}
	}
}

// others reports whether registrations of an alias are unanswered.
func (l *ledger) others(a domain.Alias) bool {
	for q := range l.pending {
		if q.alias == a {
			return true
		}
	}
	return false
}

// set records a new or changed entry.
func (l *ledger) set(e domain.Entry) {
	l.account(e.Alias).give(e.Key)
	if !l.s.w.check.owner(e.Key) {
		l.s.w.fail("stranger", "%s gives %q to %s, which never knew the secret", l.s.name, e.Alias, l.s.w.nameOf(e.Key))
	}
}

// registered records a durable set.
func (l *ledger) registered(e domain.SetTargets) {
	for _, a := range l.s.app.Aliases() {
		if a.InSet && a.Key == e.Key {
			acc := l.account(a.Alias)
			acc.give(e.Key)
			l.taken(acc)
		}
	}
}

// give records the owner of an alias.
func (a *account) give(key domain.PublicKey) {
	if a.owner != key {
		a.former, a.owner = a.owner, key
	}
}

// taken forgets the acknowledgement of an alias that belongs to another client.
func (l *ledger) taken(acc *account) {
	if acc.acked != acc.owner {
		acc.acked = domain.PublicKey{}
	}
}

// expired records that an entry was dropped.
func (l *ledger) expired(e domain.Entry) {
	acc := l.account(e.Alias)
	if now := l.now(); now.Before(acc.expires) {
		l.s.w.fail("acknowledged", "%s drops %q at %v, before %v", l.s.name, e.Alias, now.Format(time.TimeOnly), acc.expires.Format(time.TimeOnly))
	}
	*acc = account{perhaps: acc.perhaps, stored: acc.stored}
}

// leaves records that a client is about to deregister.
func (l *ledger) leaves(c *client) {
	if acc := l.aliases[c.alias]; acc != nil && acc.acked == c.keys.Public {
		acc.acked = domain.PublicKey{}
	}
}

// wiped records the loss of the disk.
func (l *ledger) wiped() {
	clear(l.aliases)
	clear(l.pending)
}

// acknowledge checks the disk when a client reports itself registered.
func (l *ledger) acknowledge(c *client) {
	acc := l.account(c.alias)
	switch c.keys.Public {
	case acc.owner:
		acc.acked = acc.owner
	case acc.former: // it was taken over before the answer arrived, by a client that may have left since: no event reports that
		return
	}
	// The latest registration that the scraper answered must be there, not only an earlier one, by the clock of that
	// moment: the clock may have been set since.
	durable := slices.ContainsFunc(l.entries(), func(e domain.Entry) bool {
		return e.Alias == c.alias && !e.Expires.Before(acc.due.Add(-clockSlack))
	})
	if !durable && l.now().Before(acc.expires) {
		l.s.w.fail("acknowledged", "%s reports itself registered, but is not on the disk of %s", c.name, l.s.name)
	}
}

// booted computes expiries after a start of the scraper's program from the entries on its disk. Registrations in progress
// at the crash are durable or are not. By its own clock, which may be wrong, the scraper gives each alias the rest of its
// time, but no less than the grace and no more than a registration gives; one that had less than the grace left lives on
// while its client is connected.
func (l *ledger) booted() {
	clear(l.pending)
	now, clock, grace := l.now(), l.s.host.Clock().Now(), min(bootGrace, l.s.expiry)
	for _, e := range l.entries() {
		acc := l.account(e.Alias)
		acc.give(e.Key)
		if e.InSet {
			acc.stored = clock.Add(l.s.expiry)
			l.taken(acc)
		}
		if late := e.Expires.Sub(acc.stored); late > clockSlack {
			l.s.w.fail("expiry", "%q of %s would expire at %v, %v too late, after a restart", e.Alias, l.s.name, e.Expires, late)
		}
		left := e.Expires.Sub(clock)
		acc.expires = now.Add(min(max(left, grace), l.s.expiry) - clockSlack)
		acc.atMost, acc.perhaps = now.Add(min(max(left, grace), l.s.expiry)+clockSlack), time.Time{}
		if left < grace {
			acc.atMost = now.Add(l.s.expiry + clockSlack)
		}
	}
}

// bootGrace is the least lifetime of an alias after a start of its scraper.
const bootGrace = 15 * time.Minute

// clockSlack is the deviation of the scraper's wall clock from its steady time that does not count as set, and the time
// from its boot to the loading of its table.
const clockSlack = 2 * time.Second

// bound returns the latest expiry of an alias.
func (a *account) bound() time.Time {
	if a.perhaps.After(a.atMost) {
		return a.perhaps
	}
	return a.atMost
}

// loaded checks the table after it was read from the disk, at the end of the turn.
func (l *ledger) loaded() {
	boot := l.s.boots
	l.s.w.net.AfterFunc(0, func() {
		if l.s.boots == boot && !l.s.host.Down() {
			l.compare()
		}
	})
}

// compare checks that all acknowledged registrations are in the table.
func (l *ledger) compare() {
	if l.s.app == nil || l.s.host.Down() {
		return
	}
	have := map[domain.Alias]bool{}
	for _, a := range l.s.app.Aliases() {
		have[a.Alias] = true
	}
	now := l.now()
	for _, alias := range slices.SortedFunc(maps.Keys(l.aliases), func(a, b domain.Alias) int { return strings.Compare(string(a), string(b)) }) {
		acc := l.aliases[alias]
		if !acc.acked.IsZero() && now.Before(acc.expires) && !have[alias] {
			l.s.w.fail("acknowledged", "%s has lost %q, which %s reports as registered", l.s.name, alias, l.s.w.nameOf(acc.acked))
		}
	}
}

// asking is the correct answer to a scrape.
type asking struct {
	owner   domain.PublicKey
	expires time.Time
	at      time.Time
}

// asks returns the correct answer to a scrape that starts now.
func (l *ledger) asks(a domain.Alias) asking {
	acc := l.aliases[a]
	if acc == nil {
		return asking{at: l.now()}
	}
	return asking{owner: acc.owner, expires: acc.bound(), at: l.now()}
}

// durable reports whether an alias belongs to a key in the store.
func (l *ledger) durable(a domain.Alias, key string) bool {
	return slices.ContainsFunc(l.entries(), func(e domain.Entry) bool { return e.Alias == a && e.Key.String() == key })
}

// served checks the metrics that a scrape returned.
func (l *ledger) served(a domain.Alias, q asking, body []byte) {
	w := l.s.w
	if got := ownerOf(body); got != q.owner.String() && !(l.shared && l.durable(a, got)) {
		w.fail("identity", "a scrape of %q at %s brings metrics of %.8s, not of %s", a, l.s.name, got, w.nameOf(q.owner))
	}
	if !q.at.Before(q.expires) && !(l.shared && q.owner.IsZero()) {
		w.fail("expiry", "%s serves %q %v after its time", l.s.name, a, q.at.Sub(q.expires))
	}
}
