package app_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func secretOf(n byte) domain.Secret { return domain.SecretFrom([32]byte{7, n}) }

// named returns an identity with a secret of that number.
func named(t *testing.T, name string, n byte, patterns ...domain.AliasPattern) domain.Identity {
	t.Helper()
	labels, err := domain.ParseLabels(map[string]string{"site": name})
	if err != nil {
		t.Fatal(err)
	}
	return domain.Identity{Name: name, Secrets: []domain.Secret{secretOf(n)}, Aliases: patterns, Labels: labels}
}

func with(r ports.Registration, s domain.Secret) ports.Registration {
	r.Secret = s
	return r
}

// by makes a client register with a secret.
func by(s domain.Secret) func(*app.ClientConfig) {
	return func(c *app.ClientConfig) { c.Secret = s }
}

func (w *world) setIdentities(shared []domain.Secret, named ...domain.Identity) {
	w.t.Helper()
	w.loop.Turn(func() {
		if err := w.scraper.SetIdentities(shared, named); err != nil {
			w.t.Error(err)
		}
	})
	w.loop.Advance(time.Second)
}

func (w *world) rejected(r ports.Registration, words string) {
	w.t.Helper()
	if _, err := w.send(r); err == nil || !strings.Contains(err.Error(), words) {
		w.t.Errorf("%q: %v, want %q", r.Alias, err, words)
	}
}

func (w *world) accepted(r ports.Registration) {
	w.t.Helper()
	if _, err := w.send(r); err != nil {
		w.t.Errorf("%q: %v", r.Alias, err)
	}
}

func TestIdentityRegistersItsAliasesOnly(t *testing.T) {
	w := newWorld(t)
	north, south := named(t, "north", 1, "north/*"), named(t, "south", 2, "south/*", "shared-*")
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{south, north} })
	w.accepted(with(registration("north/a", 2), secretOf(1)))
	w.accepted(with(registration("south/a", 3), secretOf(2)))
	w.accepted(with(registration("shared-a", 4), secretOf(2)))
	w.accepted(registration("north/b", 5)) // of a client that has the old secret
	w.rejected(with(registration("south/b", 2), secretOf(1)), domain.ErrNotAllowed.Error())
	w.rejected(with(registration("x", 2), secretOf(3)), domain.Unauthorised)
	for alias, identity := range map[string]string{"north/a": "north", "south/a": "south", "shared-a": "south", "north/b": domain.SharedIdentity} {
		a := w.status(alias)
		if a.Identity != identity {
			t.Errorf("%s has the identity %q", alias, a.Identity)
		}
		if site, _ := a.Labels.Get("site"); site != identity {
			t.Errorf("%s has the label %q", alias, site)
		}
	}
	stats := w.scraper.Stats()
	want := []domain.IdentityStatus{
		{Fingerprints: []string{secret.Fingerprint()}, Aliases: 1, Registrations: 1},
		{Name: "north", Fingerprints: north.Fingerprints(), Patterns: north.Aliases, Labels: north.Labels, Aliases: 1, Registrations: 1, Rejected: 1},
		{Name: "south", Fingerprints: south.Fingerprints(), Patterns: south.Aliases, Labels: south.Labels, Aliases: 2, Registrations: 2},
	}
	if got := w.scraper.IdentityStatus(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if stats.Rejected[domain.ReasonNotAllowed] != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestAliasIsTakenOverWithinItsIdentityOnly(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) {
		c.Identities = []domain.Identity{named(t, "north", 1), named(t, "south", 2)}
	})
	w.accepted(registration("a", 2))
	w.accepted(with(registration("a", 3), secretOf(1))) // from the shared secret to an identity
	w.rejected(registration("a", 4), domain.ErrOtherIdentity.Error())
	w.rejected(with(registration("a", 4), secretOf(2)), domain.ErrOtherIdentity.Error())
	w.rejected(with(registration("a", 3), secretOf(2)), domain.ErrOtherIdentity.Error()) // nor with its key
	w.accepted(with(registration("a", 5), secretOf(1)))
	if got := w.status("a"); got.Key != pair(5).Public || got.Identity != "north" {
		t.Errorf("%+v", got.Entry)
	}
	if r := w.scraper.Stats().Rejected; r[domain.ReasonIdentity] != 3 {
		t.Errorf("%v", r)
	}
	if refused := w.scraper.Refusals(); len(refused) != 3 || refused[0].Reason != domain.ReasonIdentity {
		t.Errorf("refusals %+v", refused)
	}
	// An alias that has expired belongs to no identity.
	w.loop.Advance(domain.DefaultExpiry)
	w.accepted(with(registration("a", 4), secretOf(2)))
}

func TestRevokedIdentityLosesItsAliases(t *testing.T) {
	w := newWorld(t)
	north, south := named(t, "north", 1), named(t, "south", 2)
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{north, south} })
	c := w.startClient("north", 2, by(secretOf(1)))
	w.startClient("south", 3, by(secretOf(2)))
	w.startClient("old", 4, nil)
	set := w.startSet(by(secretOf(1)), "s1", "s2")
	w.loop.Advance(time.Second)
	for _, a := range []string{"north", "south", "old", "s1"} {
		w.mustScrape(a)
	}
	w.setIdentities([]domain.Secret{secret}, south)
	wantNames(t, w.aliases(), "old", "south")
	if w.net.Links(c.PublicKey()) != 0 || w.net.Links(set.PublicKey()) != 0 || len(w.disk.Entries) != 2 {
		t.Errorf("connections or entries are left: %d on the disk", len(w.disk.Entries))
	}
	if told := of[domain.IdentityRevoked](w.events); len(told) != 1 || told[0] != (domain.IdentityRevoked{Name: "north", Aliases: 3}) {
		t.Errorf("%+v", told)
	}
	w.loop.Advance(2 * domain.DefaultExpiry)
	wantNames(t, w.aliases(), "old", "south")
	w.mustScrape("south")
	w.rejected(with(registration("north", 2), secretOf(1)), domain.Unauthorised)
	// The identity is added again, with another secret.
	north.Secrets = []domain.Secret{secretOf(9)}
	w.setIdentities([]domain.Secret{secret}, south, north)
	w.accepted(with(registration("north", 2), secretOf(9)))
	if all := w.scraper.IdentityStatus(); len(all) != 3 || all[1].Registrations != 1 || len(of[domain.IdentityAdded](w.events)) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestIdentityLosesAliasesThatItMayNotRegisterAnyMore(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) {
		c.Identities = []domain.Identity{named(t, "north", 1), named(t, "south", 2)}
	})
	w.accepted(with(registration("n1", 2), secretOf(1)))
	w.accepted(with(registration("s1", 3), secretOf(1)))
	w.setIdentities([]domain.Secret{secret}, named(t, "north", 1, "n*"), named(t, "south", 2))
	wantNames(t, w.aliases(), "n1")
	w.accepted(with(registration("s1", 4), secretOf(2)))
}

// A secret that may not register an alias may not remove it either.
func TestIdentitySaysGoodbyeForItsAliasesOnly(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{named(t, "north", 1, "n*")} })
	set := w.startSet(nil, "s1", "s2")
	w.accepted(registration("a", 2))
	w.accepted(registration("n1", 3))
	w.loop.Advance(time.Second)
	w.leave(with(registration("a", 2), secretOf(1)))
	w.leave(with(ports.Registration{Scraper: pair(1).Public, Dial: pair(99), Register: domain.Register{Key: set.PublicKey()}}, secretOf(1)))
	wantNames(t, w.aliases(), "a", "n1", "s1", "s2")
	w.leave(with(registration("n1", 3), secretOf(1)))
	wantNames(t, w.aliases(), "a", "s1", "s2")
}

// Between two reloads, an identity is revoked and another one is added under its name.
func TestIdentityThatWasAddedAgainIsAnother(t *testing.T) {
	w := newWorld(t)
	north, south := named(t, "north", 1), named(t, "south", 2)
	north.ID = 1
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{north, south} })
	w.accepted(with(registration("n1", 2), secretOf(1)))
	w.accepted(with(registration("s1", 3), secretOf(2)))
	w.rejected(with(registration("s1", 3), secretOf(1)), domain.ErrOtherIdentity.Error())
	north.Secrets = append(north.Secrets, secretOf(8)) // a rotation changes nothing else
	w.setIdentities([]domain.Secret{secret}, north, south)
	wantNames(t, w.aliases(), "n1", "s1")
	again := north
	again.ID, again.Secrets = 2, []domain.Secret{secretOf(9)}
	w.setIdentities([]domain.Secret{secret}, again, south)
	wantNames(t, w.aliases(), "s1")
	if told := of[domain.IdentityRevoked](w.events); len(told) != 1 || told[0] != (domain.IdentityRevoked{Name: "north", Aliases: 1}) {
		t.Errorf("%+v", told)
	}
	if all := w.scraper.IdentityStatus(); len(of[domain.IdentityAdded](w.events)) != 1 || all[1].Registrations+all[1].Rejected != 0 {
		t.Errorf("the counters are those of the former identity: %+v", all[1])
	}
	w.accepted(with(registration("n1", 2), secretOf(9)))
	w.closeScraper()
	north.ID = 3
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{north, south} })
	wantNames(t, w.aliases(), "s1")
	if told := of[domain.IdentityRevoked](w.events); len(told) != 1 || told[0] != (domain.IdentityRevoked{Name: "north", Aliases: 1}) {
		t.Errorf("%+v", told)
	}
}

// A file that was lost must not remove the aliases of all identities.
func TestScraperWithoutItsIdentitiesDoesNotStart(t *testing.T) {
	w := newWorld(t)
	use := func(all []domain.Identity) func(*app.ScraperConfig) {
		return func(c *app.ScraperConfig) { c.Identities = all }
	}
	var five []domain.Identity
	for n, name := range []string{"e", "d", "c", "b", "a"} {
		five = append(five, named(t, name, byte(n)))
	}
	w.startScraper(use(five))
	for n, i := range five {
		w.accepted(with(registration(i.Name, byte(10+n)), i.Secrets[0]))
	}
	w.closeScraper()
	w.newScraper(nil)
	var err error
	w.loop.Turn(func() { w.scraper.Start(func(e error) { err = e }) })
	w.loop.Advance(time.Second)
	if !errors.Is(err, domain.ErrNoIdentities) || !strings.HasSuffix(err.Error(), "those of a, b, c and 2 more") || len(w.disk.Entries) != 5 {
		t.Errorf("%v, %d entries on the disk", err, len(w.disk.Entries))
	}
	w.closeScraper()
	w.startScraper(use([]domain.Identity{})) // all are revoked
	w.loop.Advance(time.Second)
	if len(w.aliases())+len(w.disk.Entries) != 0 {
		t.Errorf("%v, %d entries on the disk", w.aliases(), len(w.disk.Entries))
	}
}

// A client must not have the metrics of another identity's client scraped under an alias and with the labels of its own identity. Earlier
// versions and JavaScript clients prove no key.
func TestKeyOfAnotherIdentityNeedsAProof(t *testing.T) {
	w, door := newDoor(t)
	w.setIdentities([]domain.Secret{secret}, named(t, "north", 1), named(t, "south", 2))
	c := door.call(w, 50)
	ask := func(alias string, key byte, s domain.Secret, proven bool) ports.AliasReply {
		return c.askAs(with(registration(alias, key), s), proven)
	}
	if a := ask("s1", 7, secretOf(2), false); !a.Success {
		t.Fatalf("%+v", a)
	}
	for name, s := range map[string]domain.Secret{"another identity": secretOf(1), "the shared secret": secret} {
		if a := ask("spy", 7, s, false); a.Success || !strings.Contains(a.Message, domain.ErrKeyOfIdentity.Error()) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if r := w.scraper.Refusals(); len(r) == 0 || r[0].Reason != domain.ReasonIdentity || r[0].Alias != "spy" {
		t.Errorf("%+v", r)
	}
	if a := ask("s2", 7, secretOf(2), false); !a.Success {
		t.Errorf("its own identity: %+v", a)
	}
	if a := ask("n1", 7, secretOf(1), true); !a.Success {
		t.Errorf("its holder: %+v", a)
	}
	if a := ask("x", 8, secret, false); !a.Success {
		t.Errorf("a key of clients without an identity: %+v", a)
	}
	if a := ask("n2", 8, secretOf(1), false); !a.Success { // it moves to an identity
		t.Errorf("a key of clients without an identity: %+v", a)
	}
}

// What a key may hold because of a secret ends with that.
func TestKeysOfARevokedIdentityAreStrangers(t *testing.T) {
	w, door := newDoor(t)
	w.setIdentities([]domain.Secret{secret}, named(t, "north", 1))
	door.call(w, 50).ask(with(registration("n", 7), secretOf(1)))
	door.call(w, 51).ask(registration("a", 8))
	for _, key := range []byte{50, 51, 7, 8} {
		if !door.door.Known(pair(key).Public) {
			t.Errorf("key %d is not known", key)
		}
	}
	w.setIdentities([]domain.Secret{secret})
	for key, want := range map[byte]bool{50: false, 7: false, 8: true} {
		if door.door.Known(pair(key).Public) != want || door.call(w, key).trusted != want {
			t.Errorf("key %d is known: %v", key, !want)
		}
	}
	again := door.call(w, 51)
	if again.ask(registration("a", 8)); !again.trusted {
		t.Error("a valid secret makes no member")
	}
}

// One set with thousands of targets that it may not register must not push all others out of the list.
func TestRejectedTargetsOfASetAreOneRefusalForEachReason(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) {
		c.Identities = []domain.Identity{named(t, "north", 1, "n*"), named(t, "south", 2)}
	})
	w.accepted(with(registration("n0", 9), secretOf(2)))
	aliases := []string{"n0", "n1"}
	for n := range domain.MaxTargets - 2 {
		aliases = append(aliases, fmt.Sprintf("x%d", n))
	}
	w.startSet(by(secretOf(1)), aliases...)
	w.loop.Advance(time.Second)
	wantNames(t, w.aliases(), "n0", "n1")
	refused := w.scraper.Refusals()
	if len(refused) != 2 || refused[0].Reason != domain.ReasonIdentity || refused[1].Reason != domain.ReasonNotAllowed || refused[1].Alias != "x0" {
		t.Errorf("%d: %+v", len(refused), refused)
	}
	if all := w.scraper.IdentityStatus(); all[1].Rejected != domain.MaxTargets-1 || all[1].Registrations != 1 {
		t.Errorf("%+v", all[1])
	}
}

// What a caller does with its slices later does not change the identities.
func TestIdentitiesAreCopied(t *testing.T) {
	w := newWorld(t)
	given := []domain.Identity{named(t, "north", 1, "n*")}
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = given })
	given[0].Aliases[0], given[0].Secrets[0] = "*", secretOf(9)
	w.scraper.Identities()[0].Aliases[0] = "*"
	w.rejected(with(registration("a", 2), secretOf(1)), domain.ErrNotAllowed.Error())
	w.rejected(with(registration("n", 2), secretOf(9)), domain.Unauthorised)
}

func TestIdentityIsKeptAcrossRestarts(t *testing.T) {
	w := newWorld(t)
	north, south := named(t, "north", 1), named(t, "south", 2)
	use := func(all ...domain.Identity) func(*app.ScraperConfig) {
		return func(c *app.ScraperConfig) { c.Identities = all }
	}
	w.startScraper(use(north, south))
	w.startClient("north", 2, by(secretOf(1)))
	w.startClient("south", 3, by(secretOf(2)))
	w.loop.Advance(time.Second)
	w.closeScraper()
	w.startScraper(use(north, south))
	w.rejected(with(registration("north", 9), secretOf(2)), domain.ErrOtherIdentity.Error())
	w.closeScraper()
	w.startScraper(use(south)) // revoked while the scraper was stopped
	wantNames(t, w.aliases(), "south")
	w.loop.Advance(time.Second)
	if len(w.disk.Entries) != 1 {
		t.Errorf("%d entries on the disk", len(w.disk.Entries))
	}
	w.mustScrape("south")
}

// A registration is written while its identity is revoked, and while the store fails.
func TestRevokedWhileItIsWritten(t *testing.T) {
	w := newWorld(t)
	north := named(t, "north", 1)
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{north} })
	w.accepted(with(registration("before", 2), secretOf(1)))
	w.disk.Hold = true
	answered := 0
	for _, alias := range []string{"before", "a"} {
		w.loop.Turn(func() {
			portstest.NewTransport(w.net).RegisterAlias(with(registration(alias, 2), secretOf(1)), func(bool, error) { answered++ })
		})
	}
	w.loop.Advance(time.Second)
	w.setIdentities([]domain.Secret{secret})
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Minute)
	if answered != 2 || len(w.aliases()) != 0 || len(w.disk.Entries) != 0 {
		t.Errorf("%d answers; aliases %v, %d on the disk", answered, w.aliases(), len(w.disk.Entries))
	}
}

// A key belongs to the identity of its first client from the request on, not only when that is durable.
func TestKeyOfAnotherIdentityNeedsAProofWhileItIsWritten(t *testing.T) {
	w, door := newDoor(t)
	w.setIdentities([]domain.Secret{secret}, named(t, "north", 1), named(t, "south", 2))
	w.disk.Hold = true
	const proven = false
	answers := map[string]ports.AliasReply{}
	ask := func(alias string, s domain.Secret) {
		r, c := with(registration(alias, 7), s), door.call(w, 50)
		w.loop.Turn(func() {
			c.handlers.OnRegister(ports.AliasRequest{Secret: r.Secret, Register: r.Register, Proven: proven}, func(a ports.AliasReply) { answers[alias] = a })
		})
	}
	ask("s1", secretOf(2))
	ask("spy", secretOf(1))
	ask("shared", secret)
	ask("s2", secretOf(2))
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	for alias, want := range map[string]bool{"s1": true, "spy": false, "shared": false, "s2": true} {
		if a, answered := answers[alias]; !answered || a.Success != want {
			t.Errorf("%s: answered %v, %+v", alias, answered, a)
		}
	}
}

func TestSetIsJudgedByItsIdentity(t *testing.T) {
	w := newWorld(t)
	north, south := named(t, "north", 1, "n*"), named(t, "south", 2)
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{north, south} })
	w.accepted(with(registration("n2", 9), secretOf(2)))
	c := w.startSet(by(secretOf(1)), "n1", "n2", "x")
	w.loop.Advance(time.Second)
	wantNames(t, w.aliases(), "n1", "n2")
	w.mustScrape("n1")
	for alias, reason := range map[domain.Alias]string{"n2": domain.ReasonIdentity, "x": domain.ReasonNotAllowed} {
		var rejected *app.RejectedError
		if got := c.TargetStatus(alias).Scrapers[0].LastError; !errors.As(got, &rejected) || rejected.Reason != reason {
			t.Errorf("%s: %v, want %q", alias, got, reason)
		}
	}
	// No other identity says goodbye for the set.
	goodbye := ports.Registration{Scraper: pair(1).Public, Dial: pair(99), Register: domain.Register{Key: c.PublicKey()}}
	w.leave(with(goodbye, secretOf(2)))
	wantNames(t, w.aliases(), "n1", "n2")
	c.close()
	wantNames(t, w.aliases(), "n2")
}

// A client gets the secret of an identity while it runs.
func TestClientMovesToAnIdentity(t *testing.T) {
	w := newWorld(t)
	north := named(t, "north", 1)
	w.startScraper(func(c *app.ScraperConfig) { c.Identities = []domain.Identity{north} })
	single := w.startClient("one", 2, nil)
	set := w.startSet(nil, "s1", "s2")
	w.loop.Advance(time.Second)
	for _, c := range []*testClient{single, set} {
		w.loop.Turn(func() { c.SetSecrets([]app.ClientScraper{{Key: pair(1).Public, Secret: secretOf(1)}}) })
	}
	w.loop.Advance(10 * time.Second)
	for _, a := range []string{"one", "s1", "s2"} {
		if got := w.status(a).Identity; got != "north" {
			t.Errorf("%s: %q", a, got)
		}
		w.mustScrape(a)
	}
	w.setIdentities(nil, north) // the old secret is not needed any more
	w.loop.Advance(2 * domain.DefaultExpiry)
	for _, a := range []string{"one", "s1", "s2"} {
		w.mustScrape(a)
	}
	w.rejected(registration("new", 3), domain.Unauthorised)
}

func TestIdentitiesAreChecked(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	north := named(t, "north", 1)
	for name, bad := range map[string][]domain.Identity{
		"the shared secret": {{Name: "a", Secrets: []domain.Secret{secret}}},
		"two names":         {north, named(t, "north", 2)},
		"no secret":         {{Name: "a"}},
	} {
		w.loop.Turn(func() {
			var wrong *app.ConfigError
			if err := w.scraper.SetIdentities([]domain.Secret{secret}, bad); !errors.As(err, &wrong) || wrong.Field != "Identities" {
				t.Errorf("%s: %v", name, err)
			}
			if w.scraper.SetIdentities(nil, nil) == nil {
				t.Error("no secret at all was accepted")
			}
		})
	}
	if len(w.scraper.Identities()) != 0 || len(w.scraper.Fingerprints()) != 1 {
		t.Error("a rejected change took effect")
	}
}
