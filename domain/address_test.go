package domain_test

import (
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestAddressesAreIPv4AddressesOrNamesWithAPort(t *testing.T) {
	for _, text := range []string{"192.0.2.10:443", "scraper.example.com:53", "Scraper:1", "a-b_c.example.:65535", "xn--bcher-kva.example:443"} {
		if a, err := domain.ParseAddress(text); err != nil || a.String() != text || a.IsZero() {
			t.Errorf("%s: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{
		"", ":", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:x", "a b:1", "[::1]:1", "::1:1", "0.0.0.0:1", "1.2.3:1", "12:1", "x@a:1", "a/b:1",
		".a:1", "a..b:1", "é.example:1", "a\x00:1", strings.Repeat("a", 254) + ":1",
	} {
		if a, err := domain.ParseAddress(text); err == nil || a != (domain.Address{}) {
			t.Errorf("%q is %v", text, a)
		}
	}
}

func TestReferencesAreKeysWithAnAddressOrWithout(t *testing.T) {
	key := seeded(1).Public
	for text, want := range map[string]domain.Reference{
		key.String():                      {Key: key},
		key.String() + "@s.example:443":   {Key: key, Addr: domain.Address{Host: "s.example", Port: 443}},
		key.String() + "@192.0.2.1:49737": {Key: key, Addr: domain.Address{Host: "192.0.2.1", Port: 49737}},
	} {
		if r, err := domain.ParseReference(text); err != nil || r != want || r.String() != text {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	if r, err := domain.ParseReference(key.Hex() + "@s.example:443"); err != nil || r.Key != key {
		t.Errorf("as hex: %v, %v", r, err)
	}
	for _, text := range []string{"", "@", "x@a:1", key.String() + "@", key.String() + "@a", key.String() + "@a:1@b:1"} {
		if r, err := domain.ParseReference(text); err == nil {
			t.Errorf("%q is %v", text, r)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	key := seeded(1).Public.String()
	for _, text := range []string{"", key, key + "@scraper.example:443", key + "@192.0.2.1:443", key + "@[::1]:1", "x@y:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r domain.Reference
		var err error
		cost.Parsing.Check(t, len(text), func() { r, err = domain.ParseReference(text) })
		if err != nil {
			return
		}
		if again, err := domain.ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%v became %v, %v", r, again, err)
		}
	})
}
