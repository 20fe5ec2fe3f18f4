package interop_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/earlier"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// Clients with several targets, which register them together as a set, and each by itself with scrapers that do not know sets: those of
// the version before and of the packages.

// siteAliases are the targets of a site.
var siteAliases = []string{"attic", "cellar", "shed"}

// site is a client program with a target for each of siteAliases.
type site struct {
	p    *program
	seed domain.Seed
}

// site starts a client. Its exporter's pages name the target.
func (o ours) site(t testing.TB, network testnet, cfg clientConfig) *site {
	t.Helper()
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, pageOf(strings.TrimPrefix(r.URL.Path, "/")))
	}))
	t.Cleanup(exporter.Close)
	var file strings.Builder
	if !o.before {
		fmt.Fprintln(&file, "labels: {site: north}")
	}
	fmt.Fprintln(&file, "targets:")
	for _, a := range siteAliases {
		fmt.Fprintf(&file, "- {alias: %s, url: '%s/%s', service: printer, hostname: %s-host}\n", a, exporter.URL, a, a)
	}
	path := filepath.Join(t.TempDir(), "client.yml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--scraper=" + cfg.scraper, "--config.file=" + path}
	if cfg.every != 0 {
		args = append(args, "--register.interval="+cfg.every.String())
	}
	p := startOf(t, o.programs(t), "dhtprom-client", []string{
		"DHTPROM_IDENTITY_SEED=" + jspeer.Seed(cfg.seed), "DHTPROM_SECRET=" + jspeer.Seed(cfg.secret),
	}, append(args, network.flags()...)...)
	seed, err := id.ParseKey32(jspeer.Seed(cfg.seed))
	if err != nil {
		t.Fatal(err)
	}
	return &site{p: p, seed: domain.SeedFrom(seed)}
}

func pageOf(alias string) string { return "of_" + alias + " 1\n" }

// singles are the keys of the targets where each is registered by itself, in hex.
func (s *site) singles() map[string]string {
	all := map[string]string{}
	for _, a := range siteAliases {
		all[a] = app.AliasKeys(s.seed, domain.Alias(a)).Public.Hex()
	}
	return all
}

// together are the keys of the targets in a set: all have the same.
func (s *site) together() map[string]string {
	all := map[string]string{}
	for _, a := range siteAliases {
		all[a] = app.AliasKeys(s.seed, "").Public.Hex()
	}
	return all
}

// wantSite fails the test unless a scraper has the targets under these keys, and each can be scraped.
func wantSite(t *testing.T, what string, s scraper, want map[string]string) {
	t.Helper()
	if got := s.aliases(t); !maps.Equal(got, want) {
		t.Fatalf("%s: the aliases have the keys %v, want %v", what, got, want)
	}
	wantPages(t, what, s)
}

func wantPages(t *testing.T, what string, s scraper) {
	t.Helper()
	for _, a := range siteAliases {
		if got := s.scrape(t, a, 1)[0]; got != (result{body: pageOf(a)}) {
			t.Fatalf("%s: %s: %+v", what, a, got)
		}
	}
}

// awaitSingles waits until each target has been registered by itself.
func (s *goScraper) awaitSingles(t testing.TB) {
	t.Helper()
	for _, a := range siteAliases {
		s.p.await(t, "alias-success", func(e entry) bool { return e.text("alias") == a })
	}
}

// awaitSet waits until the set has been registered with all targets.
func (s *goScraper) awaitSet(t testing.TB) {
	t.Helper()
	e := s.p.await(t, "set-targets", func(e entry) bool { return e["rejected"] == nil })
	if got := fmt.Sprint(e["targets"]); got != fmt.Sprint(len(siteAliases)) {
		t.Errorf("a set of %s targets: %v", got, e)
	}
}

// operate runs a subcommand of alias.
func (s *goScraper) operate(t testing.TB, args ...string) string {
	t.Helper()
	args = append(append([]string{"alias"}, args...), "--url="+s.url)
	out, err := exec.Command(filepath.Join(s.version.programs(t), "dhtprom-scraper"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// wantPin fails the test unless the only pin is one of an alias to a key, in hex.
func (s *goScraper) wantPin(t *testing.T, what, alias, hex string) {
	t.Helper()
	pins := s.pins(t)
	if len(pins) != 1 || pins[alias] != hex {
		t.Fatalf("%s: the pins are %v, want %s with %s", what, pins, alias, hex)
	}
}

func TestTargetsAreRegisteredByThemselvesWithoutSets(t *testing.T) {
	t.Parallel()
	earlier.Programs(t)
	net := bootstrapTestnet(t)
	for name, scrapers := range map[string]peers{"the version before": ours{before: true}, "JavaScript": javaScript{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scrapers.scraper(t, net, scraperConfig{seed: t.Name() + " scraper", secret: "secret", host: "127.0.0.1"})
			c := ours{}.site(t, net, clientConfig{scraper: s.key(), secret: "secret", seed: t.Name()})
			for range siteAliases {
				s.registered(t)
			}
			wantSite(t, "first", s, c.singles())
			wantPages(t, "again", s)
			told := c.p.await(t, "set-unsupported", nil)
			if fmt.Sprint(told["targets"], told["served"]) != "3 3" {
				t.Errorf("the client reports %v", told)
			}
		})
	}
}

// A table of the version before has aliases with keys of their own, which its operator has pinned, one by hand and the others for as long as
// they live. Whichever side is upgraded first, both move to the key of the set, and each step is scraped.
func TestUpgradesMoveAliasesAndPinsToTheSet(t *testing.T) {
	t.Parallel()
	earlier.Programs(t)
	net := bootstrapTestnet(t)
	for _, first := range []string{"scraper", "client"} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			cfg := scraperConfig{
				seed: t.Name() + " scraper", secret: "secret", host: "127.0.0.1", storage: t.TempDir(),
				flags: []string{"--alias.pin", "--web.enable-lifecycle"},
			}
			s := ours{before: true}.scraper(t, net, cfg).(*goScraper)
			config := clientConfig{scraper: s.key(), secret: "secret", seed: t.Name(), every: often}
			c := ours{before: true}.site(t, net, config)
			s.awaitSingles(t)
			wantSite(t, "before", s, c.singles())
			pinned := siteAliases[0]
			s.operate(t, "pin", pinned)
			s.wantPin(t, "before", pinned, c.singles()[pinned])

			upgradeScraper := func() {
				s.p.stop(t)
				s = ours{}.scraper(t, net, cfg).(*goScraper)
			}
			if first == "scraper" {
				upgradeScraper()
				wantSite(t, "with the new scraper", s, c.singles())
				s.awaitSingles(t) // again, at their interval
				wantSite(t, "with the new scraper, renewed", s, c.singles())
				s.wantPin(t, "with the new scraper", pinned, c.singles()[pinned])
				c.p.kill()
				c = ours{}.site(t, net, config)
			} else {
				c.p.stop(t) // which removes its aliases
				c = ours{}.site(t, net, config)
				s.awaitSingles(t)
				wantSite(t, "with the new client", s, c.singles())
				s.wantPin(t, "with the new client", pinned, c.singles()[pinned])
				upgradeScraper()
				wantPages(t, "with the new scraper", s)
			}
			s.awaitSet(t)
			wantSite(t, "after", s, c.together())
			s.wantPin(t, "after", pinned, c.together()[pinned])

			upgradeScraper() // a restart
			wantSite(t, "after a restart", s, c.together())
			s.wantPin(t, "after a restart", pinned, c.together()[pinned])
			if files, err := filepath.Glob(filepath.Join(cfg.storage, "*.db*")); err != nil || len(files) != 1 {
				t.Errorf("the table is in %v, %v", files, err)
			}
			c.p.stop(t)
			if left := s.aliases(t); len(left) != 0 {
				t.Errorf("after the goodbye there are %v", left)
			}
			if n := c.p.count("leave-alias-error", nil); n != 0 {
				t.Errorf("%d goodbyes failed", n)
			}
		})
	}
}

// The version before can take over from this one: the scraper reads the table, and the client registers each target by itself when the first
// scrape shows that the scraper does not know the set. Nothing waits for the interval of registrations, which is an hour.
func TestDowngradesAreScraped(t *testing.T) {
	t.Parallel()
	earlier.Programs(t)
	net := bootstrapTestnet(t)
	cfg := scraperConfig{
		seed: t.Name() + " scraper", secret: "secret", host: "127.0.0.1", storage: t.TempDir(), flags: []string{"--web.enable-lifecycle"},
	}
	s := ours{}.scraper(t, net, cfg).(*goScraper)
	config := clientConfig{scraper: s.key(), secret: "secret", seed: t.Name()}
	c := ours{}.site(t, net, config)
	s.awaitSet(t)
	wantSite(t, "before", s, c.together())
	if told := c.p.count("set-unsupported", nil); told != 0 {
		t.Error("the client takes this scraper for one of the version before")
	}
	if sd := string(s.get(t, "/sd/prometheus")); strings.Count(sd, `"site":"north"`) != len(siteAliases) {
		t.Errorf("service discovery lists %s", sd)
	}

	s.p.stop(t)
	s = ours{before: true}.scraper(t, net, cfg).(*goScraper)
	if got := s.aliases(t); !maps.Equal(got, c.together()) {
		t.Errorf("the version before reads the keys %v", got)
	}
	s.scrape(t, siteAliases[0], 1) // fails: it does not name its target
	s.awaitSingles(t)
	wantSite(t, "with the scraper of the version before", s, c.singles())

	// The scraper is upgraded again, and the client restarted: the set takes its targets back.
	s.p.stop(t)
	s = ours{}.scraper(t, net, cfg).(*goScraper)
	wantSite(t, "with the new scraper", s, c.singles())
	c.p.kill()
	c = ours{}.site(t, net, config)
	s.awaitSet(t)
	wantSite(t, "as a set again", s, c.together())

	c.p.kill()
	c = ours{before: true}.site(t, net, config)
	s.awaitSingles(t)
	wantSite(t, "with the client of the version before", s, c.singles())
	c.p.kill()

	// With a pin, the operator removes it.
	c = ours{}.site(t, net, config)
	s.awaitSet(t)
	pinned := siteAliases[0]
	s.operate(t, "pin", pinned)
	c.p.stop(t)
	c = ours{before: true}.site(t, net, config)
	why := c.p.await(t, "register-alias-error", func(e entry) bool { return e.text("alias") == pinned }).text("err")
	if !strings.Contains(why, domain.ErrPinned.Error()) {
		t.Errorf("the pinned alias is rejected because: %s", why)
	}
	s.operate(t, "unpin", pinned)
	s.awaitSingles(t)
	wantSite(t, "with the client of the version before, unpinned", s, c.singles())
}

// With pins, the scraper of the version before rejects the keys of the targets: it cannot know that they are those of the client of the set.
func TestDowngradeOfAScraperWithPinsNeedsItsOperator(t *testing.T) {
	t.Parallel()
	earlier.Programs(t)
	net := bootstrapTestnet(t)
	cfg := scraperConfig{
		seed: t.Name() + " scraper", secret: "secret", host: "127.0.0.1", storage: t.TempDir(), flags: []string{"--alias.pin", "--web.enable-lifecycle"},
	}
	s := ours{}.scraper(t, net, cfg).(*goScraper)
	c := ours{}.site(t, net, clientConfig{scraper: s.key(), secret: "secret", seed: t.Name()})
	s.awaitSet(t)
	pinned := siteAliases[0]
	s.operate(t, "pin", pinned)
	wantSite(t, "before", s, c.together())

	s.p.stop(t)
	s = ours{before: true}.scraper(t, net, cfg).(*goScraper)
	s.wantPin(t, "with the scraper of the version before", pinned, c.together()[pinned])
	s.scrape(t, pinned, 1)
	for _, a := range siteAliases {
		c.p.await(t, "register-alias-error", func(e entry) bool { return e.text("alias") == a })
		s.operate(t, "forget", a)
	}
	s.operate(t, "unpin", pinned)
	s.awaitSingles(t)
	wantSite(t, "with the scraper of the version before", s, c.singles())
}
