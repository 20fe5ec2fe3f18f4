package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

var rotationScenario = &Scenario{
	Name:  "rotation",
	About: "secrets are rotated while clients register, packets are lost and the scraper crashes; pinned aliases and keys without proof are asked for by others",
	Nodes: 8, Clients: 4, For: 6 * time.Minute,
	Least: Least{Nodes: 4, Clients: 3, For: 4 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		r := &rotation{w: w, files: map[string]domain.Secret{}, valid: []domain.Secret{w.secret}}
		r.s = w.addScraper("scraper", scraperSetup{at: home, change: func(c *app.ScraperConfig) {
			r.pins.host = c.Host
			c.Store = struct {
				ports.AliasStore
				ports.PinStore
			}{c.Store, &r.pins}
			c.Secrets, c.RequireProof, c.Expiry = r.valid, true, w.opts.For
		}})
		w.populateAt(r.s, w.opts.Clients, setting{clients: steady()}, r.setup(""))

		stop := w.scraping(r.s, r.ended)
		w.phase("a secret is rotated in the order of docs/security.md: no scrape is lost")
		r.rotate("second", w.clients, func() {})
		w.run(scrapeWithin)
		w.expect(r.failed == 0, "a rotation costs %d of %d scrapes", r.failed, r.scraped)
		w.expect(r.unauthorised() == 0, "a rotation costs %d registrations", r.unauthorised())
		stop()

		w.phase("it is rotated again, one client is forgotten, and the scraper crashes while 5 %% of all packets are lost")
		w.net.Internet().SetLink(usualInternet(0.05))
		forgotten := w.clients[len(w.clients)-1]
		r.rotate("third", w.clients[:len(w.clients)-1], func() {
			w.expect(r.unauthorised() == 0, "a rotation costs %d registrations", r.unauthorised())
			r.s.crash()
			w.run(2 * time.Second)
			r.s.restart()
			w.mustHeal(healWithin)
		})
		forgotten.retired = true // from the stories of others
		w.net.Internet().SetLink(usualInternet(0))
		w.until("the forgotten one is rejected", 2*registerOften+w.opts.For, func() bool { return r.unauthorised() > 0 })
		w.run(w.opts.For + time.Minute)
		w.gone(r.s, forgotten.alias, "a retired secret")
		w.expect(!forgotten.app.Status().Registered, "%s is registered by a retired secret", forgotten.name)
		w.mustHeal(healWithin)

		r.keys(w.clients[0], w.clients[1])
	},
}

// registerOften is the registration interval of clients while secrets are rotated, so that registrations fall into every
// moment of it.
const registerOften = time.Minute

// rotation is a scraper whose secrets and pins change.
type rotation struct {
	w               *World
	s               *scraper
	pins            pins
	valid           []domain.Secret
	files           map[string]domain.Secret // of clients, by name
	scraped, failed int
}

func (r *rotation) ended(err error) {
	r.scraped++
	if err != nil {
		r.failed++
		r.w.log.say("a scrape fails: %v", err)
	}
}

// setup is a client with the newest secret at its first boot, and later that of its file.
func (r *rotation) setup(alias domain.Alias) clientSetup {
	return clientSetup{alias: alias, change: func(c *app.ClientConfig) {
		if _, known := r.files[c.Hostname]; !known {
			r.files[c.Hostname] = r.w.secret
		}
		c.Secret, c.RegisterInterval = r.files[c.Hostname], registerOften
	}}
}

// rotate puts a new secret in front of the old one, gives it to clients one after the other, and removes the old one. It
// takes half of the scenario's time. middle runs halfway.
func (r *rotation) rotate(name string, clients []*client, middle func()) {
	w, old := r.w, r.w.secret
	w.retired, w.secret = append(w.retired, old), domain.SecretFrom(w.seedOf("the "+name+" secret"))
	r.accept(w.secret, old)
	for i, c := range clients {
		w.run(w.opts.For / 2 / time.Duration(len(clients)))
		if i == len(clients)/2 {
			middle()
		}
		w.stirs(c.machine)
		c.host.Do(func() {
			if n := c.app.SetSecrets([]app.ClientScraper{{Key: r.s.keys.Public, Secret: w.secret}}); n != 1 {
				w.fail("outcome", "%s does not take another secret", c.name)
			}
		})
		r.files[c.name] = w.secret
	}
	w.run(10 * time.Second)
	r.accept(w.secret)
	w.run(2 * registerOften)
}

// accept sets the secrets that the scraper accepts from now on, in its file as well.
func (r *rotation) accept(secrets ...domain.Secret) {
	r.valid = secrets
	r.s.host.Do(func() {
		if err := r.s.app.SetSecrets(secrets); err != nil {
			r.w.fail("outcome", "%s does not take other secrets: %v", r.s.name, err)
		}
	})
}

func (r *rotation) unauthorised() uint64 { return r.s.app.Stats().Rejected[domain.ReasonUnauthorised] }

// keys tests the keys of aliases: one is pinned, the other is not.
func (r *rotation) keys(pinned, loose *client) {
	w, s := r.w, r.s
	w.phase("an alias is pinned: others with the right secret do not get it, before and after a crash of the scraper, nor by its key without proof")
	var failed error
	s.host.Do(func() { s.app.Pin(pinned.alias, domain.PublicKey{}, func(_ domain.Pin, err error) { failed = err }) })
	w.run(time.Second)
	w.expect(failed == nil && len(r.pins.all) == 1, "an alias cannot be pinned: %v", failed)
	taker := w.addClient(s, r.setup(pinned.alias))
	taker.retired = true // it must get nothing
	a := &attack{w: w, s: s}
	a.thief(pinned)
	for range 2 {
		w.run(w.opts.For / 4)
		rejected := s.app.Stats().Rejected
		w.expect(rejected[domain.ReasonPinned] > 0 && rejected[domain.ReasonNoProof] > 0, "no registration was rejected for a pin or a missing proof: %v", rejected)
		w.expect(w.owner(s, pinned.alias) == pinned.keys.Public, "a pinned alias belongs to %s", w.nameOf(w.owner(s, pinned.alias)))
		w.expect(!taker.app.Status().Registered, "%s is registered for an alias that is pinned to another", taker.name)
		s.crash()
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)
	}
	w.phase("its client is off until the alias has expired, and has it again when it is back")
	pinned.crash()
	w.run(w.opts.For + time.Minute)
	w.gone(s, pinned.alias, "expired, and pinned to a client that is off")
	pinned.restart()
	w.mustHeal(healWithin)
	a.end()
	w.phase("the pin is removed: the other has the alias; and a client with an alias that is not pinned comes with another key")
	s.host.Do(func() { s.app.Unpin(pinned.alias, func(_ bool, err error) { failed = err }) })
	pinned.retire()
	loose.retired = true
	loose.crash()
	taker.retired = false
	changed := w.addClient(s, r.setup(loose.alias))
	w.run(crowdWithin) // the one that was refused waits for up to a minute
	w.mustHeal(healWithin)
	w.expect(failed == nil && w.owner(s, pinned.alias) == taker.keys.Public, "an alias whose pin is out belongs to %s", w.nameOf(w.owner(s, pinned.alias)))
	w.expect(w.owner(s, loose.alias) == changed.keys.Public, "the alias of a changed key belongs to %s", w.nameOf(w.owner(s, loose.alias)))
	w.result.row("secrets and keys", "%d scrapes in the first rotation, %d pins kept", r.scraped, len(r.pins.all))
}

// pins is the part of a scraper's disk that holds the pins.
type pins struct {
	host host.Host
	all  map[domain.Alias]domain.Pin
}

// LoadPins implements ports.PinStore.
func (p *pins) LoadPins(done func(pins []domain.Pin, bad []error, err error)) {
	list := slices.SortedFunc(maps.Values(p.all), func(a, b domain.Pin) int { return strings.Compare(string(a.Alias), string(b.Alias)) })
	p.host.AfterFunc(pinTakes, func() { done(list, nil, nil) })
}

// PutPin implements ports.PinStore.
func (p *pins) PutPin(pin domain.Pin, done func(error)) {
	p.host.AfterFunc(pinTakes, func() {
		if p.all == nil {
			p.all = map[domain.Alias]domain.Pin{}
		}
		p.all[pin.Alias] = pin
		done(nil)
	})
}

// DeletePin implements ports.PinStore.
func (p *pins) DeletePin(a domain.Alias, done func(error)) {
	p.host.AfterFunc(pinTakes, func() {
		delete(p.all, a)
		done(nil)
	})
}

// pinTakes is the duration of a disk operation.
const pinTakes = 5 * time.Millisecond
