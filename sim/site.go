package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

var siteScenario = &Scenario{
	Name:  "site",
	About: "a client registers many targets as a set that changes all the time, with two scrapers; crashes, power cuts, moves and lost lines leave a whole set at each",
	Nodes: 6, Clients: 150, For: 2 * time.Minute, Coarse: true,
	Least: Least{Nodes: 4, Clients: 8, For: time.Minute},
	Play: func(w *World) {
		s := newSite(w)
		s.begin()
		faults := s.faults()
		for _, i := range s.luck.Perm(len(faults)) {
			w.phase("the set changes all the time")
			s.live(w.opts.For / time.Duration(2*len(faults)))
			w.phase("the set changes all the time, and %s", faults[i].what)
			faults[i].do()
			s.live(w.opts.For / time.Duration(2*len(faults)))
			s.quiet()
		}
		s.end()
	},
}

const (
	// siteInterval is the interval of registrations: an alias that another client gives back is registered again by the next one.
	siteInterval = time.Minute
	// siteWithin bounds the time after the last change until all scrapers have the set: an interval, or the longest wait after failures.
	siteWithin = siteInterval + healWithin
	// besideHanging bounds a scrape beside exporters that hang: a few round trips.
	besideHanging = time.Second
	// sharedTargets is the number of aliases that other clients register, too.
	sharedTargets = 3
	// watchEvery is the interval of checks of the tables, beside those after each change.
	watchEvery = 5 * time.Second
	// olderTargets is the number of targets where a scraper does not know sets: each is a server on the DHT then.
	olderTargets = 24
	// siteScrapes is the number of scrapes at a time with each scraper.
	siteScrapes = 4
)

// site is a client with many targets, in one process or two, with its scrapers and the clients that take aliases from it.
type site struct {
	w        *World
	luck     *rand.Rand
	size     int     // usual number of targets
	older    [2]bool // which scrapers do not know sets
	scrapers []*view
	running  *siteProcess
	process  int // number of processes so far
	takers   []*taker

	seed    domain.Seed
	keys    map[domain.Alias]domain.KeyPair // of the aliases by themselves, and of the set
	targets map[domain.Alias]domain.Target  // of the present set
	next    int                             // number of the next target
	version int                             // of the next change
	// history has the sets that a process had, and known their numbers by the revision of the targets that no other client takes.
	history []domain.TargetSet
	known   map[domain.Revision][]int
	rolling bool // two processes have different sets
	ghost   bool // a process has crashed that registered after the one that runs appeared: it may run, so a goodbye changes nothing

	calm bool // nothing changes, and scrapers have the set
	siteCounts
}

// siteCounts has the numbers for the table of the result.
type siteCounts struct {
	changes, scrapes, failed   int
	longest, settling          time.Duration
	tables, disks, calmScrapes int // checked
}

// view is one of the scrapers of a site, with what it may have.
type view struct {
	*scraper
	site     *site
	older    bool                           // does not know sets
	updated  time.Duration                  // when it was updated to a version with sets
	wasOlder bool                           // or did not: an alias by itself whose client cannot say goodbye stays until it expires
	secrets  []domain.Secret                // accepted, in its file
	acked    int                            // number of the set that it has acknowledged; -1 for none
	gone     map[domain.Alias]time.Duration // when targets that it had have gone
	had      map[domain.Alias]bool
}

// siteProcess is one process of a site.
type siteProcess struct {
	*machine
	app     *app.Client
	sources map[domain.Alias]ports.MetricsSource
	asked   map[domain.UID]int // number of the set in each registration
	// handover has the number of registrations of the set that are due until a scraper has it, where it got each target by itself before. The
	// first one takes the aliases. An alias that is just being registered by itself goes back to its own key then, and is removed by the
	// goodbye of that: the client registers the set again after all goodbyes.
	handover map[domain.PublicKey]int
}

func newSite(w *World) *site {
	s := &site{
		w: w, luck: w.randFor("site"), seed: domain.SeedFrom(w.seedOf("site")), keys: map[domain.Alias]domain.KeyPair{},
		targets: map[domain.Alias]domain.Target{}, known: map[domain.Revision][]int{},
	}
	s.key("")
	for i := range sharedTargets {
		s.put(domain.Alias(fmt.Sprint("shared-", i)))
	}
	older := s.luck.IntN(4)
	s.older = [2]bool{older < 2, older == 1}
	if s.size = w.opts.Clients; older < 2 {
		s.size = min(s.size, olderTargets)
	}
	for len(s.targets) < s.size {
		s.add()
	}
	return s
}

// key returns the keys of an alias by itself; those of the set for none.
func (s *site) key(a domain.Alias) domain.KeyPair {
	k, ok := s.keys[a]
	if !ok {
		k = app.AliasKeys(s.seed, a)
		s.keys[a] = k
		s.w.names.add(k.Public, "site/"+string(a))
		s.w.check.clientKeys[k.Public] = []*client{{alias: a, keys: k, knows: true, interval: siteInterval}}
	}
	return k
}

// shared reports whether other clients register an alias, too.
func (s *site) shared(a domain.Alias) bool {
	return slices.ContainsFunc(s.takers, func(t *taker) bool { return t.alias == a })
}

// put adds or changes a target of the next set.
func (s *site) put(a domain.Alias) {
	s.version++
	labels := must(domain.ParseLabels(map[string]string{"version": fmt.Sprint(s.version), "rack": fmt.Sprint(s.version % 40)}))
	t := domain.Target{Alias: a, Hostname: fmt.Sprint("host-", s.version%50), Service: fmt.Sprint("service-", s.version%7), Labels: labels}
	if old, ok := s.targets[a]; ok && s.luck.IntN(2) == 0 { // a change of labels alone
		t.Hostname, t.Service = old.Hostname, old.Service
	}
	if s.luck.IntN(3) == 0 {
		t.Label = string(a) + ":9100"
	}
	s.targets[a] = t
}

func (s *site) add() {
	s.next++
	s.put(domain.Alias(fmt.Sprintf("target-%05d", s.next)))
}

// any returns an alias of the present set.
func (s *site) any() domain.Alias {
	all := slices.Sorted(maps.Keys(s.targets))
	return all[s.luck.IntN(len(all))]
}

// set returns the present set, and records it.
func (s *site) set() []domain.Target {
	all := slices.Collect(maps.Values(s.targets))
	set := must(domain.NewTargetSet(all))
	r := s.private(all)
	s.known[r] = append(s.known[r], len(s.history))
	s.history = append(s.history, set)
	return slices.Collect(set.All())
}

// private returns the revision of those of the targets that no other client takes.
func (s *site) private(all []domain.Target) domain.Revision {
	all = slices.DeleteFunc(slices.Clone(all), func(t domain.Target) bool { return s.shared(t.Alias) })
	return must(domain.NewTargetSet(all)).Revision()
}

// begin boots everything, and waits until both scrapers have the set.
func (s *site) begin() {
	w := s.w
	w.bootNodes(w.opts.Nodes)
	for i := range 2 {
		v := &view{site: s, older: s.older[i], wasOlder: s.older[i], acked: -1, secrets: []domain.Secret{w.secret}}
		v.forget()
		v.scraper = w.newScraper(fmt.Sprint("scraper-", i), scraperSetup{
			at: []place{home, open}[i], disk: simstore.Config{WriteTime: []time.Duration{0, 300 * time.Millisecond}[i]},
			change: func(c *app.ScraperConfig) {
				c.Secrets = v.secrets
				if v.older {
					withoutSets(c)
				}
				tell := c.OnEvent
				c.OnEvent = func(e domain.Event) { tell(e); v.onEvent(e) }
			},
		})
		v.boot()
		w.until(v.name+" listens", startWithin, func() bool { return v.app != nil && v.app.Ready() })
		s.scrapers = append(s.scrapers, v)
	}
	for i := range sharedTargets {
		s.addTaker(s.scrapers[i%2].scraper, domain.Alias(fmt.Sprint("shared-", i)))
	}
	for _, v := range s.scrapers {
		v.spare = s.singles()
	}
	w.phase("a site of %d targets", s.size)
	s.running = s.start()
	w.net.AfterFunc(watchEvery, s.watch)
	s.quiet()
}

// start boots a process of the site on a machine of its own.
func (s *site) start() *siteProcess {
	s.process++
	p := &siteProcess{machine: s.w.settle(fmt.Sprint("site-", s.process), behind(simnet.PortRestricted()))}
	p.spare = s.singles()
	p.run = func() {
		p.sources, p.asked, p.handover = map[domain.Alias]ports.MetricsSource{}, map[domain.UID]int{}, map[domain.PublicKey]int{}
		cfg := app.ClientConfig{
			Host: p.host, Transport: p.transport(hyperdht.Config{}, dht.Config{}), RegisterInterval: siteInterval, Keys: s.key(""),
			Targets: s.targetsOf(p), OnEvent: func(e domain.Event) { s.onEvent(p, e) },
		}
		for _, v := range s.scrapers {
			cfg.Scrapers = append(cfg.Scrapers, app.ClientScraper{Key: v.scraper.keys.Public, Secret: s.w.secret})
		}
		p.app = must(app.NewClient(cfg))
		p.sizers = append(p.sizers, p.app.Sizes)
		p.app.Start(func(error) {})
	}
	p.stop = func(done func()) { p.app.Close(done) }
	p.boot()
	return p
}

// singles is the number of connections in progress where scrapers do not know sets.
func (s *site) singles() int {
	if !slices.ContainsFunc(s.scrapers, func(v *view) bool { return v.wasOlder }) {
		return 0
	}
	return connectionsPerClient * min(2*s.size, maxSingles)
}

// targetsOf returns the present set with the sources of a process.
func (s *site) targetsOf(p *siteProcess) (all []app.ClientTarget) {
	for _, t := range s.set() {
		if p.sources[t.Alias] == nil {
			p.sources[t.Alias] = s.exporter(p, t.Alias)
		}
		all = append(all, app.ClientTarget{Target: t, Source: p.sources[t.Alias], Keys: s.key(t.Alias)})
	}
	return all
}

// pageKey is the key that the pages of a target have.
func (s *site) pageKey(a domain.Alias) domain.PublicKey {
	return s.w.seedOf("exporter of " + string(a))
}

// exporter returns the source of a target: some are slow, and some hang.
func (s *site) exporter(p *siteProcess, a domain.Alias) ports.MetricsSource {
	e := &source{loop: p.host, key: s.pageKey(a)}
	switch n := e.key[0]; {
	case n < 16:
		return hanging{}
	case n < 48:
		e.after = 2 * time.Second
	}
	return e
}

// prompt reports whether the exporter of a target is neither slow nor hangs.
func (s *site) prompt(a domain.Alias) bool { return s.pageKey(a)[0] >= 48 }

// hanging is an exporter that never answers.
type hanging struct{}

func (hanging) Scrape(domain.ScrapeRequest, ports.ScrapeHandlers) ports.Scrape { return hanging{} }
func (hanging) Consumed(int)                                                   {}
func (hanging) Cancel()                                                        {}

// onEvent handles an event of a process.
func (s *site) onEvent(p *siteProcess, e domain.Event) {
	s.w.log.event(p.name, e)
	s.w.check.lifetimes(p.machine, e)
	switch e := e.(type) {
	case domain.AliasAttempt:
		if e.Register.Alias == "" {
			p.asked[e.UID] = len(s.history) - 1
		}
	case domain.SetUnsupported:
		p.handover[e.Scraper] = 2
	case domain.RegisterAliasSuccess:
		if n := p.handover[e.Scraper]; e.Alias == "" && n > 0 {
			p.handover[e.Scraper] = n - 1
		}
		if i, ok := p.asked[e.UID]; ok && !s.rolling {
			v := s.with(e.Scraper)
			v.acked = max(v.acked, i)
			v.judge("the disk", v.disk.Entries())
		}
		delete(p.asked, e.UID)
	case domain.RegisterAliasError:
		delete(p.asked, e.UID)
	}
}

func (s *site) with(key domain.PublicKey) *view {
	return s.scrapers[slices.IndexFunc(s.scrapers, func(v *view) bool { return v.scraper.keys.Public == key })]
}

// change replaces the set of the process that runs.
func (s *site) change() {
	p := s.running
	if !p.up() {
		return
	}
	s.changes++
	p.host.Do(func() {
		if err := p.app.SetTargets(s.targetsOf(p)); err != nil {
			s.w.fail("outcome", "%s does not take a set: %v", p.name, err)
		}
	})
}

// mix adds, removes and changes some targets, about one in some.
func (s *site) mix(some int) {
	s.alter(some)
	s.change()
}

// alter is mix for the next set.
func (s *site) alter(some int) {
	for range 1 + s.luck.IntN(1+len(s.targets)/some) {
		switch a := s.any(); s.luck.IntN(4) {
		case 0:
			if len(s.targets) < min(domain.MaxTargets, s.size+s.size/4) {
				s.add()
			}
		case 1:
			if len(s.targets) > s.size/2 {
				delete(s.targets, a)
			}
		default:
			s.put(a)
		}
	}
	for i := range sharedTargets {
		if s.luck.IntN(8) == 0 {
			s.put(domain.Alias(fmt.Sprint("shared-", i)))
		}
	}
}

const (
	aFew  = 40 // one target in
	aLot  = 3
	steps = 500 * time.Millisecond
)

// live changes the set and has it scraped for a while; other clients come and go.
func (s *site) live(d time.Duration) {
	for end := s.w.net.Now() + d; s.w.net.Now() < end; {
		s.w.run(min(end-s.w.net.Now(), steps/2+time.Duration(s.luck.Int64N(int64(steps)))))
		switch n := s.luck.IntN(20); {
		case n < 10:
			s.mix(aFew)
		case n == 10:
			s.mix(aLot)
		case n == 11:
			s.toggle(s.takers[s.luck.IntN(len(s.takers))])
		}
		s.scrapeSome()
	}
}

// scrapeSome scrapes some targets with each scraper.
func (s *site) scrapeSome() {
	for _, v := range s.scrapers {
		if !v.serves() {
			continue
		}
		for range siteScrapes {
			v.scrape(s.any())
		}
	}
}

// serves reports whether a scraper runs and has read its table.
func (v *view) serves() bool { return v.app != nil && v.up() && v.app.Loaded() }

// scrape scrapes a target: no answer may be of another one, and while nothing changes the prompt ones answer at once.
func (v *view) scrape(a domain.Alias) {
	s, w := v.site, v.site.w
	calm, boot := s.calm, v.boots
	s.scrapes++
	v.host.Do(func() {
		began := w.net.Now()
		before, _ := v.app.Alias(a)
		answered := w.mustAnswer(v.scraper, a)
		v.app.Scrape(a, scrapeWithin, func(body []byte, err error) {
			answered()
			took := w.net.Now() - began
			after, _ := v.app.Alias(a)
			if err == nil {
				v.served(a, body, before.Entry.Key, after.Entry.Key)
			} else {
				s.failed++
			}
			if !calm || boot != v.boots || !s.prompt(a) {
				return
			}
			s.calmScrapes++
			s.longest = max(s.longest, took)
			switch {
			case err != nil:
				w.fail("liveness", "a scrape of %q at %s fails beside slow exporters, though nothing changes: %v", a, v.name, err)
			case took > besideHanging:
				w.fail("liveness", "a scrape of %q at %s takes %v beside slow exporters, %v is the most", a, v.name, took, besideHanging)
			}
		})
	})
}

// served judges a page: it is that of the target, or of the client that had the alias when the scrape began or ended.
func (v *view) served(a domain.Alias, body []byte, holders ...domain.PublicKey) {
	got := ownerOf(body)
	if got == v.site.pageKey(a).String() {
		return
	}
	for _, c := range v.site.takers {
		if c.alias == a && slices.Contains(holders, c.keys.Public) && got == c.keys.Public.String() {
			return
		}
	}
	v.site.w.fail("identity", "a scrape of %q at %s brings metrics of %.8s", a, v.name, got)
}

// onEvent handles an event of a scraper.
func (v *view) onEvent(e domain.Event) {
	switch e := e.(type) {
	case domain.SetTargets:
		if e.Key == v.site.key("").Public {
			v.judgeTable()
		}
	case domain.LoadAliases:
		boot := v.boots
		v.site.w.net.AfterFunc(0, func() {
			if v.boots == boot && v.serves() {
				v.judgeTable()
			}
		})
	}
}

// watch judges the tables periodically.
func (s *site) watch() {
	for _, v := range s.scrapers {
		if v.serves() {
			v.judgeTable()
			v.judgeGone()
		}
	}
	if s.running != nil {
		s.w.net.AfterFunc(watchEvery, s.watch)
	}
}

// entries returns the table.
func (v *view) entries() []domain.Entry {
	all := v.app.Aliases()
	entries := make([]domain.Entry, len(all))
	for i, a := range all {
		entries[i] = a.Entry
	}
	return entries
}

func (v *view) judgeTable() {
	v.site.tables++
	v.judge("the table", v.entries())
}

// judge demands that a table has one set of the site, whole, and not an earlier one than was acknowledged.
func (v *view) judge(what string, entries []domain.Entry) {
	s, w := v.site, v.site.w
	var all []domain.Target
	for _, e := range entries {
		if e.InSet && e.Key == s.key("").Public {
			all = append(all, e.Target())
		}
	}
	if len(all) == 0 && v.acked < 0 {
		return
	}
	i := s.find(all)
	if i < 0 && v.wasOlder {
		i = v.findBeside(all, entries)
	}
	switch {
	case i < 0:
		w.fail("atomic", "%s of %s has a mixture of sets: %s", what, v.name, s.mixture(all))
	case i < v.acked:
		w.fail("acknowledged", "%s of %s has set %d, and %d was acknowledged", what, v.name, i, v.acked)
	}
}

// find returns the number of the last set that has some targets and no others, apart from those that other clients take; -1 for none.
func (s *site) find(all []domain.Target) int {
	for _, i := range slices.Backward(s.known[s.private(all)]) {
		other := func(t domain.Target) bool { have, _ := s.history[i].Get(t.Alias); return have != t }
		if !slices.ContainsFunc(all, other) {
			return i
		}
	}
	return -1
}

// findBeside is find where aliases may be registered by themselves, too.
func (v *view) findBeside(all []domain.Target, entries []domain.Entry) int {
	s := v.site
	have := must(domain.NewTargetSet(all))
	single := map[domain.Alias]bool{}
	for _, e := range entries {
		single[e.Alias] = v.leftover(e)
	}
	if v.updated > 0 && (s.running == nil || s.w.net.Now()-v.updated < siteWithin) { // the goodbye of one that took its alias back from the set
		for a := range s.keys {
			if _, has := have.Get(a); !has {
				single[a] = true
			}
		}
	}
	for i, set := range slices.Backward(s.history) {
		changed, gone := set.Diff(have)
		if len(gone) == 0 && !slices.ContainsFunc(changed, func(t domain.Target) bool { return !single[t.Alias] && !s.shared(t.Alias) }) {
			return i
		}
	}
	return -1
}

// mixture describes how targets differ from the set that they have most in common with.
func (s *site) mixture(all []domain.Target) string {
	least, text := -1, ""
	have := must(domain.NewTargetSet(all))
	for i, set := range s.history {
		changed, gone := set.Diff(have)
		n := len(changed) + len(gone)
		if least < 0 || n < least {
			least, text = n, fmt.Sprintf("%d targets; set %d of %d has %.300s instead, and not %.200s", have.Len(), i, len(s.history), fmt.Sprint(changed), fmt.Sprint(gone))
		}
	}
	return text
}

// forget forgets what a scraper had.
func (v *view) forget() {
	v.gone, v.had = map[domain.Alias]time.Duration{}, map[domain.Alias]bool{}
}

// judgeGone demands that no target that the scraper had is away for long while it is part of the set.
func (v *view) judgeGone() {
	s, now := v.site, v.site.w.net.Now()
	have := map[domain.Alias]bool{}
	for _, e := range v.entries() {
		have[e.Alias], v.had[e.Alias] = true, true
	}
	for _, a := range slices.Sorted(maps.Keys(v.had)) {
		if _, is := s.targets[a]; !is || have[a] {
			if delete(v.gone, a); !is {
				delete(v.had, a)
			}
			continue
		}
		if since, gone := v.gone[a]; !gone {
			v.gone[a] = now
		} else if now-since > siteWithin {
			s.w.fail("liveness", "%s has been without %q for %v", v.name, a, now-since)
			delete(v.had, a)
			delete(v.gone, a)
		}
	}
}

// lacks describes the first difference between a scraper's table and the set; "" for none.
func (v *view) lacks() string {
	s := v.site
	if !v.serves() {
		return "it does not run"
	}
	set := s.history[len(s.history)-1]
	if s.running != nil && !v.older && s.running.handover[v.scraper.keys.Public] > 0 {
		return "aliases that were registered by themselves are not handed over yet"
	}
	have := map[domain.Alias]domain.Entry{}
	keys := map[domain.PublicKey]bool{}
	for _, e := range v.entries() {
		have[e.Alias], keys[e.Key] = e, true
	}
	expected := 0
	for a, e := range have {
		if _, ok := set.Get(a); !ok && !slices.Contains(s.holders(a), e.Key) && !v.leftover(e) && !s.abandoned(e) {
			return fmt.Sprintf("%q is there, and belongs to %s", a, s.w.nameOf(e.Key))
		}
	}
	for t := range set.All() {
		e, ok := have[t.Alias]
		if v.older {
			if expected == maxSingles {
				break
			}
			t.Label, t.Labels = "", domain.Labels{}
		}
		expected++
		want := s.key("").Public
		if v.older {
			want = s.key(t.Alias).Public
		}
		switch {
		case !ok:
			return fmt.Sprintf("%q is missing", t.Alias)
		case slices.Contains(s.holders(t.Alias), e.Key):
		case e.Key != want:
			return fmt.Sprintf("%q belongs to %s", t.Alias, s.w.nameOf(e.Key))
		case e.Target() != t:
			return fmt.Sprintf("%q is %v, want %v", t.Alias, e.Target(), t)
		}
	}
	sessions, gone := 0, v.abandoned()
	for _, n := range v.app.Sessions() {
		sessions += n
	}
	switch open := v.app.Sessions()[domain.SessionOpen]; {
	case v.wasOlder:
	case sessions != len(keys) || open != sessions-gone:
		return fmt.Sprintf("there are %d sessions, %d open, for %d keys, %d of them of clients that have gone", sessions, open, len(keys), gone)
	}
	return ""
}

// leftover reports whether an entry is that of an alias by itself whose client could not say goodbye.
func (v *view) leftover(e domain.Entry) bool {
	return v.wasOlder && !e.InSet && e.Key == v.site.key(e.Alias).Public
}

// maxSingles is the number of targets that a scraper without sets gets (app/params.go).
const maxSingles = 256

// quiet stops the changes: both scrapers have the set soon, and targets beside slow ones answer at once.
func (s *site) quiet() {
	w := s.w
	w.phase("no changes for a while: all scrapers have the set within %v", siteWithin)
	began := w.net.Now()
	for _, v := range s.scrapers {
		if !w.reached(siteWithin, func() bool { return v.lacks() == "" }) {
			w.fail("liveness", "%s does not have the set %v after the last change: %s", v.name, w.net.Now()-began, v.lacks())
		}
	}
	s.settling = max(s.settling, w.net.Now()-began)
	w.run(max(0, healWithin-(w.net.Now()-began))) // connections that are dead are found to be
	s.calm = true
	for range 10 {
		s.scrapeSome()
		w.run(200 * time.Millisecond)
	}
	s.calm = false
	w.run(scrapeWithin + scrapeMargin)
	for _, v := range s.scrapers {
		w.expect(v.lacks() == "", "%s has the set no longer: %s", v.name, v.lacks())
	}
}

// siteFault is a disturbance of a site.
type siteFault struct {
	what string
	do   func()
}

func (s *site) faults() []siteFault {
	w := s.w
	one := func() *view { return s.scrapers[s.luck.IntN(len(s.scrapers))] }
	pause := func(most time.Duration) { w.run(time.Duration(s.luck.Int64N(int64(most)))) }
	all := []siteFault{
		{"the power of a scraper is cut after a write", func() {
			v := one()
			s.mix(aLot)
			cut := false
			v.disk.CutPower(v.disk.Writes()+1, func() { cut = true; v.crash() })
			w.until("a write is cut", siteWithin, func() bool { return cut })
			pause(3 * time.Second)
			v.restart()
		}},
		{"a scraper crashes during a write", func() {
			v := one()
			v.disk.SetConfig(simstore.Config{WriteTime: 300 * time.Millisecond})
			s.mix(aLot)
			w.until("a write begins", siteWithin, func() bool { return holdsOf(v.machine, "registrations being written") > 0 })
			v.crash()
			pause(3 * time.Second)
			v.restart()
		}},
		{"a scraper crashes during a transfer", func() {
			v := one()
			s.mix(aLot)
			pause(1500 * time.Millisecond)
			v.crash()
			pause(20 * time.Second)
			v.restart()
		}},
		{"a disk fails", func() {
			v := one()
			v.disk.SetConfig(simstore.Config{FailWrite: 0.3, FailLate: 0.3, Stall: 0.2, StallFor: 3 * time.Second})
			s.live(w.opts.For / 20)
			v.disk.SetConfig(simstore.Config{WriteTime: 300 * time.Millisecond})
		}},
		{"the client crashes", func() {
			s.mix(aLot)
			pause(2 * time.Second)
			s.running.crash()
			pause(10 * time.Second)
			s.alter(aFew)
			s.running.restart()
			s.ghost = false
		}},
		{"the client gets another address", func() {
			s.mix(aLot)
			pause(2 * time.Second)
			s.running.router.SetAddr(w.addrs.newPublic())
			w.stirs(s.running.machine)
		}},
		{"the client's line is lost during a transfer", func() {
			s.mix(aLot)
			pause(2 * time.Second)
			s.running.router.SetAccess(simnet.Link{Loss: 1})
			pause(20 * time.Second)
			s.mix(aFew)
			s.running.router.SetAccess(simnet.Link{Bandwidth: homeUplink, Queue: homeQueue})
			w.stirs(s.running.machine)
		}},
		{"the secret is rotated during a transfer", s.rotate},
		{"the client is replaced by a second process with the same keys", s.replace},
		{"the client is stopped and started", func() {
			for _, v := range s.scrapers {
				v.acked = -1
			}
			s.running.close()
			w.run(5 * time.Second)
			for _, v := range s.scrapers {
				v.forget()
				for _, e := range v.entries() {
					w.expect(len(s.holders(e.Alias)) > 0 || v.leftover(e) || s.abandoned(e) || s.ghost, "%s has %q of %s, which has left", v.name, e.Alias, w.nameOf(e.Key))
				}
			}
			s.alter(aFew)
			s.running.host.Do(s.running.run)
			s.ghost = false
		}},
	}
	if s.luck.IntN(2) == 0 {
		all = append(all, siteFault{"a scraper is updated to a version with sets, or restarted", func() {
			v := one()
			v.close()
			v.older, v.updated = false, w.net.Now()
			w.run(time.Second)
			v.host.Do(v.run)
		}})
	}
	return all
}

// rotate puts a new secret in front of the old one, and removes the old one while a set is being sent.
func (s *site) rotate() {
	w, old := s.w, s.w.secret
	w.retired, w.secret = append(w.retired, old), domain.SecretFrom(w.seedOf(fmt.Sprint("secret ", len(w.retired)+1)))
	s.accept(w.secret, old)
	s.mix(aLot)
	w.run(time.Duration(s.luck.Int64N(int64(2 * time.Second))))
	p := s.running
	w.stirs(p.machine)
	p.host.Do(func() {
		var all []app.ClientScraper
		for _, v := range s.scrapers {
			all = append(all, app.ClientScraper{Key: v.scraper.keys.Public, Secret: w.secret})
		}
		if n := p.app.SetSecrets(all); n != len(all) {
			w.fail("outcome", "%s takes %d other secrets, want %d", p.name, n, len(all))
		}
	})
	for _, c := range s.takers {
		if c.node != nil && !c.host.Down() {
			w.stirs(c.machine)
			c.host.Do(func() { c.app.SetSecrets([]app.ClientScraper{{Key: c.scraper.keys.Public, Secret: w.secret}}) })
		}
	}
	w.run(time.Duration(s.luck.Int64N(int64(2 * time.Second))))
	s.accept(w.secret)
}

func (s *site) accept(secrets ...domain.Secret) {
	for _, v := range s.scrapers {
		v.secrets = secrets
		v.host.Do(func() {
			if err := v.app.SetSecrets(secrets); err != nil {
				s.w.fail("outcome", "%s does not take other secrets: %v", v.name, err)
			}
		})
	}
}

// replace starts a second process with the same keys and another set, and stops the first one.
func (s *site) replace() {
	w := s.w
	s.rolling = true
	first := s.running
	s.alter(aFew)
	second := s.start()
	w.until("the second process is registered", startWithin, func() bool {
		for _, one := range second.app.Status().Scrapers {
			if !one.Registered && !s.with(one.Key).older {
				return false
			}
		}
		return true
	})
	w.run(time.Duration(s.luck.Int64N(int64(20 * time.Second))))
	if s.luck.IntN(3) == 0 {
		first.crash()
		s.ghost = true
	} else {
		first.close()
	}
	s.running, s.rolling = second, false
	for _, v := range s.scrapers {
		v.acked = -1
	}
}

// end stops everything: nothing is left of the set.
func (s *site) end() {
	w := s.w
	w.phase("the site is stopped, and nothing is left of it")
	for _, t := range s.takers {
		t.end()
	}
	for _, v := range s.scrapers {
		v.acked = -1
	}
	s.running.close()
	s.running = nil
	w.run(10 * time.Second)
	for _, v := range s.scrapers {
		left, gone := len(slices.DeleteFunc(v.entries(), v.leftover)), v.abandoned()
		w.expect(left == gone || s.ghost, "%s has %d aliases of clients that have left", v.name, left-gone)
		v.sizes(func(what string, held, _ int) {
			most := 0
			if slices.Contains(ofAliases, what) {
				most = gone
			}
			if slices.Contains(ofSets, what) && !(v.wasOlder && slices.Contains(ofAliases, what)) {
				w.expect(held <= most || s.ghost, "%s holds %d %s of clients that have left", v.name, held-most, what)
			}
		})
		v.disk.Replay(func(d *simstore.Disk) {
			s.disks++
			v.judge(fmt.Sprint("the disk after write ", s.disks), d.Entries())
		})
	}
	w.result.row("set", "%d changes; %d tables and %d states of disks were checked; scrapers had it %v after the last change at most", s.changes, s.tables, s.disks, s.settling)
	w.result.row("scrapes of targets", "%d, %d failed; %d beside slow ones while nothing changed, %v at most", s.scrapes, s.failed, s.calmScrapes, s.longest)
	w.expect(s.calmScrapes > 0 && s.changes > 0, "%d scrapes and %d changes: nothing was tried", s.calmScrapes, s.changes)
}

// ofSets lists what a scraper holds for sets, ofAliases that of them which it holds for single aliases, too.
var (
	ofSets    = append([]string{"sets", "targets of sets", "registrations being written"}, ofAliases...)
	ofAliases = []string{"aliases", "sessions", "keys of aliases", "scrape histories"}
)
