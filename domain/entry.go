package domain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Entry is a scraper's record of an alias. Times are wall time, because they outlive the process. In a Table they are in a time
// that does not jump while the process runs.
type Entry struct {
	Alias      Alias
	Key        PublicKey // its metrics server
	Hostname   string
	Service    string
	Instance   Instance   // process that registered last
	Identity   string     // name of the Identity that registered it
	IdentityID IdentityID // its ID

	InSet  bool   // registered in a set: its client has several targets, and scrapes name this one
	Label  string // its label instance; empty for the alias
	Labels Labels // of the operator
	Fields Fields // of a caller's header that the target asks for

	Registered time.Time // first registration with this key
	Renewed    time.Time // the last registration
	Expires    time.Time // absolute, so that a restart does not make an entry younger
}

// Expired reports whether the entry has expired.
func (e Entry) Expired(now time.Time) bool { return !now.Before(e.Expires) }

// Check validates an entry from the network or a file.
func (e Entry) Check() error {
	if _, err := ParseAlias(string(e.Alias)); err != nil {
		return err
	}
	if err := CheckHostname(e.Hostname); err != nil {
		return err
	}
	if err := CheckService(e.Service); err != nil {
		return err
	}
	if e.Key.IsZero() {
		return errors.New("key is missing")
	}
	if e.Identity != SharedIdentity {
		if err := CheckIdentityName(e.Identity); err != nil {
			return err
		}
	}
	return CheckInstanceLabel(e.Label)
}

// Target returns the target of the entry.
func (e Entry) Target() Target {
	return Target{Alias: e.Alias, Hostname: e.Hostname, Service: e.Service, Label: e.Label, Labels: e.Labels, Fields: e.Fields}
}

// same reports whether only the times and the instance differ.
func (e Entry) same(o Entry) bool {
	return e.Target() == o.Target() && e.Key == o.Key && e.InSet == o.InSet && e.Identity == o.Identity && e.IdentityID == o.IdentityID
}

// ErrTableFull rejects a new alias when the table has reached its limit.
var ErrTableFull = errors.New("alias table is full")

// Table is the scraper's alias table, in memory. A registration first becomes an Entry (Register.Entry), which is made durable,
// and only then is Put here.
type Table struct {
	limit   int
	entries map[Alias]Entry
	byKey   map[PublicKey]keyUse
	byName  map[string]int // number of aliases of an identity

	order []Alias // all aliases but those in added, ascending, and removed ones
	added []Alias
	gone  bool // there are removed ones
}

// keyUse counts the aliases of a key.
type keyUse struct {
	aliases  int
	named    int    // of them, those of identities other than SharedIdentity
	identity string // the last one of those to register
}

// NewTable returns an empty table for at most limit aliases (MaxEntries when 0).
func NewTable(limit int) *Table {
	if limit <= 0 {
		limit = MaxEntries
	}
	return &Table{limit: limit, entries: map[Alias]Entry{}, byKey: map[PublicKey]keyUse{}, byName: map[string]int{}}
}

// Register is a request to map an alias to a key.
type Register struct {
	Alias    Alias
	Key      PublicKey
	Hostname string
	Service  string
	Instance Instance // of the client process that registers
}

// Entry returns the new entry of a registration, given the alias's current one (the zero Entry for a new alias): the last key
// wins, and every registration renews the expiry.
func (r Register) Entry(current Entry, now time.Time, expiry time.Duration) Entry {
	e := Entry{
		Alias: r.Alias, Key: r.Key, Hostname: r.Hostname, Service: r.Service, Instance: r.Instance,
		Registered: now, Renewed: now, Expires: now.Add(expiry),
	}
	if current.Alias == e.Alias && current.Key == e.Key {
		e.Registered = current.Registered
	}
	return e
}

// Change describes the effect of setting an entry.
type Change struct {
	// Updated is true when anything but the times changed: a new alias, another key, hostname or service.
	Updated bool
	// TakenFrom is the key that lost the alias; zero if none did.
	TakenFrom PublicKey
	// Shared is true when another running process has registered under the same key in between.
	Shared bool
}

// ChangeFrom compares an entry with the one that it replaces (the zero Entry for a new alias).
func (e Entry) ChangeFrom(old Entry) Change {
	c := Change{Updated: !e.same(old)}
	if old.Alias != "" && old.Key != e.Key {
		c.TakenFrom = old.Key
	}
	return c
}

// Put sets an entry. It rejects a new alias when the table is full.
func (t *Table) Put(e Entry) error {
	old, known := t.entries[e.Alias]
	if !known && len(t.entries) >= t.limit {
		return fmt.Errorf("%w: %d aliases", ErrTableFull, t.limit)
	}
	if known {
		t.forget(old)
	} else {
		t.added = append(t.added, e.Alias)
	}
	t.entries[e.Alias] = e
	use := t.byKey[e.Key]
	use.aliases++
	if e.Identity != SharedIdentity {
		use.named++
		use.identity = e.Identity
	}
	t.byKey[e.Key] = use
	t.byName[e.Identity]++
	if len(t.added) > len(t.entries) { // aliases come and go while none are listed
		t.sort()
	}
	return nil
}

// Delete removes an alias and reports whether it existed.
func (t *Table) Delete(a Alias) bool {
	old, known := t.entries[a]
	if known {
		delete(t.entries, a)
		t.gone = true
		t.forget(old)
	}
	return known
}

// forget counts an entry that leaves the table.
func (t *Table) forget(e Entry) {
	use := t.byKey[e.Key]
	if use.aliases--; e.Identity != SharedIdentity {
		use.named--
	}
	if t.byKey[e.Key] = use; use.aliases == 0 {
		delete(t.byKey, e.Key)
	}
	if t.byName[e.Identity]--; t.byName[e.Identity] <= 0 {
		delete(t.byName, e.Identity)
	}
}

// Get returns the entry of an alias.
func (t *Table) Get(a Alias) (Entry, bool) {
	e, ok := t.entries[a]
	return e, ok
}

// Len is the number of aliases.
func (t *Table) Len() int { return len(t.entries) }

// Keys is the number of different keys that aliases point to.
func (t *Table) Keys() int { return len(t.byKey) }

// Of is the number of aliases of an identity.
func (t *Table) Of(identity string) int { return t.byName[identity] }

// Limit is the largest number of aliases.
func (t *Table) Limit() int { return t.limit }

// Serves reports whether any alias points to the key.
func (t *Table) Serves(k PublicKey) bool { return t.byKey[k].aliases > 0 }

// HolderOf returns the identity whose clients have aliases of a key, the last one to register if there are several: SharedIdentity if only
// those of the shared secrets have, or none.
func (t *Table) HolderOf(k PublicKey) string {
	if use := t.byKey[k]; use.named > 0 {
		return use.identity
	}
	return SharedIdentity
}

// Entries lists the table by alias.
func (t *Table) Entries() []Entry { return t.After("", len(t.entries)) }

// After lists at most n entries by alias: those that follow an alias, which need not exist, and from the begin of the table if it is
// empty. The entries belong to the caller.
func (t *Table) After(a Alias, n int) []Entry {
	t.sort()
	from, found := slices.BinarySearch(t.order, a)
	if found {
		from++
	}
	some := make([]Entry, 0, min(n, len(t.order)-from))
	for _, a := range t.order[from : from+cap(some)] {
		some = append(some, t.entries[a])
	}
	return some
}

// sort completes the order. It takes time only after aliases have come or gone.
func (t *Table) sort() {
	if len(t.added) == 0 && !t.gone {
		return
	}
	t.order = append(t.order, t.added...)
	slices.Sort(t.order)
	t.order = slices.Compact(t.order) // an alias that was removed and has come again is in it twice
	t.order = slices.DeleteFunc(t.order, func(a Alias) bool { _, known := t.entries[a]; return !known })
	t.added, t.gone = nil, false
}

// ExpiredAt lists the expired entries, by alias.
func (t *Table) ExpiredAt(now time.Time) (expired []Entry) {
	for _, e := range t.entries {
		if e.Expired(now) {
			expired = append(expired, e)
		}
	}
	slices.SortFunc(expired, func(a, b Entry) int { return strings.Compare(string(a.Alias), string(b.Alias)) })
	return expired
}
