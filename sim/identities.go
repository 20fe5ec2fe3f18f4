package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

var identitiesScenario = &Scenario{
	Name:  "identities",
	About: "clients move to identities one after the other while packets are lost and the scraper crashes; clients of another identity ask for their aliases; an identity is revoked",
	Nodes: 8, Clients: 4, For: 4 * time.Minute,
	Least: Least{Nodes: 4, Clients: 3, For: 2 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		iw := &identityWorld{w: w, secrets: map[string]domain.Secret{}, shared: []domain.Secret{w.secret}}
		for _, name := range []string{"north", "south"} {
			secret := domain.SecretFrom(w.seedOf("the secret of " + name))
			iw.named = append(iw.named, domain.Identity{Name: name, Secrets: []domain.Secret{secret}})
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

		w.phase("others have valid secrets and ask for their aliases, before and after a crash of the scraper")
		iw.takers(north[0], "south", "")
		iw.s.crash()
		w.run(2 * time.Second)
		iw.s.restart()
		w.mustHeal(healWithin)
		iw.takers(north[0], "", "south")

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
