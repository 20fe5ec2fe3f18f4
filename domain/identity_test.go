package domain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func identity(name string, secrets ...byte) domain.Identity {
	i := domain.Identity{Name: name}
	for _, n := range secrets {
		i.Secrets = append(i.Secrets, domain.SecretFrom([32]byte{n}))
	}
	return i
}

func TestPatternsMatchAliases(t *testing.T) {
	for _, c := range []struct {
		pattern, alias string
		want           bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"a", "b", false},
		{"*", "anything/at all", true},
		{"site7/*", "site7/a/b", true},
		{"site7/*", "site7/", true},
		{"site7/*", "site7", false},
		{"*-gate", "north-gate", true},
		{"*-gate", "north-gates", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false}, // the parts do not overlap
		{"a*a", "aa", true},
		{"*ab*ab", "xabab", true},
		{"*ab*ab", "xab", false},
		{"**", "x", true},
		{"[a]?", "[a]?", true}, // all others stand for themselves
		{"[a]?", "ab", false},
	} {
		if got := domain.AliasPattern(c.pattern).Matches(domain.Alias(c.alias)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.alias, got)
		}
	}
}

// Matches costs no more than the lengths of the pattern and of the alias multiplied, and agrees with a plain definition.
func FuzzAliasPattern(f *testing.F) {
	f.Add("site7/*", "site7/a")
	f.Add("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, pattern, alias string) {
		if len(pattern) > 64 || len(alias) > 64 {
			return // the plain definition takes too long
		}
		var p domain.AliasPattern
		var err error
		cost.Parsing.Check(t, len(pattern), func() { p, err = domain.ParseAliasPattern(pattern) })
		if err != nil {
			return
		}
		if got, want := p.Matches(domain.Alias(alias)), matches(pattern, alias); got != want {
			t.Errorf("%q matches %q: %v", pattern, alias, got)
		}
	})
}

// matches fills a table of prefixes.
func matches(pattern, alias string) bool {
	fits := make([]bool, len(alias)+1) // that prefix of the alias, by what was read of the pattern
	fits[0] = true
	for _, c := range []byte(pattern) {
		next := make([]bool, len(fits))
		for i := range fits {
			switch {
			case c == '*':
				next[i] = fits[i] || i > 0 && next[i-1]
			case i > 0:
				next[i] = fits[i-1] && alias[i-1] == c
			}
		}
		fits = next
	}
	return fits[len(alias)]
}

func TestSecretsNameTheirIdentity(t *testing.T) {
	is, err := domain.NewIdentities([]domain.Secret{domain.SecretFrom([32]byte{1}), domain.SecretFrom([32]byte{2})}, []domain.Identity{identity("b", 3, 4), identity("a", 5)})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[byte]string{1: "", 2: "", 3: "b", 4: "b", 5: "a"} {
		if got, ok := is.Find(domain.SecretFrom([32]byte{n})); !ok || got.Name != want {
			t.Errorf("secret %d is of %q, %v", n, got.Name, ok)
		}
	}
	for _, wrong := range []domain.Secret{{}, domain.SecretFrom([32]byte{9})} {
		if got, ok := is.Find(wrong); ok {
			t.Errorf("a wrong secret is of %q", got.Name)
		}
	}
	if _, ok := (domain.Identities{}).Find(domain.Secret{}); ok {
		t.Error("a secret is valid without identities")
	}
	if got, ok := is.Get("b"); !ok || len(got.Secrets) != 2 || len(is.All()) != 3 {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := is.Get("c"); ok {
		t.Error("there is an identity that was not given")
	}
}

func TestIdentityNames(t *testing.T) {
	for name, want := range map[string]bool{
		"site7": true, "A.b_c-9": true, strings.Repeat("x", domain.MaxIdentityName): true, "_": true,
		strings.Repeat("y", 52): false, strings.Repeat("ab", 32): false, // secrets
		"": false, "shared": false, "a b": false, "ä": false, "-a": false, ".a": false, "a/b": false, strings.Repeat("x", domain.MaxIdentityName+1): false,
	} {
		err := domain.CheckIdentityName(name)
		if (err == nil) != want || err != nil && !errors.Is(err, domain.ErrIdentity) {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), strings.Repeat("ab", 32)) {
			t.Errorf("the error quotes a secret: %v", err)
		}
	}
}

func TestLabelsOfAnIdentityReplaceThoseOfATarget(t *testing.T) {
	parse := func(of map[string]string) domain.Labels {
		l, err := domain.ParseLabels(of)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	own, none := parse(map[string]string{"site": "x", "b": "1"}), domain.Labels{}
	if got, want := own.With(parse(map[string]string{"site": "7", "a": "2"})), parse(map[string]string{"a": "2", "b": "1", "site": "7"}); got != want {
		t.Errorf("%v", got)
	}
	if own.With(none) != own || none.With(own) != own || none.With(none) != none {
		t.Error("no labels change some")
	}
}

func TestEntryNamesAnIdentity(t *testing.T) {
	e := reg("a", 1, "h", "s").Entry(domain.Entry{}, noon, 0)
	moved := e
	moved.Identity = "site7"
	if moved.Check() != nil || !moved.ChangeFrom(e).Updated {
		t.Error("an identity is no part of an entry")
	}
	moved.Identity = "shared"
	if !errors.Is(moved.Check(), domain.ErrIdentity) {
		t.Error("a reserved name is accepted")
	}
}
