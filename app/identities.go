package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// identitiesOf checks the secrets and identities of a configuration.
func identitiesOf(shared []domain.Secret, named []domain.Identity) (domain.Identities, error) {
	var p problems
	p.must(len(shared)+len(named) > 0, "Secrets", "want at least one 32-byte secret shared with the clients, or Identities")
	for i, s := range shared {
		p.must(!s.IsZero(), fmt.Sprintf("Secrets[%d]", i), "want 32 bytes, not all zero")
	}
	if err := p.err(); err != nil {
		return domain.Identities{}, err
	}
	all, err := domain.NewIdentities(shared, named)
	if err != nil {
		return domain.Identities{}, &ConfigError{Field: "Identities", Want: err.Error()}
	}
	return all, nil
}

// SetSecrets replaces the valid secrets of clients without an identity. Connections authorized by an old one stay; their next request
// needs a valid one.
func (s *Scraper) SetSecrets(secrets []domain.Secret) error {
	return s.SetIdentities(secrets, s.Identities())
}

// SetIdentities replaces the valid secrets of clients without an identity, and the identities. The aliases of identities that are gone,
// or have another ID, are removed.
func (s *Scraper) SetIdentities(shared []domain.Secret, named []domain.Identity) error {
	next, err := identitiesOf(shared, named)
	if err != nil {
		return err
	}
	before, old := s.Fingerprints(), s.registry.identities
	s.registry.identities = next
	if after := s.Fingerprints(); !slices.Equal(before, after) {
		tell(s.cfg.OnEvent, domain.SecretsChanged{Fingerprints: after})
	}
	for _, i := range old.All() {
		if !next.Has(i) && i.Name != domain.SharedIdentity {
			delete(s.registry.counts, i.Name)
			s.registry.gate.forget()
			tell(s.cfg.OnEvent, domain.IdentityRevoked{Name: i.Name, Aliases: s.table.Of(i.Name)})
		}
	}
	for _, i := range next.All() {
		if !old.Has(i) && i.Name != domain.SharedIdentity {
			tell(s.cfg.OnEvent, domain.IdentityAdded{Name: i.Name})
		}
	}
	s.dropRevoked(s.table.Entries())
	return nil
}

// Secrets lists the valid secrets of clients without an identity.
func (s *Scraper) Secrets() []domain.Secret {
	shared, _ := s.registry.identities.Get(domain.SharedIdentity)
	return slices.Clone(shared.Secrets)
}

// Identities lists the identities by name, without that of the clients that have none.
func (s *Scraper) Identities() []domain.Identity {
	var all []domain.Identity
	for _, i := range s.registry.identities.All() {
		if i.Name != domain.SharedIdentity {
			all = append(all, i.Clone())
		}
	}
	return all
}

// revoked reports whether the identity of an entry is not configured, or may not register its alias any more. The entries of shared
// secrets expire, as after a rotation.
func (s *Scraper) revoked(e domain.Entry) bool {
	if e.Identity == domain.SharedIdentity {
		return false
	}
	i, ok := s.registry.identities.Get(e.Identity)
	return !ok || i.ID != e.IdentityID || !i.Allows(e.Alias)
}

// dropRevoked removes those entries of the table whose identity is revoked. One that is being written is removed after that.
func (s *Scraper) dropRevoked(entries []domain.Entry) {
	if !s.leads() {
		return // the leader does, with identities of the same files
	}
	var gone []domain.Alias
	for _, e := range entries {
		if s.revoked(e) && !s.registry.pendingFor(e.Alias) {
			gone = append(gone, e.Alias)
			s.registry.vanish(e.Alias)
			s.remove(e)
		}
	}
	if len(gone) > 0 {
		s.cfg.Store.Delete(gone, s.storeDone)
	}
}

// checkStored returns an error if a configuration without identities would remove the stored aliases of some.
func (s *Scraper) checkStored(entries []domain.Entry) error {
	names := map[string]int{}
	for _, e := range entries {
		if e.Identity != domain.SharedIdentity {
			names[e.Identity]++
		}
	}
	if s.cfg.Identities != nil || len(names) == 0 {
		return nil
	}
	const shown = 3
	all := slices.Sorted(maps.Keys(names))
	more := ""
	if len(all) > shown {
		more = fmt.Sprintf(" and %d more", len(all)-shown)
	}
	return fmt.Errorf("%w: those of %s%s", domain.ErrNoIdentities, strings.Join(all[:min(len(all), shown)], ", "), more)
}

// revokeStored removes the stored aliases of identities that were revoked while the scraper was stopped.
func (s *Scraper) revokeStored(entries []domain.Entry) {
	gone := map[string]int{}
	for _, e := range entries {
		if e.Identity != domain.SharedIdentity && !s.registry.identities.Has(domain.Identity{Name: e.Identity, ID: e.IdentityID}) {
			gone[e.Identity]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		tell(s.cfg.OnEvent, domain.IdentityRevoked{Name: name, Aliases: gone[name]})
	}
	s.dropRevoked(entries)
}

// written removes those aliases whose identity was revoked while they were written.
func (s *Scraper) written(aliases ...domain.Alias) {
	var entries []domain.Entry
	for _, a := range aliases {
		if e, ok := s.table.Get(a); ok {
			entries = append(entries, e)
		}
	}
	s.dropRevoked(entries)
}

// labelsOf returns the labels of an identity.
func (s *Scraper) labelsOf(identity string) domain.Labels {
	i, _ := s.registry.identities.Get(identity)
	return i.Labels
}

// identityCounts counts what the clients of an identity did.
type identityCounts struct{ registrations, rejected uint64 }

// IdentityStatus lists the identities by name. That of the clients without an identity is the first, if they have a valid secret.
func (s *Scraper) IdentityStatus() []domain.IdentityStatus {
	all := make([]domain.IdentityStatus, 0, len(s.registry.identities.All()))
	for at, i := range s.registry.identities.All() {
		status := domain.IdentityStatus{Name: i.Name, Fingerprints: s.registry.identities.Fingerprints(at), Patterns: i.Aliases, Labels: i.Labels, Aliases: s.table.Of(i.Name)}
		if n := s.registry.counts[i.Name]; n != nil {
			status.Registrations, status.Rejected = n.registrations, n.rejected
		}
		all = append(all, status)
	}
	return all
}

// countsOf returns the counts of an identity, and none that count where it was revoked meanwhile.
func (s *Scraper) countsOf(id domain.Identity) *identityCounts {
	n := s.registry.counts[id.Name]
	if !s.registry.identities.Has(id) && id.Name != domain.SharedIdentity {
		return &identityCounts{}
	}
	if n == nil {
		n = &identityCounts{}
		s.registry.counts[id.Name] = n
	}
	return n
}

// permits returns an error if an identity may not register an alias: by its patterns, or because the alias belongs to another identity. A
// client may move an alias from the shared secrets to an identity, not back.
func (s *Scraper) permits(id domain.Identity, a domain.Alias, old domain.Entry, known bool) error {
	switch {
	case !id.Allows(a):
		return domain.ErrNotAllowed
	case s.foreign(id, old, known):
		return domain.ErrOtherIdentity
	}
	return nil
}

// foreign reports whether a live entry belongs to an identity that id may not replace.
func (s *Scraper) foreign(id domain.Identity, old domain.Entry, known bool) bool {
	return known && old.Identity != domain.SharedIdentity && old.Identity != id.Name && !s.revoked(old) && !s.expired(old)
}

// needsProof reports whether a registration lacks the proof of its key: clients of another identity have aliases of it. Otherwise the
// alias decides.
func (rg *registry) needsProof(r ports.AliasRequest, id domain.Identity) bool {
	if r.Proven || !rg.foreignKey(r.Key, id) {
		return false
	}
	old, known := rg.current(r.Alias)
	return rg.scraper.permits(id, r.Alias, old, known) == nil
}

// foreignKey reports whether clients of another identity have aliases of a key, those that are being written included.
func (rg *registry) foreignKey(key domain.PublicKey, id domain.Identity) bool {
	if holder := rg.scraper.table.HolderOf(key); holder != domain.SharedIdentity {
		return holder != id.Name
	}
	for _, p := range rg.pending {
		if e := p.entry; e.Key == key && !p.gone && e.Identity != domain.SharedIdentity && e.Identity != id.Name {
			return true
		}
	}
	return false
}

// mayLeave reports whether a secret may send the goodbye of an alias, or of a set: only one that may register it.
func (rg *registry) mayLeave(r domain.Register, id domain.Identity) bool {
	if r.Alias != "" {
		old, known := rg.entryOf(r.Alias, r.Key)
		return rg.scraper.permits(id, r.Alias, old, known) == nil
	}
	set := rg.sets[r.Key]
	if set == nil {
		return true
	}
	for t := range set.targets.All() {
		if e, known := rg.entryOf(t.Alias, r.Key); known && e.Key == r.Key && rg.scraper.permits(id, t.Alias, e, known) != nil {
			return false
		}
	}
	return true
}

// entryOf returns the newest entry of an alias, or that of the table if the newest one is not the client's.
func (rg *registry) entryOf(a domain.Alias, key domain.PublicKey) (domain.Entry, bool) {
	if e, known := rg.current(a); known && e.Key == key {
		return e, true
	}
	return rg.scraper.table.Get(a)
}

// refusal is an error of a registration with its reason.
type refusal struct {
	err    error
	reason string
}

// refusals are the errors of registrations that an operator may want to know of, with their reasons.
var refusals = []refusal{
	{domain.ErrPinned, domain.ReasonPinned},
	{domain.ErrNotAllowed, domain.ReasonNotAllowed},
	{domain.ErrOtherIdentity, domain.ReasonIdentity},
	{domain.ErrKeyOfIdentity, domain.ReasonIdentity},
}

// refusalReason returns the reason of such an error, or "".
func refusalReason(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ""
}

// reject counts a rejected registration, or a rejected target of one.
func (rg *registry) reject(id domain.Identity, reason string) {
	rg.scraper.stats.Rejected[reason]++
	rg.scraper.countsOf(id).rejected++
}

// accept counts a registration.
func (rg *registry) accept(id domain.Identity) {
	rg.scraper.stats.Registrations++
	rg.scraper.countsOf(id).registrations++
}
