package domain_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

func target(alias string) domain.Target {
	return domain.Target{Alias: domain.Alias(alias), Hostname: "h"}
}

func setOf(t *testing.T, targets ...domain.Target) domain.TargetSet {
	t.Helper()
	s, err := domain.NewTargetSet(targets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetIsTheSameInAnyOrder(t *testing.T) {
	a, b := setOf(t, target("b"), target("a")), setOf(t, target("a"), target("b"))
	if a.Revision() != b.Revision() || !slices.Equal(slices.Collect(a.All()), slices.Collect(b.All())) || a.Len() != 2 {
		t.Errorf("%v and %v", a, b)
	}
	if got, ok := a.Get("b"); !ok || got != target("b") {
		t.Errorf("b is %v, %v", got, ok)
	}
	if _, ok := a.Get("c"); ok {
		t.Error("there is a c")
	}
}

func TestEachFieldOfATargetMakesAnotherRevision(t *testing.T) {
	labels, err := domain.ParseLabels(map[string]string{"rack": "7"})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := domain.ParseFields([]string{"X-Tenant"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[domain.Revision]domain.Target{{}: {}}
	for _, change := range []func(*domain.Target){
		func(*domain.Target) {},
		func(t *domain.Target) { t.Alias = "ah"; t.Hostname = "" }, // the same bytes in a row
		func(t *domain.Target) { t.Hostname = "i" },
		func(t *domain.Target) { t.Service = "s" },
		func(t *domain.Target) { t.Label = "s" },
		func(t *domain.Target) { t.Labels = labels },
		func(t *domain.Target) { t.Fields = fields },
	} {
		one := target("a")
		change(&one)
		r := setOf(t, one).Revision()
		if other, ok := seen[r]; ok {
			t.Errorf("%+v and %+v have one revision", one, other)
		}
		seen[r] = one
	}
	if r := (domain.TargetSet{}).Revision(); !r.IsZero() || setOf(t).Revision().IsZero() {
		t.Error("an empty set has no revision, or none has one")
	}
}

func TestSetWithTheDifferenceIsTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func() domain.TargetSet {
		var all []domain.Target
		for i := range 12 {
			if random.IntN(2) == 0 {
				one := target(fmt.Sprint("t", i))
				one.Service = fmt.Sprint(random.IntN(2))
				all = append(all, one)
			}
		}
		return setOf(t, all...)
	}
	for range 200 {
		base, next := draw(), draw()
		changed, gone := next.Diff(base)
		got, err := base.With(changed, gone)
		if err != nil || got.Revision() != next.Revision() {
			t.Fatalf("%v with %v and without %v is %v, %v; want %v", base, changed, gone, got, err, next)
		}
		for _, c := range changed {
			if old, ok := base.Get(c.Alias); ok && old == c {
				t.Errorf("%v has not changed", c)
			}
		}
	}
}

func TestSetsThatCannotBeAreErrors(t *testing.T) {
	many := make([]domain.Target, domain.MaxTargets+1)
	for i := range many {
		many[i] = target(fmt.Sprint(i))
	}
	if setOf(t, many[1:]...).Len() != domain.MaxTargets {
		t.Error("the largest set is smaller")
	}
	for want, targets := range map[string][]domain.Target{
		"5001 targets, want at most 5000": many,
		`duplicate alias "a"`:             {target("a"), target("b"), target("a")},
		`target "": alias is empty`:       {target("")},
		"hostname is":                     {{Alias: "a", Hostname: strings.Repeat("h", domain.MaxHostname+1)}},
		"service has the character":       {{Alias: "a", Service: "a\nb"}},
		"label instance is":               {{Alias: "a", Label: strings.Repeat("h", domain.MaxLabelValue+1)}},
	} {
		if _, err := domain.NewTargetSet(targets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestFieldsAreNamesThatCanBePassedOn(t *testing.T) {
	f, err := domain.ParseFields([]string{"x-tenant", "Authorization", "X-TENANT"})
	if err != nil || f.Len() != 2 || !slices.Equal(slices.Collect(f.All()), []string{"Authorization", "X-Tenant"}) || f.String() != "Authorization,X-Tenant" {
		t.Errorf("%v, %v", f, err)
	}
	if none, err := domain.ParseFields(nil); err != nil || none != (domain.Fields{}) || none.Len() != 0 || len(slices.Collect(none.All())) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	for _, name := range []string{"", "a b", "a,b", "a:b", "ü", strings.Repeat("x", domain.MaxFieldName+1), "host", "Content-Length", "connection", "x-prometheus-scrape-timeout-seconds"} {
		if _, err := domain.ParseFields([]string{name}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	if _, err := domain.ParseFields(make([]string, domain.MaxFields+1)); err == nil {
		t.Error("too many are accepted")
	}
}
