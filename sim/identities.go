package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

var identitiesScenario = &Scenario{
	Name:  "identities",
	About: "clients move to identities one after the other while packets are lost and the scraper crashes; clients of another identity ask for their aliases, and register their keys; the patterns of an identity change; identities are revoked, and one is added again",
	Nodes: 8, Clients: 4, For: 4 * time.Minute,
	Least: Least{Nodes: 4, Clients: 3, For: 2 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		iw := &identityWorld{w: w, secrets: map[string]domain.Secret{}, shared: []domain.Secret{w.secret}}
		for _, i := range []domain.Identity{{Name: "north"}, {Name: "south"}, {Name: "west", Aliases: []domain.AliasPattern{"west-*"}}} {
			secret := domain.SecretFrom(w.seedOf("the secret of " + i.Name))
			i.Secrets = []domain.Secret{secret}
			iw.named = append(iw.named, i)
			w.retired = append(w.retired, secret) // so that no transcript has it
		}
		iw.s = w.addScraper("scraper", scraperSetup{at: home, change: func(c *app.ScraperConfig) {
			c.Secrets, c.Identities, c.Expiry = iw.shared, iw.named, 2*w.opts.For
		}})
		w.populateAt(iw.s, w.opts.Clients, setting{clients: steady()}, clientSetup{change: iw.secretOf})

		w.phase("all clients but one get the secret of north, one after the other, while 3 %% of all packets are lost and the scraper crashes")
		w.net.Internet().SetLink(usualInternet(0.03))
		north, last := w.clients[:len(w.clients)-1], w.clients[len(w.clients)-1]
		for i, c := range north {
			w.run(w.opts.For / 2 / time.Duration(len(north)))
			if i == len(north)/2 {
				iw.s.crash()
				w.run(2 * time.Second)
				iw.s.restart()
			}
			iw.give(c, iw.named[0])
		}
		w.run(2 * registerOften)
		w.mustHeal(healWithin)
		for _, c := range north {
			w.expect(iw.identityOf(c) == "north", "%s has the identity %q", c.name, iw.identityOf(c))
		}
		w.net.Internet().SetLink(usualInternet(0))
		w.expect(iw.s.app.Stats().Rejected[domain.ReasonIdentity] == 0, "clients of north are rejected as of another identity")

		w.phase("others have valid secrets and ask for their aliases, before and after a crash of the scraper")
		iw.takers(north[0], "south", "")
		iw.s.crash()
		w.run(2 * time.Second)
		iw.s.restart()
		w.mustHeal(healWithin)
		iw.takers(north[0], "", "south")

		w.phase("one with the shared secret registers the key of a client of an identity without a proof")
		iw.spied(north[0])

		w.phase("an identity registers aliases by its patterns only; other patterns, and another identity with its name, remove them")
		iw.patterns()

		w.phase("the identity is revoked: its aliases are gone at once and stay away, and the other client is scraped")
		for _, c := range north {
			c.retired = true
			iw.s.ledger.revoked(c.alias)
		}
		iw.named = iw.named[1:]
		iw.change()
		w.run(time.Second)
		for range 2 {
			for _, c := range north {
				w.gone(iw.s, c.alias, "revoked with its identity")
			}
			w.run(w.opts.For / 2)
			iw.s.crash()
			w.run(2 * time.Second)
			iw.s.restart()
			w.mustHeal(healWithin)
		}
		w.expect(iw.identityOf(last) == domain.SharedIdentity, "%s has the identity %q", last.name, iw.identityOf(last))
		w.result.row("identities", "%d clients moved, %d registrations rejected for another identity", len(north), iw.rejected)
	},
}

// identityWorld is a scraper with identities that change.
type identityWorld struct {
	w        *World
	s        *scraper
	shared   []domain.Secret
	named    []domain.Identity
	secrets  map[string]domain.Secret // of clients, by name
	rejected uint64
}

// secretOf gives a client its secret at each boot.
func (iw *identityWorld) secretOf(c *app.ClientConfig) {
	c.Secret, c.RegisterInterval = iw.w.secret, registerOften
	if s, has := iw.secrets[c.Hostname]; has {
		c.Secret = s
	}
}

// give gives a running client the secret of an identity.
func (iw *identityWorld) give(c *client, to domain.Identity) {
	iw.secrets[c.name] = to.Secrets[0]
	iw.w.stirs(c.machine)
	c.host.Do(func() { c.app.SetSecrets([]app.ClientScraper{{Key: iw.s.keys.Public, Secret: to.Secrets[0]}}) })
}

// change sets the identities of the running scraper.
func (iw *identityWorld) change() {
	iw.s.host.Do(func() {
		if err := iw.s.app.SetIdentities(iw.shared, iw.named); err != nil {
			iw.w.fail("outcome", "the identities do not change: %v", err)
		}
	})
}

func (iw *identityWorld) identityOf(c *client) (name string) {
	for _, a := range iw.s.app.Aliases() {
		if a.Alias == c.alias {
			name = a.Identity
		}
	}
	return name
}

// spied judges that a spy does not get the metrics of a client.
func (iw *identityWorld) spied(victim *client) {
	const own = "spy"
	w, a := iw.w, &attack{w: iw.w, s: iw.s}
	before := iw.s.app.Stats().Rejected[domain.ReasonIdentity]
	a.spy(victim, own)
	w.until("the spy has two answers", w.opts.For, func() bool { return a.thefts >= 2 })
	a.end()
	rejected := iw.s.app.Stats().Rejected[domain.ReasonIdentity] - before
	w.expect(rejected > 0 && w.owner(iw.s, own).IsZero(), "the key of %s is registered for another identity; %d registrations were rejected", victim.name, rejected)
	iw.rejected += rejected
}

// patterns judges what the patterns of west allow, before and after they change, and that another west has none of its aliases.
func (iw *identityWorld) patterns() {
	w, west := iw.w, &iw.named[2]
	start := func(alias domain.Alias) *client {
		return w.addClient(iw.s, clientSetup{alias: alias, change: func(c *app.ClientConfig) {
			c.Secret, c.RegisterInterval = west.Secrets[0], registerOften
		}})
	}
	before := iw.s.app.Stats().Rejected[domain.ReasonNotAllowed]
	first, second, other := start("west-1"), start("west-2"), start("east-1")
	other.retired = true // it must get nothing
	w.until("the aliases of west are registered, and the other is rejected", w.opts.For, func() bool {
		return first.app.Status().Registered && second.app.Status().Registered && iw.s.app.Stats().Rejected[domain.ReasonNotAllowed] > before
	})
	w.expect(!other.app.Status().Registered && w.owner(iw.s, other.alias).IsZero(), "%q is registered beyond the patterns", other.alias)
	other.retire()
	for _, step := range []struct {
		of     *client
		change func()
	}{
		{first, func() { west.Aliases = []domain.AliasPattern{"west-2"} }},
		{second, func() {
			west.ID, west.Aliases = 2, nil
			west.Secrets = []domain.Secret{domain.SecretFrom(w.seedOf("another secret of west"))}
			w.retired = append(w.retired, west.Secrets[0])
		}},
	} {
		step.of.retired = true
		iw.s.ledger.revoked(step.of.alias)
		step.change()
		iw.change()
		w.run(time.Second)
		w.gone(iw.s, step.of.alias, "not of the identity any more")
		step.of.retire()
	}
}

// takers starts clients of other identities that ask for an alias, in turns, and judges that they do not get it.
func (iw *identityWorld) takers(of *client, names ...string) {
	w := iw.w
	for _, name := range names {
		before := iw.s.app.Stats().Rejected[domain.ReasonIdentity]
		taker := w.addClient(iw.s, clientSetup{alias: of.alias, change: func(c *app.ClientConfig) {
			iw.secretOf(c)
			for _, i := range iw.named {
				if i.Name == name {
					c.Secret = i.Secrets[0]
				}
			}
		}})
		taker.retired = true // it must get nothing
		w.until("it is rejected", w.opts.For, func() bool { return iw.s.app.Stats().Rejected[domain.ReasonIdentity] > before })
		w.run(10 * time.Second)
		w.expect(w.owner(iw.s, of.alias) == of.keys.Public, "an alias of another identity belongs to %s", w.nameOf(w.owner(iw.s, of.alias)))
		w.expect(!taker.app.Status().Registered, "%s is registered for an alias of another identity", taker.name)
		iw.rejected += iw.s.app.Stats().Rejected[domain.ReasonIdentity] - before
		taker.retire()
	}
}
