package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simkv"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/internal/record"
)

var scraperGroupScenario = &Scenario{
	Name:  "group",
	About: "scrapers that share a key, and a table in etcd, are one to clients and to Prometheus: members crash, hand over and lose etcd, which loses answers and goes away",
	Nodes: 12, Clients: 16, For: 2 * time.Minute,
	Least: Least{Nodes: 6, Clients: 2, For: 20 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		g := w.newGroup(3 + int(w.opts.Seed%5))
		g.boot()
		for i := range w.opts.Clients {
			at := nats()
			if i >= len(at) {
				at = steady() // a node punches towards one random NAT at a time: natmix has many of them
			}
			w.addClient(g.members[0], clientSetup{at: at[i%len(at)], change: g.client(i)})
		}
		g.mustServe("with all members", startWithin)
		stop := g.prometheus()
		g.crashes()
		g.rolling()
		g.withoutEtcd()
		g.takeover()
		g.oneWay()
		g.offerOnly()
		g.badEtcd()
		stop()
		g.mustServe("at the end", groupWithin)
		g.mustShare()
		w.result.row("scrapes lost in rolling restarts", "%d of %d", g.lostRolling, g.rolled)
		w.result.row("transactions of the store", "%d", g.cluster.Stats().Changes)
	},
}

var groupChaosScenario = &Scenario{
	Name:  "groupchaos",
	About: "a group of scrapers, and everything that can go wrong with machines, links, routers and etcd, drawn by swarm",
	Nodes: 12, Clients: 8, For: 10 * time.Minute,
	Least:  Least{Nodes: 6, Clients: 1, For: 20 * time.Second},
	Faults: slices.DeleteFunc(FaultKinds(), func(kind string) bool { return kind == faultJumps }),
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		g := w.newGroup(3)
		g.boot()
		homes := w.homes(scraperAnywhere)
		for i := range w.opts.Clients {
			w.addClient(g.members[0], clientSetup{at: homes.client(i), transport: homes.transport, change: g.client(i)})
		}
		w.allScrapeable(startWithin)
		stop := g.troubles(w.drawFaults().disk != simstore.Config{})
		w.suffer(w.drawFaults().without(faultJumps), w.machines, w.opts.For, groupWithin+domain.RetryMax)
		stop()
		g.mustServe("after the faults", groupWithin)
		g.only(g.follower(), w.clients[0])
		g.mustServe("one member reaches one client", missedWithin)
	},
}

// troubles disturbs the store until stop is called: it is gone, or cut off from a member, or forgets its history; and bad loses requests and
// answers, too. Between these, only one member can reach a client.
func (g *scraperGroup) troubles(bad bool) (stop func()) {
	r, stopped := g.w.randFor("etcd"), false
	if bad && !slices.Contains(g.w.opts.Without, faultDisk) {
		g.cluster.SetConfig(badEtcd())
	}
	var next func()
	next = func() {
		if stopped {
			return
		}
		length := time.Duration(r.Int64N(int64(3 * groupLease)))
		undo := func() {}
		switch m := g.members[r.IntN(len(g.members))]; r.IntN(4) {
		case 0:
			g.cluster.Stop()
			undo = g.cluster.Resume
		case 1:
			host := m.host
			g.cluster.Cut(host)
			undo = func() { g.cluster.Join(host) }
		case 2:
			c := g.w.clients[r.IntN(len(g.w.clients))]
			g.only(m, c)
			undo = func() { g.only(nil, c) }
		default:
			g.cluster.Compact(g.cluster.Revision())
		}
		g.w.net.AfterFunc(length, func() {
			undo()
			g.w.net.AfterFunc(time.Duration(r.Int64N(int64(g.w.opts.For/8))), next)
		})
	}
	g.w.net.AfterFunc(0, next)
	// The faults of the world end after its time.
	g.w.net.AfterFunc(g.w.opts.For, func() {
		stopped = true
		g.cluster.SetConfig(usualEtcd())
	})
	return func() { stopped = true }
}

// badEtcd loses requests and answers, and is slow.
func badEtcd() simkv.Config {
	c := usualEtcd()
	c.Delay, c.Lag, c.LoseRequest, c.LoseAnswer = upTo(300*time.Millisecond), upTo(time.Second), 0.05, 0.05
	return c
}

const (
	// groupLease is the time-to-live of a member's lease.
	groupLease = 5 * time.Second
	// takeoverWithin bounds the time after a failure of a member until every alias is scraped at every other one: the lease, etcd's check of
	// it, the election, and the dials of the new leader, of which those behind random NATs are the last.
	takeoverWithin = groupLease + 15*time.Second
	// groupWithin bounds the same after a disturbance of the store, whose clients connect again after seconds.
	groupWithin = takeoverWithin + 15*time.Second
	// visitsEnd is a time after which no member has connections to clients of others that it visited.
	visitsEnd = 2 * time.Minute
	// drainTime is the time for the scrapes under way at a member that is stopped.
	drainTime = 2 * time.Second
	// groupEvery is the interval of scrapes of each alias, and rollingEvery that while members are restarted in turn.
	groupEvery   = 5 * time.Second
	rollingEvery = 500 * time.Millisecond
	// visitWithin bounds the time after a crash of the leader until the others scrape its clients, which is before another one leads. Clients
	// whose ports have to be guessed take longer: they guess for one member at a time, for 1.6 s on average, and again after a failure.
	visitWithin = groupLease - time.Second
	// newcomerWithin bounds the registration of a new client, whose node knows none but the first of the DHT, after a handover.
	newcomerWithin = 5 * time.Second
)

// scraperGroup is a group of scrapers.
type scraperGroup struct {
	w       *World
	cluster *simkv.Cluster
	members []*scraper
	ledger  *ledger
	leading *scraper // nil for none
	term    int      // boots of that when it began to lead
	turn    int      // of the next scrape

	restarting          bool // members are restarted in turn, and no scrape may be lost
	rolled, lostRolling int
}

// newGroup returns a group whose members are not booted yet.
func (w *World) newGroup(size int) *scraperGroup {
	g := &scraperGroup{w: w, cluster: simkv.New(w.net, usualEtcd())}
	for i := range size {
		g.members = append(g.members, g.newMember(fmt.Sprintf("member-%d", i)))
	}
	g.ledger = newLedger(g.members[0])
	g.ledger.entries, g.ledger.shared = g.entries, true
	for _, m := range g.members {
		m.ledger = g.ledger
	}
	return g
}

// boot boots the members.
func (g *scraperGroup) boot() {
	for _, m := range g.members {
		m.boot()
		g.w.until(m.name+" is ready", startWithin, func() bool { return m.app != nil && m.app.Ready() })
	}
}

// usualEtcd is etcd in the same data centre.
func usualEtcd() simkv.Config {
	return simkv.Config{Delay: upTo(10 * time.Millisecond), Lag: upTo(50 * time.Millisecond), Drift: 0.001}
}

// upTo is a delay of at most d.
func upTo(d time.Duration) simnet.Distribution {
	return simnet.Distribution{Shape: simnet.Uniform, Scale: d}
}

const groupPrefix = "/dhtprom/"

// entries reads the table in the store.
func (g *scraperGroup) entries() (all []domain.Entry) {
	const folder = groupPrefix + "aliases/"
	for _, item := range g.cluster.Items(folder) {
		alias := strings.TrimPrefix(item.Key, folder)
		e, err := entryOf(alias, item.Value)
		if err != nil {
			g.w.fail("store", "a record of %q: %v", alias, err)
			continue
		}
		all = append(all, e)
	}
	return all
}

func (g *scraperGroup) newMember(name string) *scraper {
	w := g.w
	s := &scraper{machine: w.settle(name, open), keys: w.keysOf("the group")}
	s.run = func() {
		boot := s.boots
		store := etcd.New(s.host, g.cluster.Connect(s.host), etcd.Config{Prefix: groupPrefix, TTL: groupLease, Clock: s.host.Clock()})
		cfg := app.ScraperConfig{
			Host: s.host, Transport: s.transport(hyperdht.Config{}, dht.Config{}), Clock: s.host.Clock(),
			Store: &followed{store, s}, Keys: s.keys, Secrets: []domain.Secret{w.secret},
			Group: &app.GroupConfig{Group: store, Members: &memberPipes{g, s}, Member: domain.Member{Name: name, URL: "http://" + name}},
		}
		cfg.OnEvent = func(e domain.Event) { g.onEvent(s, boot, e) }
		s.expiry = domain.DefaultExpiry
		a := must(app.NewScraper(cfg))
		s.app, s.scrape = a, a.Scrape
		s.sizers = append(s.sizers, a.Sizes)
		a.Start(func(err error) {
			if err != nil {
				w.fail("outcome", "%s does not start: %v", name, err)
			}
		})
	}
	s.stop = func(done func()) {
		s.app.HandOver(func() {
			s.host.AfterFunc(drainTime, func() { s.app.Close(done) }) // as an HTTP server that ends its requests
		})
	}
	w.scrapers = append(w.scrapers, s)
	return s
}

// followed is a member's store. It notes what the member learns of other members' registrations: its sessions dial again at once.
type followed struct {
	*etcd.Member
	s *scraper
}

// Follow implements ports.SharedStore.
func (f *followed) Follow(report func(domain.TableChange)) {
	w := f.s.w
	f.Member.Follow(func(c domain.TableChange) {
		for _, e := range c.Put {
			w.check.nudge(f.s.name + " dials " + w.nameOf(e.Key))
		}
		report(c)
	})
}

// onEvent handles every event of a member. No two members lead at a time, whatever their clocks say.
func (g *scraperGroup) onEvent(s *scraper, boot int, e domain.Event) {
	switch e := e.(type) {
	case domain.SessionWait:
		if g.firstWait(s, e.Key) {
			g.w.check.startOver(s.name + " dials " + g.w.nameOf(e.Key))
		}
	case domain.GroupLead:
		if g.leads() && g.leading != s {
			g.w.fail("leader", "%s leads while %s does", s.name, g.leading.name)
		}
		g.leading, g.term, g.ledger.s = s, s.boots, s
		g.ledger.booted()
	case domain.GroupFollow:
		if g.leading == s {
			g.leading = nil
		}
	case domain.LoadAliases:
		if g.leading != s {
			g.w.log.event(s.name, e) // the table of another member, which lags
			return
		}
	}
	g.w.onScraperEvent(s, boot, e)
}

// leads reports whether the member that began to lead last runs still. One that is asleep can do nothing.
func (g *scraperGroup) leads() bool {
	return g.leading != nil && g.leading.up() && g.leading.boots == g.term
}

// client makes most clients renew their registrations hourly, as those of the JavaScript packages do, and some each minute.
func (g *scraperGroup) client(i int) func(*app.ClientConfig) {
	return func(c *app.ClientConfig) {
		if i%3 == 0 {
			c.RegisterInterval = time.Minute
		}
	}
}

// ups lists the members that run and are not about to leave.
func (g *scraperGroup) ups() (ups []*scraper) {
	for _, m := range g.members {
		if m.app == nil || !m.up() || !m.app.Loaded() {
			continue
		}
		if view, _ := m.app.Group(); len(view.Members) > 0 {
			if self, _ := view.Member(view.Self); self.Leaving {
				continue
			}
		}
		ups = append(ups, m)
	}
	return ups
}

// prometheus scrapes each alias regularly, by a load balancer that knows which members are up, until stop is called.
func (g *scraperGroup) prometheus() (stop func()) {
	stopped := false
	var each func(c *client)
	each = func(c *client) {
		if stopped {
			return
		}
		if ups := g.ups(); len(ups) > 0 && !c.retired {
			g.turn++
			m, rolling := ups[g.turn%len(ups)], g.restarting
			g.w.scrape(m, c.alias, func(_ time.Duration, err error) {
				if rolling {
					if g.rolled++; err != nil {
						g.lostRolling++
						g.w.fail("group", "a scrape of %s at %s is lost in a rolling restart: %v", c.alias, m.name, err)
					}
				}
			})
		}
		every := groupEvery
		if g.restarting {
			every = rollingEvery
		}
		g.w.net.AfterFunc(every, func() { each(c) })
	}
	for i, c := range g.w.clients {
		g.w.net.AfterFunc(groupEvery*time.Duration(i)/time.Duration(len(g.w.clients)), func() { each(c) })
	}
	return func() { stopped = true }
}

// mustServe demands that every alias is scraped at every member that is up, within a time.
func (g *scraperGroup) mustServe(when string, within time.Duration) {
	g.mustServeEach(when, func(*client) time.Duration { return within })
}

// visited returns the bound for a client after a crash of the leader.
func visited(c *client) time.Duration {
	if c.router != nil && isRandom(c.router.NAT()) {
		return healWithin
	}
	return visitWithin
}

// mustServeEach is mustServe with a time for each client.
func (g *scraperGroup) mustServeEach(when string, within func(*client) time.Duration) {
	w, began, longest := g.w, g.w.net.Now(), time.Duration(0)
	type pair struct {
		m *scraper
		c *client
	}
	waiting, last := map[pair]bool{}, map[pair]error{}
	var again func(p pair)
	again = func(p pair) {
		if w.net.Now()-began > within(p.c) || !waiting[p] {
			return
		}
		w.ask(p.m, p.c.alias, w.result.polled, func(_ time.Duration, err error) {
			if last[p] = err; err == nil {
				if w.net.Now()-began <= within(p.c) {
					delete(waiting, p)
				}
				return
			}
			w.net.AfterFunc(time.Second, func() { again(p) })
		})
	}
	var pairs []pair
	for _, m := range g.ups() {
		for _, c := range w.clients {
			if !c.retired {
				p := pair{m, c}
				waiting[p] = true
				longest = max(longest, within(c))
				pairs = append(pairs, p)
				again(p)
			}
		}
	}
	w.reached(longest, func() bool { return len(waiting) == 0 })
	w.result.row("until all aliases are scraped at all members, "+when, "%v", (w.net.Now() - began).Round(100*time.Millisecond))
	for _, p := range pairs {
		if waiting[p] {
			w.fail("liveness", "%s cannot be scraped at %s %v after: %s: %v", p.c.alias, p.m.name, within(p.c), when, last[p])
		}
	}
	clear(waiting)
}

// mustShare demands that each client has one connection, that of the member that holds it, once visits are over.
func (g *scraperGroup) mustShare() {
	w := g.w
	w.phase("nothing happens for %v: each client has one connection", visitsEnd)
	w.run(visitsEnd)
	var shares []int
	held := map[domain.PublicKey]string{}
	for _, m := range g.ups() {
		shares = append(shares, 0)
		for _, a := range m.app.Aliases() {
			if !a.SessionUp {
				continue
			}
			if other := held[a.Key]; other != "" {
				w.fail("group", "%s and %s both have a connection to %s", other, m.name, w.nameOf(a.Key))
			}
			if a.Holder != "" {
				w.fail("group", "%s has a connection to %s, which %s holds", m.name, w.nameOf(a.Key), a.Holder)
			}
			held[a.Key] = m.name
			shares[len(shares)-1]++
		}
	}
	w.result.row("clients of each member", "%v", shares)
}

// leader waits for a member that leads and has the table.
func (g *scraperGroup) leader() *scraper {
	g.w.until("a member leads", groupWithin, g.leads)
	return g.leading
}

// follower returns a member that is up and does not lead.
func (g *scraperGroup) follower() *scraper {
	leader := g.leader()
	ups := slices.DeleteFunc(g.ups(), func(m *scraper) bool { return m == leader })
	return ups[g.w.rand.IntN(len(ups))]
}

func (g *scraperGroup) crashes() {
	w := g.w
	w.phase("a member that does not lead crashes, and comes back")
	m := g.follower()
	m.crash()
	g.mustServe("a follower is gone", healWithin)
	m.restart()
	w.run(2 * groupLease)
	w.phase("the leader crashes, and comes back")
	m = g.leader()
	m.crash()
	before := w.check.registered
	g.mustServeEach("the leader is gone", visited)
	g.registers("new-1", takeoverWithin)
	m.restart()
	w.run(w.opts.For / 4)
	w.result.row("registrations after the leader crashed", "%d", w.check.registered-before)
	g.mustServe("the leader is back", healWithin)
}

// registers adds a client, whose registration must succeed.
func (g *scraperGroup) registers(alias domain.Alias, within time.Duration) *client {
	c := g.w.addClient(g.members[0], clientSetup{at: open, alias: alias, change: g.client(1)})
	registered := func() bool { return c.app.Status().Registered }
	if !g.w.reached(within, registered) {
		g.w.fail("group", "%s is not registered within %v", alias, within)
		g.w.until(string(alias)+" is registered", startWithin, registered)
	}
	return c
}

// rolling restarts all members in turn. No scrape may be lost.
func (g *scraperGroup) rolling() {
	w := g.w
	w.phase("all members are restarted in turn")
	g.mustServe("before the rolling restart", groupWithin)
	g.restarting = true
	for i, m := range g.members {
		led := g.leads() && g.leading == m
		m.close()
		if led {
			g.registers(domain.Alias(fmt.Sprintf("newcomer-%d", i)), newcomerWithin)
		}
		m.host.Do(m.run)
		w.until(m.name+" is ready", startWithin, func() bool { return m.app.Ready() })
		w.run(groupEvery)
	}
	w.run(2 * groupEvery)
	g.restarting = false
	g.mustServe("all were restarted", healWithin)
}

// withoutEtcd cuts members off from the store, one and then all.
func (g *scraperGroup) withoutEtcd() {
	w := g.w
	w.phase("the leader is cut off from etcd")
	cut := g.leader()
	g.cluster.Cut(cut.host)
	g.mustServe("the leader is cut off", takeoverWithin)
	w.until("another member leads", takeoverWithin, func() bool { return g.leads() && g.leading != cut })
	g.registers("new-2", takeoverWithin) // of which the member without the store cannot know
	g.cluster.Join(cut.host)
	g.mustServe("the former leader is back", groupWithin)

	w.phase("etcd is gone for %v: scrapes go on, registrations do not", w.opts.For)
	g.cluster.Stop()
	w.run(2 * groupLease)
	g.mustServe("etcd is gone", healWithin)
	late := w.addClient(g.members[0], clientSetup{at: open, alias: "late", change: g.client(1)})
	w.run(w.opts.For)
	w.expect(!late.app.Status().Registered, "a registration is acknowledged without the store")
	for _, m := range g.members {
		err := errors.New("not called")
		m.host.Do(func() {
			m.app.PutAlias(domain.Register{Alias: "by-hand", Key: late.keys.Public, Hostname: "h"}, func(_ bool, e error) { err = e })
		})
		w.run(6 * time.Second)
		w.expect(errors.Is(err, domain.ErrNotLeader) || errors.Is(err, domain.ErrStoreUnreachable), "%s: a change without the store ends with: %v", m.name, err)
	}
	g.cluster.Resume()
	w.until("the late client is registered", groupWithin+domain.RetryMax, func() bool { return late.app.Status().Registered })
	g.mustServe("etcd is back", groupWithin)
}

// takeover moves an alias to another client. No member may serve the former one for longer than a lease.
func (g *scraperGroup) takeover() {
	w := g.w
	w.phase("another client takes an alias over")
	old := w.clients[len(w.clients)-1]
	next := g.registers(old.alias, newcomerWithin)
	old.retired = true
	w.run(groupLease)
	for _, m := range g.ups() {
		if got := w.owner(m, old.alias); got != next.keys.Public {
			w.fail("group", "%s gives %q to %s a lease after the takeover", m.name, old.alias, w.nameOf(got))
		}
		if _, err := w.scrapeNow(m, old.alias); err != nil {
			w.fail("group", "%s cannot scrape %q after the takeover: %v", m.name, old.alias, err)
		}
	}
	old.close()
}

// badEtcd lets the store lose requests and answers, lag and forget its history, while members crash.
func (g *scraperGroup) badEtcd() {
	w := g.w
	w.phase("etcd is bad for %v", w.opts.For)
	g.cluster.SetConfig(badEtcd())
	for i := range 4 {
		w.addClient(g.members[0], clientSetup{at: open, alias: domain.Alias(fmt.Sprintf("bad-%d", i)), change: g.client(0)})
		w.run(w.opts.For / 8)
		g.cluster.Compact(g.cluster.Revision())
		m := g.members[w.rand.IntN(len(g.members))]
		m.crash()
		w.run(w.opts.For / 8)
		m.restart()
	}
	g.cluster.SetConfig(usualEtcd())
	g.mustServe("etcd works again", groupWithin+domain.RetryMax)
}

// entryOf decodes a record of the store.
func entryOf(alias string, value []byte) (domain.Entry, error) {
	sealed, err := record.Unseal(record.Aliases, alias, value)
	if err != nil {
		return domain.Entry{}, err
	}
	return record.DecodeEntry(alias, sealed.Payload)
}
