package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// deed is an operation that a scraper has acknowledged to a client, and the number of writes on the disk by then.
type deed struct {
	writes  int
	alias   domain.Alias
	key     domain.PublicKey // zero: the alias was deregistered, or is about to be
	expires time.Time
}

// goodbye records that a client has left, and how many writes were on the disk when its goodbye was answered.
type goodbye struct {
	writes int
	alias  domain.Alias
	key    domain.PublicKey
}

var copiesScenario = &Scenario{
	Name:  "copies",
	About: "the scraper's disk is copied between any two writes of a run: a scraper that boots from any of the copies has all that was promised by then",
	Nodes: 6, Clients: 5, For: 4 * time.Minute,
	Least: Least{Nodes: 4, Clients: 2, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		var deeds []deed
		leaving := map[domain.PublicKey]bool{} // their registrations may still be answered, and their goodbyes follow
		var s *scraper
		s = w.newScraper("scraper", scraperSetup{
			disk: simstore.Config{WriteTime: 300 * time.Millisecond},
			change: func(c *app.ScraperConfig) {
				tell := c.OnEvent
				c.OnEvent = func(e domain.Event) {
					if e, ok := e.(domain.AliasSuccess); ok {
						d := deed{s.disk.Writes(), e.Register.Alias, e.Register.Key, s.host.Clock().Now().Add(s.expiry - promiseSlack)}
						if leaving[d.key] {
							d.key = domain.PublicKey{}
						}
						deeds = append(deeds, d)
					}
					tell(e)
				}
			},
		})
		s.boot()
		w.until("the scraper listens", startWithin, func() bool { return s.app != nil && s.app.Ready() })
		w.phase("%d clients register each twenty seconds; some take aliases over, some say goodbye", w.opts.Clients)
		usual := clientSetup{at: behind(simnet.PortRestricted()), change: func(c *app.ClientConfig) { c.RegisterInterval = 20 * time.Second }}
		for i := range w.opts.Clients {
			one := usual
			if i%2 == 1 {
				one.alias = w.clients[i-1].alias // which both register from now on, in turn
			}
			w.addClient(s, one)
			w.run(5 * time.Second)
		}
		w.run(w.opts.For / 2)
		var left []goodbye
		retire := func(c *client) {
			leaving[c.keys.Public] = true
			deeds = append(deeds, deed{writes: s.disk.Writes(), alias: c.alias})
			c.retire()
			left = append(left, goodbye{s.disk.Writes(), c.alias, c.keys.Public})
		}
		retire(w.clients[0])
		w.phase("a client whose alias no other has registers, and says goodbye")
		only := w.addClient(s, usual)
		has := func(e domain.Entry) bool { return e.Alias == only.alias && e.Key == only.keys.Public }
		w.until(only.name+" is on the disk", healWithin, func() bool { return slices.ContainsFunc(s.disk.Entries(), has) })
		w.run(w.opts.For / 4)
		w.expect(slices.ContainsFunc(s.disk.Entries(), has), "%s is not on the disk any more before its goodbye", only.name)
		retire(only)
		w.run(w.opts.For / 4)

		writes := s.disk.Writes()
		w.phase("a scraper boots from the disk after each of the %d writes, and with the next one half done", writes)
		var copies []*crashCopy
		for i := range writes + 1 {
			copies = append(copies, w.bootCopy(fmt.Sprintf("copy-%d", i), i, s.disk.CopyAt(i), nil))
			if i < writes {
				half, torn := torn(s.disk, i)
				copies = append(copies, w.bootCopy(fmt.Sprintf("copy-%d and a half", i), i, half, torn))
			}
			w.run(100 * time.Millisecond)
		}
		w.run(5 * time.Second)
		for _, c := range copies {
			c.judge(deeds)
			c.judgeGoodbyes(left)
		}
		w.result.row("crash copies", "%d, of %d writes", len(copies), writes)
		w.expect(writes > 2*w.opts.Clients, "only %d writes", writes)
		w.closeAll(machinesOf(copies))
	},
}

// promiseSlack is the time by which an alias may expire early: that between the request and the answer.
const promiseSlack = 10 * time.Second

// torn returns the disk in the middle of the write after the first n: its new records cannot be read, and the others have
// their old or their new values.
func torn(d *simstore.Disk, n int) (half *simstore.Disk, aliases []domain.Alias) {
	before := d.CopyAt(n).Entries()
	half = d.CopyAt(n + 1)
	for _, e := range half.Entries() {
		if !slices.ContainsFunc(before, func(o domain.Entry) bool { return o.Alias == e.Alias }) {
			half.Spoil(e.Alias)
			aliases = append(aliases, e.Alias)
		}
	}
	return half, aliases
}

// crashCopy is a scraper booted from a copy of a disk.
type crashCopy struct {
	*machine
	writes  int // that had taken effect
	torn    []domain.Alias
	app     *app.Scraper
	started bool
	failed  error
	skipped int
}

func (c *crashCopy) machineOf() *machine { return c.machine }

// bootCopy boots a scraper with a key of its own, so that clients do not notice it.
func (w *World) bootCopy(name string, writes int, disk *simstore.Disk, torn []domain.Alias) *crashCopy {
	c := &crashCopy{machine: w.settle(name, open), writes: writes, torn: torn}
	keys := w.keysOf(name)
	c.run = func() {
		c.app = must(app.NewScraper(app.ScraperConfig{
			Host: c.host, Transport: c.transport(hyperdht.Config{}, dht.Config{}), Clock: c.host.Clock(),
			Store: simstore.Open(c.host, disk), Keys: keys, Secrets: []domain.Secret{w.secret},
			OnEvent: func(e domain.Event) {
				if e, ok := e.(domain.LoadAliases); ok {
					c.skipped = len(e.Skipped)
				}
			},
		}))
		c.app.Start(func(err error) { c.started, c.failed = true, err })
	}
	c.stop = func(done func()) { c.app.Close(done) }
	c.isAttacker = true // it dials clients that do not let it in
	c.boot()
	return c
}

// judge demands that everything acknowledged before the power cut is there.
func (c *crashCopy) judge(deeds []deed) {
	w := c.w
	if !c.started || c.failed != nil {
		w.fail("acknowledged", "%s does not start: %v", c.name, c.failed)
		return
	}
	w.expect(c.skipped == len(c.torn), "%s skips %d records, %d cannot be read", c.name, c.skipped, len(c.torn))
	have := map[domain.Alias]domain.Entry{}
	for _, a := range c.app.Aliases() {
		have[a.Alias] = a.Entry
	}
	last := map[domain.Alias]deed{}
	var order []domain.Alias
	for _, d := range deeds {
		if _, known := last[d.alias]; !known {
			order = append(order, d.alias)
		}
		if d.writes <= c.writes {
			last[d.alias] = d
		}
	}
	for _, a := range order {
		d, e := last[a], have[a]
		later := slices.ContainsFunc(deeds, func(o deed) bool {
			return o.alias == a && o.writes > c.writes && o.writes <= c.writes+1 && o.key == e.Key
		})
		switch {
		case d.key.IsZero(), slices.Contains(c.torn, a):
		case e.Key != d.key && !later:
			w.fail("acknowledged", "%s has %q of %s, and %s was acknowledged", c.name, a, w.nameOf(e.Key), w.nameOf(d.key))
		case e.Expires.Before(d.expires):
			w.fail("acknowledged", "%s lets %q expire at %v, and %s was promised %v", c.name, a, e.Expires, w.nameOf(d.key), d.expires)
		}
	}
}

// judgeGoodbyes demands that no client has an alias whose goodbye was answered before the power cut. The write of its removal may be half
// done in a copy before that.
func (c *crashCopy) judgeGoodbyes(left []goodbye) {
	for _, e := range c.app.Aliases() {
		for _, g := range left {
			if g.writes <= c.writes && e.Alias == g.alias && e.Key == g.key {
				c.w.fail("acknowledged", "%s has %q of %s, which has left", c.name, e.Alias, c.w.nameOf(e.Key))
			}
		}
	}
}
