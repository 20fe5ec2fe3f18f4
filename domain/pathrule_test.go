package domain_test

import (
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestPathRules(t *testing.T) {
	one := domain.KeyPairFromSeed(domain.SeedFrom([domain.KeySize]byte{1})).Public
	other := domain.KeyPairFromSeed(domain.SeedFrom([domain.KeySize]byte{2})).Public
	var given []domain.PathRuleFor
	for _, s := range []string{"relay", one.Hex() + "=direct", one.String() + "=any"} {
		g, err := domain.ParsePathRule(s)
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, g)
	}
	r := domain.NewPathRules(given)
	if r.For(one) != domain.AnyPath || r.For(other) != domain.RelayOnly {
		t.Errorf("%v for the peer with a rule, %v for another", r.For(one), r.For(other))
	}
	if none := domain.NewPathRules(nil); none.For(one) != domain.AnyPath {
		t.Errorf("without rules: %v", none.For(one))
	}
	for _, bad := range []string{"", "relayed", "=relay", one.Hex(), one.Hex() + "=", "secret=direct"} {
		if _, err := domain.ParsePathRule(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParsePathRule(f *testing.F) {
	f.Add("relay")
	f.Add("8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo=direct")
	f.Fuzz(func(t *testing.T, text string) {
		var g domain.PathRuleFor
		var err error
		cost.Parsing.Check(t, len(text), func() { g, err = domain.ParsePathRule(text) })
		if err != nil {
			return
		}
		form := g.Rule.String()
		if g.Peer != (domain.PublicKey{}) {
			form = g.Peer.Hex() + "=" + form
		}
		if again, err := domain.ParsePathRule(form); err != nil || again != g {
			t.Errorf("%q read back as %v, %v", form, again, err)
		}
	})
}
