package domain

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Identity is a group of clients with secrets of its own. Its aliases are not registered with the secrets of others.
type Identity struct {
	Name    string         // SharedIdentity for the secrets of all other clients
	ID      IdentityID     // differs from that of a former identity with the name
	Secrets []Secret       // each of them is valid, so that they can be rotated
	Aliases []AliasPattern // that it may register; none means all
	Labels  Labels         // of its targets in Prometheus; they replace those of the client
}

// IdentityID distinguishes the identities that have had one name, one after the other: the aliases of a revoked one are not those of the
// one that was added after it. The zero IdentityID does not.
type IdentityID uint64

// idDigits is the length of an IdentityID as text, in hexadecimal.
const idDigits = 16

// String is hexadecimal.
func (i IdentityID) String() string { return fmt.Sprintf("%0*x", idDigits, uint64(i)) }

// MarshalText is String.
func (i IdentityID) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText parses the form of String. Its error does not quote the text, which may be a secret.
func (i *IdentityID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || len(text) != idDigits {
		return fmt.Errorf("id of an identity: want %d hexadecimal digits", idDigits)
	}
	*i = IdentityID(n)
	return nil
}

// SharedIdentity is the identity of the clients that register with a scraper's own secrets. All aliases of earlier versions have it.
const SharedIdentity = ""

// sharedName names SharedIdentity where people read it.
const sharedName = "shared"

const (
	// MaxIdentities bounds the identities of a scraper.
	MaxIdentities = 4096
	// MaxIdentityName bounds the name of an identity, in bytes.
	MaxIdentityName = 63
	// maxPatterns bounds the patterns of an identity, which all targets of a set are compared with, and maxSecrets its secrets, which
	// each registration is.
	maxPatterns = 64
	maxSecrets  = 16
)

// ErrIdentity is matched by every error about an identity's own fields.
var ErrIdentity = errors.New("invalid identity")

// ErrNoIdentities reports a configuration without identities beside stored aliases of some, which it would remove.
var ErrNoIdentities = errors.New("no identities are configured, but aliases of identities are stored")

// ErrNotAllowed rejects an alias that the identity of its client may not register.
var ErrNotAllowed = errors.New("the secret does not allow the alias")

// ErrOtherIdentity rejects an alias that a client with another identity has.
var ErrOtherIdentity = errors.New("the alias belongs to another identity")

// ErrKeyOfIdentity rejects a key that clients of another identity have, if the client has not proven that it holds it: the metrics behind it
// would be scraped under an alias of its identity.
var ErrKeyOfIdentity = errors.New("the key belongs to a client of another identity, and the request has no proof of holding it")

// IdentityTitle names an identity for people: "shared" is that of the scraper's own secrets.
func IdentityTitle(name string) string {
	if name == SharedIdentity {
		return sharedName
	}
	return name
}

// CheckIdentityName checks the name of an identity. It becomes a label value, a word of commands and a part of file names.
func CheckIdentityName(name string) error {
	if _, err := ParseSecret(name); err == nil {
		return fmt.Errorf("%w: the name is a secret", ErrIdentity) // not quoted
	}
	if name == "" || len(name) > MaxIdentityName || strings.ContainsFunc(name, notInName) || name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("%w: name %.80q: want 1 to %d letters, digits, dots, hyphens and underscores of ASCII, the first a letter, a digit or an underscore", ErrIdentity, name, MaxIdentityName)
	}
	if name == sharedName {
		return fmt.Errorf("%w: the name %q is that of the clients without an identity", ErrIdentity, name)
	}
	return nil
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}

// Check checks an identity of a configuration.
func (i Identity) Check() error {
	if err := CheckIdentityName(i.Name); err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: "+format, append([]any{ErrIdentity, i.Name}, args...)...)
	}
	if len(i.Secrets) == 0 {
		return bad("no secret")
	}
	if len(i.Secrets) > maxSecrets {
		return bad("%d secrets, want at most %d", len(i.Secrets), maxSecrets)
	}
	if slices.ContainsFunc(i.Secrets, Secret.IsZero) {
		return bad("a secret is zero")
	}
	if len(i.Aliases) > maxPatterns {
		return bad("%d patterns of aliases, want at most %d", len(i.Aliases), maxPatterns)
	}
	for _, p := range i.Aliases {
		if _, err := ParseAliasPattern(string(p)); err != nil {
			return bad("%w", err)
		}
	}
	for name := range i.Labels.All() {
		if strings.HasPrefix(name, "__") {
			return bad("label %s: labels with two leading underscores are set for each target", name)
		}
	}
	return nil
}

// Clone returns an identity that shares nothing with this one.
func (i Identity) Clone() Identity {
	i.Secrets, i.Aliases = slices.Clone(i.Secrets), slices.Clone(i.Aliases)
	return i
}

// Patterns lists the patterns of the aliases as text.
func (i Identity) Patterns() string {
	all := make([]string, len(i.Aliases))
	for n, p := range i.Aliases {
		all[n] = string(p)
	}
	return strings.Join(all, " ")
}

// Allows reports whether the identity may register an alias.
func (i Identity) Allows(a Alias) bool {
	return len(i.Aliases) == 0 || slices.ContainsFunc(i.Aliases, func(p AliasPattern) bool { return p.Matches(a) })
}

// Fingerprints identify the secrets without revealing them.
func (i Identity) Fingerprints() []string {
	all := make([]string, len(i.Secrets))
	for n, s := range i.Secrets {
		all[n] = s.Fingerprint()
	}
	return all
}

// AliasPattern matches aliases. An asterisk stands for any number of characters, slashes included; all others stand for themselves.
type AliasPattern string

// ParseAliasPattern checks a pattern: it has the characters and the length of an alias.
func ParseAliasPattern(text string) (AliasPattern, error) {
	if _, err := ParseAlias(text); err != nil {
		return "", fmt.Errorf("pattern of aliases: %w", err)
	}
	return AliasPattern(text), nil
}

// Matches reports whether the pattern matches an alias. It takes time in proportion to their lengths multiplied.
func (p AliasPattern) Matches(a Alias) bool {
	text := string(a)
	first, rest, more := strings.Cut(string(p), "*")
	text, ok := strings.CutPrefix(text, first)
	if !more || !ok {
		return ok && text == ""
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text, rest = text[at+len(part):], next
	}
}

// Identities are the identities of a scraper. The zero Identities accept no secret.
type Identities struct {
	prints  [][]string                           // fingerprints of the secrets, like all
	all     []Identity                           // by name, the shared one first if there is one
	secrets map[[sha256.Size]byte]identitySecret // by the hash of the secret
}

type identitySecret struct {
	secret Secret
	of     int // index in all
}

// hashOf hashes a secret. The time of a lookup by hash reveals nothing of a secret, since no text of a chosen hash can be found.
func hashOf(s Secret) [sha256.Size]byte {
	plain := s.reveal()
	return sha256.Sum256(plain[:])
}

// NewIdentities returns the identities with the given names, and the shared one if there are shared secrets.
func NewIdentities(shared []Secret, named []Identity) (Identities, error) {
	if len(named) > MaxIdentities {
		return Identities{}, fmt.Errorf("%w: %d identities, want at most %d", ErrIdentity, len(named), MaxIdentities)
	}
	is := Identities{secrets: map[[sha256.Size]byte]identitySecret{}}
	if len(shared) > 0 {
		is.all = append(is.all, Identity{Name: SharedIdentity, Secrets: slices.Clone(shared)})
	}
	for _, i := range slices.SortedFunc(slices.Values(named), func(a, b Identity) int { return strings.Compare(a.Name, b.Name) }) {
		is.all = append(is.all, i.Clone())
	}
	for n, i := range is.all {
		is.prints = append(is.prints, i.Fingerprints())
		if i.Name != SharedIdentity {
			if err := i.Check(); err != nil {
				return Identities{}, err
			}
			if n > 0 && is.all[n-1].Name == i.Name {
				return Identities{}, fmt.Errorf("%w: there are two with the name %s", ErrIdentity, i.Name)
			}
		}
		for _, s := range i.Secrets {
			hash := hashOf(s)
			if other, used := is.secrets[hash]; used && other.of != n {
				return Identities{}, fmt.Errorf("%w: %s and %s have the same secret", ErrIdentity, IdentityTitle(is.all[other.of].Name), i.Name)
			}
			is.secrets[hash] = identitySecret{s, n}
		}
	}
	return is, nil
}

// All lists the identities by name.
func (is Identities) All() []Identity { return is.all }

// Fingerprints identify the secrets of the identity at an index of All. They were computed with the identities, and must not be changed.
func (is Identities) Fingerprints(at int) []string { return is.prints[at] }

// Get returns the identity with a name.
func (is Identities) Get(name string) (Identity, bool) {
	at, ok := slices.BinarySearchFunc(is.all, name, func(i Identity, name string) int { return strings.Compare(i.Name, name) })
	if !ok {
		return Identity{}, false
	}
	return is.all[at], true
}

// Has reports whether they contain an identity: one with its name and ID.
func (is Identities) Has(i Identity) bool {
	same, ok := is.Get(i.Name)
	return ok && same.ID == i.ID
}

// Find returns the identity of a secret. The time it takes depends neither on the number of identities nor on how much of a secret is correct.
func (is Identities) Find(s Secret) (Identity, bool) {
	v, ok := is.secrets[hashOf(s)]
	plain, given := v.secret.reveal(), s.reveal()
	if subtle.ConstantTimeCompare(plain[:], given[:]) == 0 || !ok {
		return Identity{}, false
	}
	return is.all[v.of], true
}
