package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Target is one of the targets behind a client, as its scrapers know it. It is comparable.
type Target struct {
	Alias    Alias
	Hostname string
	Service  string
	Label    string // its label instance; empty for the alias
	Labels   Labels // of the operator
	Fields   Fields // of a caller's header that the target asks for
}

// Check validates a target from the network, a file or a configuration.
func (t Target) Check() error {
	if _, err := ParseAlias(string(t.Alias)); err != nil {
		return err
	}
	if err := CheckHostname(t.Hostname); err != nil {
		return err
	}
	if err := CheckService(t.Service); err != nil {
		return err
	}
	return CheckInstanceLabel(t.Label)
}

// TargetSet is all targets behind a client. It is immutable; the zero value is empty.
type TargetSet struct {
	targets  []Target // by alias
	revision Revision
}

// Revision identifies the content of a set. The zero Revision is of none.
type Revision [sha256.Size]byte

// String is the first half in hexadecimal.
func (r Revision) String() string { return hex.EncodeToString(r[:len(r)/2]) }

// IsZero reports whether it is of no set.
func (r Revision) IsZero() bool { return r == Revision{} }

// ErrSet is matched by every error about a set as a whole.
var ErrSet = errors.New("invalid set of targets")

// NewTargetSet returns the set of some targets, which may be in any order. It fails with the first target that is invalid or whose alias
// another one has, and if there are more than MaxTargets.
func NewTargetSet(targets []Target) (TargetSet, error) {
	if len(targets) > MaxTargets {
		return TargetSet{}, fmt.Errorf("%w: %d targets, want at most %d", ErrSet, len(targets), MaxTargets)
	}
	s := TargetSet{targets: slices.SortedFunc(slices.Values(targets), func(a, b Target) int { return strings.Compare(string(a.Alias), string(b.Alias)) })}
	for i, t := range s.targets {
		if err := t.Check(); err != nil {
			return TargetSet{}, fmt.Errorf("%w: target %q: %w", ErrSet, clipName(string(t.Alias)), err)
		}
		if i > 0 && s.targets[i-1].Alias == t.Alias {
			return TargetSet{}, fmt.Errorf("%w: duplicate alias %q", ErrSet, t.Alias)
		}
	}
	s.revision = revisionOf(s.targets)
	return s, nil
}

// Len is the number of targets.
func (s TargetSet) Len() int { return len(s.targets) }

// All returns the targets by alias.
func (s TargetSet) All() iter.Seq[Target] { return slices.Values(s.targets) }

// Revision identifies the content: equal sets have equal revisions.
func (s TargetSet) Revision() Revision { return s.revision }

// Get returns the target with an alias.
func (s TargetSet) Get(a Alias) (Target, bool) {
	i, ok := slices.BinarySearchFunc(s.targets, a, func(t Target, a Alias) int { return strings.Compare(string(t.Alias), string(a)) })
	if !ok {
		return Target{}, false
	}
	return s.targets[i], true
}

// Diff returns the targets that are new or changed since an earlier set, and the aliases that are no longer there, by alias.
func (s TargetSet) Diff(base TargetSet) (changed []Target, gone []Alias) {
	for _, t := range s.targets {
		if old, ok := base.Get(t.Alias); !ok || old != t {
			changed = append(changed, t)
		}
	}
	for _, t := range base.targets {
		if _, ok := s.Get(t.Alias); !ok {
			gone = append(gone, t.Alias)
		}
	}
	return changed, gone
}

// With is the inverse of Diff: the set after a change. Aliases that are gone and were not there are no error.
func (s TargetSet) With(changed []Target, gone []Alias) (TargetSet, error) {
	replaced := map[Alias]bool{}
	for _, a := range gone {
		replaced[a] = true
	}
	for _, t := range changed {
		replaced[t.Alias] = true
	}
	next := slices.DeleteFunc(slices.Clone(s.targets), func(t Target) bool { return replaced[t.Alias] })
	return NewTargetSet(append(next, changed...))
}

// revisionOf hashes all fields, each behind its length.
func revisionOf(targets []Target) (r Revision) {
	h := sha256.New()
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, t := range targets {
		b = b[:0]
		text(string(t.Alias))
		text(t.Hostname)
		text(t.Service)
		text(t.Label)
		text(t.Labels.text)
		text(t.Fields.text)
		_, _ = h.Write(b) // never fails
	}
	h.Sum(r[:0])
	return r
}

// Fields are names of header fields, each in its canonical form, sorted. They are immutable and comparable; the zero value has none.
type Fields struct{ text string }

// ParseFields checks the names of header fields of a caller that a target asks for. Fields of the connection, and those that a scraper or
// client sets itself, cannot be passed on.
func ParseFields(names []string) (Fields, error) {
	if len(names) > MaxFields {
		return Fields{}, fmt.Errorf("%d header fields, want at most %d", len(names), MaxFields)
	}
	all := make([]string, 0, len(names))
	for _, name := range names {
		if name == "" || len(name) > MaxFieldName || strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }) {
			return Fields{}, fmt.Errorf("header field %q: want a name of letters, digits and hyphens of at most %d bytes", clipName(name), MaxFieldName)
		}
		name = canonicalField(name)
		if slices.Contains(keptFields, name) {
			return Fields{}, fmt.Errorf("header field %s belongs to the connection and is not passed on", name)
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return Fields{strings.Join(slices.Compact(all), fieldSeparator)}, nil
}

const fieldSeparator = ","

// keptFields are the fields that concern one connection (RFC 9110, section 7.6.1), and those that both ends set themselves.
var keptFields = []string{
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "X-Prometheus-Scrape-Timeout-Seconds",
}

// isToken reports whether the name of a header field may have a character (RFC 9110, section 5.6.2).
func isToken(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// canonicalField returns the form of the name of a header field that the standard library uses: X-Tenant.
func canonicalField(name string) string {
	b := []byte(strings.ToLower(name))
	for i := range b {
		if i == 0 || b[i-1] == '-' {
			b[i] = byte(unicode.ToUpper(rune(b[i])))
		}
	}
	return string(b)
}

// All returns the names.
func (f Fields) All() iter.Seq[string] {
	if f.text == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(f.text, fieldSeparator)
}

// Len is the number of names.
func (f Fields) Len() int {
	if f.text == "" {
		return 0
	}
	return 1 + strings.Count(f.text, fieldSeparator)
}

// String has the names with commas between them.
func (f Fields) String() string { return f.text }

// RejectedTarget is a target of a set that a scraper did not take.
type RejectedTarget struct {
	Alias  Alias
	Reason string // one of RejectionReasons
}

// RegisterSet is a request to map the aliases of a set to a key.
type RegisterSet struct {
	Key      PublicKey
	Instance Instance // of the client process that registers
	Set      TargetSet
}

// Entry returns the entry of a target of the set, as Register.Entry does for a single one.
func (r RegisterSet) Entry(t Target, current Entry, now time.Time, expiry time.Duration) Entry {
	e := Register{Alias: t.Alias, Key: r.Key, Hostname: t.Hostname, Service: t.Service, Instance: r.Instance}.Entry(current, now, expiry)
	e.InSet, e.Label, e.Labels, e.Fields = true, t.Label, t.Labels, t.Fields
	return e
}

// SetChange replaces the entries of a client's set. All of it takes effect at once, or nothing.
type SetChange struct {
	Client PublicKey
	Put    []Entry // those that are new, changed or renewed
	Delete []Alias // those that are gone
	Pins   []Pin   // that move to the client with their aliases
}
