package domain_test

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

func seeded(n byte) domain.KeyPair { return domain.KeyPairFromSeed(domain.SeedFrom([32]byte{n})) }

func invites() map[string]domain.Invite {
	full := domain.Invite{
		Scraper: seeded(1).Public, Secret: domain.SecretFrom([32]byte{4, 5, 6}),
		Bootstrap: []string{"192.0.2.10:49737", "192.0.2.11@dht.example.com:49737"},
		Relays:    []domain.Reference{{Key: seeded(2).Public}, {Key: seeded(3).Public}},
	}
	plain, known := full, full
	plain.Bootstrap, plain.Relays = nil, nil
	known.Addrs = []domain.Address{{Host: "192.0.2.10", Port: 443}, {Host: "scraper.example.com", Port: 53}}
	known.Relays = []domain.Reference{{Key: seeded(2).Public}, {Key: seeded(3).Public, Addr: domain.Address{Host: "relay.example.com", Port: 443}}}
	return map[string]domain.Invite{"plain": plain, "full": full, "known": known}
}

func reveal(t testing.TB, v domain.Invite) string {
	t.Helper()
	text, err := v.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func sameInvite(a, b domain.Invite) bool {
	return a.Scraper == b.Scraper && a.Secret.Equal(b.Secret) && fmt.Sprint(a.Bootstrap, a.Relays, a.Addrs) == fmt.Sprint(b.Bootstrap, b.Relays, b.Addrs)
}

func TestInvitesComeBackAsTheyWere(t *testing.T) {
	for name, v := range invites() {
		text := reveal(t, v)
		wrapped := ""
		for i := 0; i < len(text); i += 40 {
			wrapped += "  " + text[i:min(i+40, len(text))] + "\r\n"
		}
		for how, sent := range map[string]string{"as it is": text, "in upper case": strings.ToUpper(text), "wrapped": wrapped} {
			if got, err := domain.ParseInvite(sent); err != nil || !sameInvite(got, v) {
				t.Errorf("%s, %s: %+v, %v", name, how, got, err)
			}
		}
		if !domain.LooksLikeInvite(text) || !domain.LooksLikeInvite("\n"+strings.ToUpper(text)) {
			t.Errorf("%s does not look like one", name)
		}
	}
	if domain.LooksLikeInvite("dhtprom") || domain.LooksLikeInvite("hyperdht1abc") {
		t.Error("something else looks like an invite")
	}
}

// Invites that were printed long ago must stay valid.
func TestTheFormOfInvitesIsFixed(t *testing.T) {
	const golden = "dhtprom1ybnc7uyiy9qb5zm11sktakeetdajmmp3ytgtsh6s15up6b17py77j9yrywdyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyycefqky"
	if got := reveal(t, invites()["plain"]); got != golden {
		t.Errorf("an invite has become %s", got)
	}
	const known = "dhtprom1yrph7uyiy9qb5zm11sktakeetdajmmp3ytgtsh6s15up6b17py77j9yrywdyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyytycj3gezdymt1faauyqtw8r5ugpabryau1ctqgyzdrmttgfyge4dwf31zoampqbsgkmudp7suwpb3gh3uqytypphhk9ukbfjd1kbcy1ya7fotfh9o8jyydqwzwi1crqn1wxa6wz6yreg45xeajesir5a6zzkhy5645r43sew8mg4px7h7c3wj9e1wimcfe4yyhcj3gezdymt1faauyqtwgo3ayfuucp3gnhdfqezgk6dbpiaga3jqcpzs4qtigqyumss54gnkfijg68i74zyg9ss3gsp1fb43sum9x8mgpnx4rifk5bkgqj1saam3f31zoampqbsgkmudp7suwpbwgpq15tcy"
	if got := reveal(t, invites()["known"]); got != known {
		t.Errorf("an invite with addresses has become %s", got)
	}
	if len(golden) != 120 {
		t.Errorf("%d characters", len(golden))
	}
	z32 := base32.NewEncoding("ybndrfg8ejkmcpqxot1uwisza345h769").WithPadding(base32.NoPadding)
	decoded, err := z32.DecodeString(golden[len(domain.InvitePrefix):])
	if want := vectors.ExampleBytes(t, "dhtprom", "invite of a scraper in the public DHT"); err != nil || string(decoded) != string(want) {
		t.Errorf("the invite has %x, the specification %s, %v", decoded, want, err)
	}
}

func TestWrongInvitesSayWhatIsWrong(t *testing.T) {
	good := reveal(t, invites()["full"])
	other := byte('y')
	if good[60] == other {
		other = 'b'
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {" \n", "is empty"},
		"a key":            {seeded(1).Public.String(), `does not start with "dhtprom1"`},
		"another version":  {"dhtprom2" + good[8:], "version 2"},
		"no version":       {"dhtpromx" + good[8:], `does not start with "dhtprom1"`},
		"the name alone":   {"dhtprom", "truncated"},
		"half of the name": {"dhtp", "truncated"},
		"the prefix alone": {"dhtprom1", "truncated or mistyped: it has 8 characters"},
		"cut":              {good[:100], fmt.Sprintf("truncated: it has 100 of %d characters", len(good))},
		"one is missing":   {good[:len(good)-1], fmt.Sprintf("truncated: it has %d of %d characters", len(good)-1, len(good))},
		"one too many":     {good + "y", fmt.Sprintf("too long: it has %d characters, want %d", len(good)+1, len(good))},
		"twice":            {good + good, "too long"},
		"one is wrong":     {good[:60] + string(other) + good[61:], "checksum"},
		"two are swapped":  {good[:20] + good[21:22] + good[20:21] + good[22:], "checksum"},
		"not of alphabet":  {good[:60] + "l" + good[61:], "character at position 61"},
		"not ASCII":        {good[:60] + "é" + good[61:], "character at position 61"},
		"quoted":           {`"` + good + `"`, "does not start with"},
		"endless":          {good + strings.Repeat("y", 10_000), "too long"},
		"a small length":   {"dhtprom1" + strings.Repeat("y", 200), "near its beginning"},
	} {
		_, err := domain.ParseInvite(c.text)
		if !errors.Is(err, domain.ErrInvite) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want %q, got %v", name, c.want, err)
		}
		if err != nil && len(c.text) > 20 && strings.Contains(err.Error(), c.text[10:20]) {
			t.Errorf("%s: the error quotes the invite: %v", name, err)
		}
	}
}

func TestEveryProperPrefixOfAnInviteIsRefused(t *testing.T) {
	for name, v := range invites() {
		text := reveal(t, v)
		for n := range text {
			if _, err := domain.ParseInvite(text[:n]); !errors.Is(err, domain.ErrInvite) {
				t.Errorf("%s: %d of %d characters: %v", name, n, len(text), err)
			}
		}
	}
}

func TestEverySingleTypingErrorIsFound(t *testing.T) {
	text := reveal(t, invites()["plain"])
	for i := len(domain.InvitePrefix); i < len(text); i++ {
		for _, r := range "yqa9" {
			if byte(r) == text[i] {
				continue
			}
			if _, err := domain.ParseInvite(text[:i] + string(r) + text[i+1:]); err == nil {
				t.Errorf("place %d: %c in place of %c passes", i, r, text[i])
			}
		}
	}
}

func TestInvitesThatCannotWorkAreNotMade(t *testing.T) {
	for want, spoil := range map[string]func(*domain.Invite){
		"no scraper key":              func(v *domain.Invite) { v.Scraper = domain.PublicKey{} },
		"no secret":                   func(v *domain.Invite) { v.Secret = domain.Secret{} },
		"9 bootstrap nodes":           func(v *domain.Invite) { v.Bootstrap = strings.Fields(strings.Repeat("a:1 ", 9)) },
		"9 relays":                    func(v *domain.Invite) { v.Relays = make([]domain.Reference, 9) },
		"a relay without":             func(v *domain.Invite) { v.Relays = make([]domain.Reference, 1) },
		"3 addresses":                 func(v *domain.Invite) { v.Addrs = make([]domain.Address, 3) },
		"address of the scraper that": func(v *domain.Invite) { v.Addrs = []domain.Address{{Host: "::1", Port: 1}} },
		"relay with an address that": func(v *domain.Invite) {
			v.Relays = []domain.Reference{{Key: seeded(2).Public, Addr: domain.Address{Host: "a"}}}
		},
		`not HOST:PORT: "a"`:          func(v *domain.Invite) { v.Bootstrap = []string{"a"} },
		`not HOST:PORT: "a:0"`:        func(v *domain.Invite) { v.Bootstrap = []string{"a:0"} },
		`not HOST:PORT: ":1"`:         func(v *domain.Invite) { v.Bootstrap = []string{":1"} },
		`not HOST:PORT: "a b:1"`:      func(v *domain.Invite) { v.Bootstrap = []string{"a b:1"} },
		`not HOST:PORT: "x@a:1"`:      func(v *domain.Invite) { v.Bootstrap = []string{"x@a:1"} },
		`not HOST:PORT: "[::1]:1"`:    func(v *domain.Invite) { v.Bootstrap = []string{"[::1]:1"} },
		`not HOST:PORT: "a\x1b[2J:1"`: func(v *domain.Invite) { v.Bootstrap = []string{"a\x1b[2J:1"} },
		"not HOST:PORT: \"aaaa":       func(v *domain.Invite) { v.Bootstrap = []string{strings.Repeat("a", 300) + ":1"} },
	} {
		v := invites()["plain"]
		spoil(&v)
		if _, err := v.Reveal(); !errors.Is(err, domain.ErrInvite) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestInvitesPrintWithoutTheirSecret(t *testing.T) {
	v := invites()["full"]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, v); strings.Contains(got, v.Secret.RevealText()) || strings.Contains(got, "04050600") || strings.Contains(got, "4, 5, 6") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func FuzzParseInvite(f *testing.F) {
	for _, v := range invites() {
		text := reveal(f, v)
		f.Add(text)
		f.Add(text[:len(text)/2])
		f.Add(strings.ToUpper(text))
	}
	f.Add("dhtprom1")
	f.Add("dhtprom9yy")
	f.Fuzz(func(t *testing.T, text string) {
		var v domain.Invite
		var err error
		cost.Parsing.Check(t, len(text), func() { v, err = domain.ParseInvite(text) })
		if err != nil {
			if !errors.Is(err, domain.ErrInvite) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := domain.ParseInvite(reveal(t, v))
		if err != nil || !sameInvite(v, again) {
			t.Errorf("%+v became %+v, %v", v, again, err)
		}
	})
}

// resealed returns an invite with changed bytes, and a checksum that matches.
func resealed(t *testing.T, v domain.Invite, change func([]byte) []byte) string {
	t.Helper()
	z32 := base32.NewEncoding("ybndrfg8ejkmcpqxot1uwisza345h769").WithPadding(base32.NoPadding)
	b, err := z32.DecodeString(reveal(t, v)[len(domain.InvitePrefix):])
	if err != nil {
		t.Fatal(err)
	}
	b = change(b[:len(b)-4])
	binary.BigEndian.PutUint16(b, uint16(len(b)-2+4))
	sum := sha256.Sum256(append([]byte(domain.InvitePrefix), b...))
	return domain.InvitePrefix + z32.EncodeToString(append(b, sum[:4]...))
}

// Optional fields that a program does not know, or whose values it cannot use, do not spoil an invite.
func TestOptionalFieldsOfOtherFormsAreSkipped(t *testing.T) {
	good := invites()["known"]
	relay := seeded(3).Public
	field := func(kind byte, value string) string { return string([]byte{kind, byte(len(value))}) + value }
	for name, fields := range map[string]string{
		"an unknown kind":               field(200, "x") + field(255, ""),
		"an IPv6 address":               field(128, "[2001:db8::1]:443"),
		"an empty address":              field(128, ""),
		"too many addresses":            field(128, "a:1") + field(128, "b:1") + field(128, "c:1"),
		"a relay that it does not name": field(129, strings.Repeat("k", 32)+"a:1"),
		"a relay's IPv6 address":        field(129, string(relay[:])+"[::1]:1"),
		"half a key":                    field(129, "k"),
		"a key alone":                   field(129, string(relay[:])),
	} {
		text := resealed(t, good, func(b []byte) []byte { return append(b, fields...) })
		if v, err := domain.ParseInvite(text); err != nil || !sameInvite(v, good) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if _, err := domain.ParseInvite(resealed(t, good, func(b []byte) []byte { return append(b, field(127, "")...) })); !errors.Is(err, domain.ErrInvite) {
		t.Errorf("a required kind: %v", err)
	}
}

// A valid checksum is not enough: sealed invites that cannot work are rejected like the rest.
func TestSealedInvitesThatCannotWorkAreRefused(t *testing.T) {
	text := resealed(t, invites()["full"], func(b []byte) []byte {
		clear(b[2+domain.KeySize : 2+2*domain.KeySize]) // the secret
		return b
	})
	v, err := domain.ParseInvite(text)
	if !errors.Is(err, domain.ErrInvite) || !strings.Contains(err.Error(), "no secret") || !v.Scraper.IsZero() {
		t.Errorf("read %v, error %v", v, err)
	}
}
