package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// keysOf derives the keys of a named peer.
func (w *World) keysOf(who string) domain.KeyPair {
	k := domain.KeyPairFromSeed(domain.SeedFrom(w.seedOf(who)))
	w.names.add(k.Public, who)
	return k
}

// scraper is a machine with a scraper and its disk.
type scraper struct {
	*machine
	keys   domain.KeyPair
	disk   *simstore.Disk
	app    *app.Scraper                                                           // nil while closed or down
	scrape func(domain.Alias, time.Duration, func([]byte, error)) (cancel func()) // the app's
	ledger *ledger                                                                // the checker's view of it
	expiry time.Duration
}

func (s *scraper) machineOf() *machine { return s.machine }

// scraperSetup is a set of deviations of a scraper from the default.
type scraperSetup struct {
	at        place
	transport dht.Config
	disk      simstore.Config
	change    func(*app.ScraperConfig)
	public    domain.Address // at which it is reached without the DHT; zero if it is not
}

// addScraper boots a scraper and waits until it listens.
func (w *World) addScraper(name string, how scraperSetup) *scraper {
	s := w.newScraper(name, how)
	s.boot()
	w.until(name+" listens", startWithin, s.listens)
	return s
}

func (s *scraper) listens() bool { return s.app != nil && s.app.Ready() }

// newScraper returns a scraper that is not booted yet.
func (w *World) newScraper(name string, how scraperSetup) *scraper {
	how.disk.Seed = w.opts.Seed
	s := &scraper{machine: w.settle(name, how.at), keys: w.keysOf(name), disk: simstore.NewDisk(how.disk)}
	s.ledger = newLedger(s)
	s.run = func() {
		node := hyperdht.Config{}
		if how.public.Port != 0 {
			node.Listen = netip.AddrPortFrom(netip.IPv4Unspecified(), how.public.Port)
			how.transport.PublicAddress = how.public
		}
		cfg := app.ScraperConfig{
			Host:      s.host,
			Transport: s.transport(node, how.transport),
			Clock:     s.host.Clock(),
			Store:     simstore.Open(s.host, s.disk),
			Keys:      s.keys,
			Secrets:   []domain.Secret{w.secret},
		}
		boot := s.boots
		cfg.OnEvent = func(e domain.Event) { w.onScraperEvent(s, boot, e) }
		if how.change != nil {
			how.change(&cfg)
		}
		s.expiry = cfg.Expiry
		if s.expiry == 0 {
			s.expiry = domain.DefaultExpiry
		}
		a, err := app.NewScraper(cfg)
		if err != nil {
			panic(fmt.Sprintf("sim: %s: %v", name, err))
		}
		s.app, s.scrape = a, a.Scrape
		s.sizers = append(s.sizers, a.Sizes)
		s.ledger.booted()
		a.Start(func(err error) {
			if err != nil {
				// The disk could not be read: the service manager restarts the program.
				w.log.tell(s.name, "does not start: %v", err)
				w.net.AfterFunc(serviceRestart, func() {
					if s.boots == boot && !s.host.Down() {
						s.restart()
					}
				})
			}
		})
	}
	s.stop = func(done func()) { s.app.Close(done) }
	w.scrapers = append(w.scrapers, s)
	return s
}

// serviceRestart is the delay after which a service manager restarts a program that could not start.
const serviceRestart = time.Second

// client is a machine with a client on it.
type client struct {
	*machine
	scraper *scraper
	others  []*scraper // further scrapers that it registers with
	alias   domain.Alias
	keys    domain.KeyPair
	knows   bool // the secret
	app     *app.Client
	source  *source
	retired bool // will not come back
	// outside: it was new when no node led into the DHT, and finds the way in as after an outage of the DHT.
	outside bool
	// interval is the registration interval.
	interval time.Duration
	// addrs are known addresses of its scraper.
	addrs []domain.Address
}

// unfound reports whether it knows its scraper's address, and no DHT node leads to it.
func (c *client) unfound() bool { return len(c.addrs) > 0 && !c.app.Status().Listening }

func (c *client) machineOf() *machine { return c.machine }

// scrapers returns all scrapers that it registers with.
func (c *client) scrapers() []*scraper { return append([]*scraper{c.scraper}, c.others...) }

// with returns the one of them with a key, or nil.
func (c *client) with(key domain.PublicKey) *scraper {
	for _, s := range c.scrapers() {
		if s.keys.Public == key {
			return s
		}
	}
	return nil
}

// registering names the registration with the scraper that has a key.
func (c *client) registering(key domain.PublicKey) string {
	if s := c.with(key); s != nil && s != c.scraper {
		return c.name + " at " + s.name + " registers"
	}
	return c.name + " registers"
}

// clientSetup is a set of deviations of a client from the default.
type clientSetup struct {
	at        place
	others    []*scraper   // further scrapers
	alias     domain.Alias // its name unless given
	keys      domain.KeyPair
	transport dht.Config
	change    func(*app.ClientConfig)
	addrs     []domain.Address // of its scraper
	stranger  bool             // does not know the secret
	late      bool             // is not booted yet
}

// addClient boots a client of a scraper, without waiting.
func (w *World) addClient(s *scraper, how clientSetup) *client {
	name := fmt.Sprintf("client-%d", len(w.clients))
	c := &client{machine: w.settle(name, how.at), scraper: s, others: how.others, alias: how.alias, keys: how.keys, knows: !how.stranger, addrs: how.addrs}
	if c.alias == "" {
		c.alias = domain.Alias(name)
	}
	if c.keys.IsZero() {
		c.keys = w.keysOf(name)
	}
	dial := w.keysOf(name + "'s dialler")
	c.source = &source{key: c.keys.Public}
	c.run = func() {
		c.source.loop = c.host
		cfg := app.ClientConfig{
			Host:      c.host,
			Transport: c.machine.transport(hyperdht.Config{}, how.transport),
			Source:    c.source,
			Scraper:   s.keys.Public,
			Secret:    w.secret,
			Alias:     c.alias, Service: "simulated", Hostname: name,
			Keys: c.keys, DialKeys: dial,
		}
		if how.stranger {
			cfg.Secret = domain.SecretFrom(w.seedOf("a wrong secret"))
		}
		if len(how.addrs) > 0 {
			cfg.Scrapers = append(cfg.Scrapers, app.ClientScraper{Key: cfg.Scraper, Secret: cfg.Secret, Addrs: how.addrs})
			cfg.Scraper, cfg.Secret = domain.PublicKey{}, domain.Secret{}
		}
		for _, other := range how.others {
			cfg.Scrapers = append(cfg.Scrapers, app.ClientScraper{Key: other.keys.Public, Secret: w.secret})
		}
		boot := c.boots
		cfg.OnEvent = func(e domain.Event) { w.onClientEvent(c, boot, e) }
		if how.change != nil {
			how.change(&cfg)
		}
		c.interval = cfg.RegisterInterval
		if c.interval == 0 {
			c.interval = domain.DefaultRegisterInterval
		}
		c.app = must(app.NewClient(cfg))
		c.sizers = append(c.sizers, c.app.Sizes)
		c.app.Start(func(err error) {
			if err != nil {
				w.log.tell(c.name, "does not listen: %v", err)
			}
		})
	}
	c.stop = func(done func()) {
		for _, with := range c.scrapers() {
			with.ledger.leaves(c)
		}
		c.app.Close(done)
	}
	w.clients = append(w.clients, c)
	for _, key := range []domain.PublicKey{c.keys.Public, dial.Public} {
		w.check.clientKeys[key] = append(w.check.clientKeys[key], c)
	}
	if !how.late {
		c.boot()
	}
	return c
}

// retire closes a client permanently.
func (c *client) retire() {
	c.retired = true
	c.close()
}

// source is a metrics source whose pages name their owner.
type source struct {
	loop  host.Host
	key   domain.PublicKey
	pages int
	long  int           // additional bytes of a page
	err   error         // returned instead of a page
	after time.Duration // time until a page is complete

	making, most int // pages in progress, and their maximum
}

// keyLine starts the line of a page that names its owner.
const keyLine = "# key "

// filler makes pages as long as those of a small exporter.
var filler = strings.Repeat("simulated_bytes_total{direction=\"in\"} 12345678\n", 20)

// Scrape implements ports.MetricsSource. Like an exporter that does not notice that its caller has gone, a collection that is cancelled
// goes on.
func (s *source) Scrape(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	c := &collecting{}
	s.making++
	s.most = max(s.most, s.making)
	finish := func() {
		s.making--
		if c.canceled {
			return
		}
		if s.err == nil {
			s.pages++
		}
		c.Scrape = scrape.Send(s.loop, scrape.Text(s.page()), s.err, h)
	}
	if s.after > 0 {
		s.loop.AfterFunc(s.after, finish)
	} else {
		s.loop.Post(finish)
	}
	return c
}

// page returns the text of the current page.
func (s *source) page() []byte {
	page := fmt.Appendf(nil, "%s%s\nsimulated_pages_total %d\n%s", keyLine, s.key, s.pages, filler)
	for end := len(page) + s.long; len(page) < end; {
		page = append(page, filler[:min(len(filler), end-len(page))]...)
	}
	return page
}

// collecting is a scrape whose page may not be complete yet.
type collecting struct {
	ports.Scrape
	canceled bool
}

// Cancel implements ports.Scrape.
func (c *collecting) Cancel() {
	if c.canceled = true; c.Scrape != nil {
		c.Scrape.Cancel()
	}
}

// ownerOf returns the owner that a page names.
func ownerOf(body []byte) string {
	rest, ok := strings.CutPrefix(string(body), keyLine)
	if !ok {
		return ""
	}
	key, _, _ := strings.Cut(rest, "\n")
	return key
}
