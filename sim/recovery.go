package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// recovery is a start, or one disturbance, of a scraper and its clients, and a bound on the time after which Prometheus has
// metrics from all clients again.
type recovery struct {
	name    string
	rtt     time.Duration // between any two machines on the internet; 0 for usualRTT
	nodes   int           // of the DHT; 0 for the scenario's
	seeds   int           // number of runs that the median is taken of; 0 for recoverySeeds
	clients int           // 0 for one
	median  time.Duration // the bound
	most    time.Duration // the bound for a share of all runs; 0 for none
	share   float64       // 0 for all
	// enters: a machine enters the DHT first, and looks peers up then, one round of requests after the other. The bound of the median is that
	// of a DHT of usualNodes, in which the first answers name nearly all nodes. In a larger one it is moreRounds later.
	enters bool
	// play sets up and disturbs a world, and returns the time from the end of the disturbance to the first scrape.
	play func(w *World) time.Duration
}

const (
	usualRTT, farRTT = 40 * time.Millisecond, 200 * time.Millisecond
	usualNodes       = 12
	// moreRounds bounds the round trips by which two lookups in a row are longer in a larger DHT: each may end with a few nodes that others
	// name one after the other.
	moreRounds    = 10
	recoverySeeds = 5
	// closeSeeds is the number of runs where the bound is close to the time of most runs: those in which no computation has a long delay
	// (simnet.Host.Compute) take 496 ms, and a quarter of all has one. Of five runs, three have one in each twelfth seed.
	closeSeeds = 31
	// recoveryPatience bounds the wait for a client.
	recoveryPatience = 5 * time.Minute
	// settled is the time without disturbances after a start.
	settled = time.Minute
)

var home = behind(simnet.PortRestricted())

// recoveries lists the recoveries that README.md promises, and those that are aims.
func recoveries() []recovery {
	all := []recovery{
		{name: "start, consistent NATs", seeds: closeSeeds, median: 500 * time.Millisecond, enters: true, play: starts(home, home)},
		{name: "start, one LAN, container bridges", median: 500 * time.Millisecond, enters: true, play: startsWithBridges},
		{name: "start, equal private addresses", seeds: closeSeeds, median: 500 * time.Millisecond, enters: true, play: startsAtTwins},
		{name: "start, a bystander at the private address", median: 500 * time.Millisecond, enters: true, play: startsBesideBystander},
		{name: "start, one carrier, a relay", median: 2 * time.Second, enters: true, play: startsInOneCarrier},
		{name: "start, 200 ms", rtt: farRTT, median: 5 * time.Second, enters: true, play: starts(home, home)},
		{name: "the client restarts, 200 ms", rtt: farRTT, median: 2 * time.Second, enters: true, play: restarts(theClient, withBootstrap)},
		{name: "the client restarts without bootstrap node, 200 ms", rtt: farRTT, median: 2 * time.Second, enters: true, play: restarts(theClient, withoutBootstrap)},
		{name: "the scraper restarts, 200 ms", rtt: farRTT, median: 2 * time.Second, enters: true, play: restarts(theScraper, withBootstrap)},
		{name: "the scraper restarts without bootstrap node, 200 ms", rtt: farRTT, median: 2 * time.Second, enters: true, play: restarts(theScraper, withoutBootstrap)},
		{name: "the client's router reboots", seeds: 9, median: 5 * time.Second, play: disturbed(func(_ *scraper, c *client) { c.router.Reboot(simnet.Reboot{}) })},
		{name: "the scraper's router reboots", seeds: 9, median: 5 * time.Second, play: disturbed(func(s *scraper, _ *client) { s.router.Reboot(simnet.Reboot{}) })},
		{name: "the client's public address changes", median: 10 * time.Second, play: disturbed(func(_ *scraper, c *client) { c.router.SetAddr(c.w.addrs.newPublic()) })},
		{name: "the scraper's public address changes", median: 10 * time.Second, play: disturbed(func(s *scraper, _ *client) { s.router.SetAddr(s.w.addrs.newPublic()) })},
		{name: "the client's machine changes networks", median: 10 * time.Second, play: disturbed(func(_ *scraper, c *client) {
			cafe := c.w.net.AddRouter("café", simnet.PortRestricted(), c.w.addrs.newPublic())
			c.host.Move(cafe.LAN(), netip.MustParseAddr("10.9.8.7"))
		})},
		{name: "the path carries 1,280 bytes only", median: 5 * time.Second, play: shrinks(1280)},
		{name: "the path carries 1,000 bytes only", median: 10 * time.Second, play: shrinks(1000)},
		{name: "the scraper loses its table", median: 30 * time.Second, play: losesTable},
	}
	for _, asleep := range []time.Duration{2 * time.Minute, 10 * time.Minute} {
		all = append(all,
			recovery{name: fmt.Sprintf("the client sleeps for %v", asleep), median: 5 * time.Second, play: sleeps(asleep, theClient)},
			recovery{name: fmt.Sprintf("the scraper sleeps for %v", asleep), median: 5 * time.Second, play: sleeps(asleep, theScraper)},
		)
	}
	all = append(all,
		recovery{name: "the client's line is dead for 1m0s", median: 10 * time.Second, play: deadLine(time.Minute, theClient)},
		recovery{name: "the scraper's line is dead for 1m0s", median: 10 * time.Second, play: deadLine(time.Minute, theScraper)},
	)
	for _, nodes := range []int{4, 20} {
		for _, dead := range []time.Duration{time.Minute, 5 * time.Minute} {
			all = append(all, recovery{
				name: fmt.Sprintf("the client's line is dead for %v, %d DHT nodes", dead, nodes), nodes: nodes, seeds: 12,
				median: 30 * time.Second, most: 30 * time.Second, play: deadLine(dead, theClient),
			})
		}
	}
	return all
}

var guessesScenario = &Scenario{
	Name:  "guesses",
	About: "one client at a time that meets its scraper by guessing ports, where either of the two has a random NAT",
	Nodes: 12, Clients: 100, For: recoveryPatience,
	Least: Least{Nodes: 12, Clients: 1, For: time.Second},
	Large: true,
	Play: func(w *World) {
		random := behind(simnet.SymmetricRandom())
		for _, cell := range []recovery{
			{name: "the scraper's NAT is random", play: starts(random, home)},
			{name: "the client's NAT is random", play: starts(home, random)},
		} {
			// Of few runs, all may be slow ones.
			cell.seeds, cell.clients, cell.median, cell.most, cell.share = w.opts.Clients, 1, recoveryPatience, 10*time.Second, 0.95
			if w.opts.Clients < 100 {
				cell.most = recoveryPatience
			}
			w.recover(cell)
		}
		for _, cell := range []recovery{
			{name: "the scraper's NAT is random, 8 clients at once", play: starts(random, home)},
			{name: "the clients' NATs are random, 8 clients at once", play: starts(home, random)},
		} {
			cell.seeds, cell.clients, cell.median, cell.most = max(w.opts.Clients/8, 1), 8, time.Minute, time.Minute
			if w.opts.Clients < 100 { // the median of one run is that run
				cell.median, cell.most = recoveryPatience, recoveryPatience
			}
			w.recover(cell)
		}
	},
}

var recoveryScenario = &Scenario{
	Name:  "recovery",
	About: "one disturbance at a time: how long until there are metrics again, as the median of some runs",
	Nodes: usualNodes, Clients: 1, For: time.Second, // each disturbance lasts as long as it says
	Least: Least{Nodes: usualNodes, Clients: 1, For: time.Second},
	Play: func(w *World) {
		for _, cell := range recoveries() {
			w.recover(cell)
		}
	},
}

// recover plays a cell with several seeds.
func (w *World) recover(cell recovery) {
	var took []time.Duration
	o := w.opts
	if cell.nodes > 0 {
		o.Nodes = cell.nodes
	}
	if cell.clients > 0 {
		o.Clients = cell.clients
	}
	o.Trace, o.Capture = nil, nil
	seeds := max(cell.seeds, 1)
	if cell.seeds == 0 {
		seeds = recoverySeeds
	}
	rtt := cell.rtt
	if rtt == 0 {
		rtt = usualRTT
	}
	w.phase("%s", cell.name)
	for i := range seeds {
		o.Seed = w.opts.Seed + uint64(i)
		one := *w.scenario
		one.Link = &simnet.Link{Delay: rtt / 2}
		one.Play = func(w *World) {
			w.bootNodes(w.opts.Nodes)
			took = append(took, cell.play(w))
		}
		r := one.run(o)
		for _, f := range r.Failures {
			f.What = fmt.Sprintf("%s, seed %d: %s", cell.name, o.Seed, f.What)
			w.failed(f)
		}
		w.result.inner = append(w.result.inner, r)
		w.log.say("hash %016x", r.Hash)
	}
	if cell.enters && o.Nodes > usualNodes {
		cell.median += moreRounds * rtt
	}
	median, share := quantile(took, 0.5), quantile(took, 1)
	if cell.share > 0 {
		share = quantile(took, cell.share)
	}
	w.expect(len(took) == seeds && median <= cell.median, "%s: %v to the first scrape, %v is the bound of the median", cell.name, median, cell.median)
	w.expect(cell.most == 0 || share <= cell.most, "%s: %v to the first scrape but in few runs, %v is the bound", cell.name, share, cell.most)
	w.result.row(cell.name, "%d runs: %s", seeds, spread(took))
}

// firstScrapes lets time pass until all clients are scraped, and returns how long that took.
func (w *World) firstScrapes() time.Duration {
	began, last, left := w.net.Now(), time.Duration(0), len(w.clients)
	for _, c := range w.clients {
		done := false
		var again func()
		again = func() {
			if done || w.result.over {
				return
			}
			asked := true
			next := func() {
				if asked {
					asked = false
					w.net.AfterFunc(5*time.Millisecond, again)
				}
			}
			w.ask(c.scraper, c.alias, w.result.polled, func(_ time.Duration, err error) {
				switch {
				case err != nil:
					next()
				case !done:
					done, last = true, w.net.Now()
					left--
				}
			})
			w.net.AfterFunc(time.Second, next) // an earlier request may have used the dead path
		}
		again()
	}
	w.until("all clients are scraped", recoveryPatience, func() bool { return left == 0 })
	return last - began
}

// started boots a scraper, and later clients, and returns the time from there to the first scrape.
func (w *World) started(scraper, client place, transport dht.Config) time.Duration {
	s := w.addScraper("scraper", scraperSetup{at: scraper, transport: transport})
	w.run(settled)
	for range w.opts.Clients {
		w.addClient(s, clientSetup{at: client, transport: transport})
	}
	return w.firstScrapes()
}

func starts(scraper, client place) func(*World) time.Duration {
	return func(w *World) time.Duration { return w.started(scraper, client, dht.Config{}) }
}

// startsWithBridges has both machines on one LAN, each with a bridge for containers that has the same address everywhere.
func startsWithBridges(w *World) time.Duration {
	lan := w.net.AddRouter("home", simnet.PortRestricted(), w.addrs.newPublic()).LAN()
	bridged := func(m *machine) { m.host.SetBridges(netip.MustParseAddr("172.17.0.1")) }
	s := w.newScraper("scraper", scraperSetup{at: place{on: lan}})
	bridged(s.machine)
	s.boot()
	w.run(settled)
	c := w.addClient(s, clientSetup{at: place{on: lan}, late: true})
	bridged(c.machine)
	c.boot()
	return w.firstScrapes()
}

// startsAtTwins has two homes in one carrier's network that number their machines alike.
func startsAtTwins(w *World) time.Duration {
	addr := netip.MustParseAddr("192.168.1.10")
	s := w.newScraper("scraper", scraperSetup{at: home})
	s.host.SetAddrs(addr)
	s.boot()
	w.run(settled)
	c := w.addClient(s, clientSetup{at: home, late: true})
	c.host.SetAddrs(addr)
	c.boot()
	return w.firstScrapes()
}

// startsBesideBystander has another dhtprom client on the scraper's LAN, with the client's private address and port.
func startsBesideBystander(w *World) time.Duration {
	carrier := simnet.PortRestricted()
	carrier.Hairpin = true
	on := w.net.AddRouter("carrier", carrier, w.addrs.newPublic()).LAN()
	addr := netip.MustParseAddr("192.168.1.77")
	s := w.addScraper("scraper", scraperSetup{at: home.under(on)})
	bystander := w.settle("bystander", place{on: s.router.LAN()})
	bystander.host.SetAddrs(addr)
	bystander.run = func() { bystander.join(hyperdht.Config{}) }
	bystander.stop = func(done func()) { bystander.node.Close(done) }
	bystander.boot()
	w.run(settled)
	c := w.addClient(s, clientSetup{at: home.under(on), late: true})
	c.host.SetAddrs(addr)
	c.boot()
	return w.firstScrapes()
}

// startsInOneCarrier has both machines at customers of one carrier whose router does not hairpin, with a relay.
func startsInOneCarrier(w *World) time.Duration {
	transport := dht.Config{RelayThrough: []domain.PublicKey{domain.PublicKey(w.addRelay("relay"))}}
	on := w.net.AddRouter("carrier", simnet.PortRestricted(), w.addrs.newPublic()).LAN()
	return w.started(home.under(on), home.under(on), transport)
}

// standing boots a scraper and a client at homes of their own, and waits until they are settled.
func (w *World) standing() (*scraper, *client) {
	s := w.addScraper("scraper", scraperSetup{at: home})
	c := w.addClient(s, clientSetup{at: home})
	w.firstScrapes()
	w.run(settled + time.Duration(w.randFor("phase").Int64N(int64(5*time.Second)))) // anywhere between two keep-alives
	return s, c
}

func disturbed(how func(s *scraper, c *client)) func(*World) time.Duration {
	return func(w *World) time.Duration {
		s, c := w.standing()
		how(s, c)
		w.stirs(s.machine, c.machine)
		return w.firstScrapes()
	}
}

// shrinks limits the path to the client to short packets from now on, without an ICMP message for others.
func shrinks(mtu int) func(*World) time.Duration {
	return func(w *World) time.Duration {
		_, c := w.standing()
		c.source.long = 64 << 10
		w.firstScrapes()
		w.run(settled)
		c.router.SetAccess(simnet.Link{MTU: mtu})
		w.stirs(c.machine)
		return w.firstScrapes()
	}
}

// victim picks the machine that a fault hits.
type victim func(*scraper, *client) *machine

func theClient(_ *scraper, c *client) *machine  { return c.machine }
func theScraper(s *scraper, _ *client) *machine { return s.machine }

// bootstrapNode is the state of the bootstrap node.
type bootstrapNode bool

const (
	withBootstrap    bootstrapNode = true
	withoutBootstrap bootstrapNode = false
)

// restarts has a machine crash and start again, with the DHT nodes on its disk.
func restarts(of victim, bootstrap bootstrapNode) func(*World) time.Duration {
	return func(w *World) time.Duration {
		s, c := w.standing()
		m := of(s, c)
		if bootstrap == withoutBootstrap {
			w.nodes[0].crash()
		}
		m.crash()
		w.run(time.Second)
		m.restart()
		return w.firstScrapes()
	}
}

func losesTable(w *World) time.Duration {
	s, _ := w.standing()
	s.crash()
	s.wipe()
	w.run(time.Second)
	s.restart()
	return w.firstScrapes()
}

func sleeps(asleep time.Duration, of victim) func(*World) time.Duration {
	return func(w *World) time.Duration {
		s, c := w.standing()
		m := of(s, c)
		m.host.Sleep()
		w.run(asleep)
		m.host.Wake()
		w.stirs(m)
		return w.firstScrapes()
	}
}

func deadLine(dead time.Duration, of victim) func(*World) time.Duration {
	return func(w *World) time.Duration {
		s, c := w.standing()
		m := of(s, c)
		w.check.unrest = true
		m.router.SetAccess(simnet.Link{Loss: 1})
		w.run(dead)
		m.router.SetAccess(simnet.Link{})
		w.check.unrest = false
		w.stirs(m)
		return w.firstScrapes()
	}
}
