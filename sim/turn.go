package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/adapters/simnet/simturn"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/adapters/uplinks"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

var turnScenario = &Scenario{
	Name:  "turn",
	About: "networks let out TCP only, for a while or always: TURN servers carry what their machines send, and are killed and replaced",
	Nodes: 8, Clients: 6, For: 6 * time.Minute,
	Least: Least{Nodes: 4, Clients: 2, For: 2 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		servers := w.newTURN(2)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.PortRestricted()).with(servers)})
		w.phase("%d clients, every second one in a network without UDP", w.opts.Clients)
		var without []*client
		for i := range w.opts.Clients {
			c := w.addClient(s, clientSetup{at: nats()[i%len(nats())].with(servers), late: i%2 == 0})
			if i%2 == 1 {
				continue
			}
			without = append(without, c)
			servers.block(c.machine)
			c.boot()
			began := w.net.Now()
			w.until(c.name+" is registered", coldWithin, func() bool { return c.app.Status().Registered })
			_, err := w.scrapeNow(s, c.alias)
			w.expect(err == nil, "%s is not scraped: %v", c.name, err)
			took := w.net.Now() - began
			w.expect(took <= coldWithin, "%s: the first scrape ends after %v", c.name, took)
			w.result.row(c.name+", first scrape", "%v", took.Round(time.Millisecond))
			w.expect(c.uplink() == uplinks.TURN.String(), "%s uses the uplink %s", c.name, c.uplink())
		}
		w.mustHeal(healWithin)
		stop := w.prometheus(s, time.Second)
		w.run(w.opts.For / 6)

		w.phase("their networks let UDP out again")
		failed := w.failedScrapes()
		servers.unblock(without...)
		for _, c := range without {
			w.until(c.name+" is connected without a TURN server", backWithin, func() bool { return c.uplink() == uplinks.UDP.String() && w.pathOf(s, c) != domain.PathTURN })
		}
		w.run(time.Minute)
		w.fewLost("UDP is let out", failed, without)
		w.expect(servers.allocations() == 0, "%d allocations are left", servers.allocations())

		w.phase("UDP is blocked again")
		failed = w.failedScrapes()
		servers.block(theMachinesOf(without)...)
		w.stirs(theMachinesOf(without)...)
		for _, c := range without {
			w.until(c.name+" uses a TURN server", overWithin, func() bool { return c.uplink() == uplinks.TURN.String() })
		}
		w.mustHeal(healWithin)
		w.result.row("UDP is blocked: scrapes lost, one each second", "%d of %d clients", w.failedScrapes()-failed, len(without))
		w.expect(w.failedScrapes()-failed <= uint64(len(without))*uint64(blindWithin/time.Second), "%d scrapes of %d clients are lost", w.failedScrapes()-failed, len(without))
		w.run(w.opts.For / 6)

		w.phase("one TURN server is killed")
		servers.kill(0)
		w.stirs(theMachinesOf(without)...)
		w.mustHeal(turnWithin)
		w.phase("the other, too, and the first comes back")
		servers.kill(1)
		w.stirs(w.machines...)
		w.run(time.Minute)
		w.stirs(theMachinesOf(without)...)
		servers.start(0)
		w.mustHeal(turnWithin)

		w.phase("the clients restart, and remember what worked")
		servers.start(1)
		w.run(w.opts.For / 6)
		for _, c := range without {
			c.close()
			c.restart()
			began := w.net.Now()
			w.until(c.name+" is registered", warmWithin, func() bool { return c.app != nil && c.app.Status().Registered })
			_, err := w.scrapeNow(s, c.alias)
			w.expect(err == nil, "%s is not scraped: %v", c.name, err)
			w.result.row(c.name+", first scrape after a restart", "%v", (w.net.Now() - began).Round(time.Millisecond))
		}

		w.phase("the scraper's network blocks UDP, too")
		servers.block(s.machine)
		w.stirs(w.machines...)
		w.until("the scraper uses a TURN server", time.Minute, func() bool { return s.uplink() == uplinks.TURN.String() })
		w.mustHeal(healWithin)
		w.run(w.opts.For / 6)
		failed = w.failedScrapes()
		servers.unblock()
		servers.free(s.machine)
		w.until("the scraper uses UDP", backWithin, func() bool { return s.uplink() == uplinks.UDP.String() })
		w.run(time.Minute)
		w.fewLost("the scraper's network lets UDP out", failed, w.clients)
		w.mustHeal(healWithin)
		stop()
		for i, server := range servers.running {
			if server != nil {
				w.expect(server.Stats().Wrong == 0, "TURN server %d has counted %d wrong messages", i, server.Stats().Wrong)
			}
		}
	},
}

const (
	// coldWithin bounds the first scrape of a client whose network has no UDP, and warmWithin that of one that remembers it.
	coldWithin = 4 * time.Second
	warmWithin = 3 * time.Second
	// overWithin bounds the time until a machine notices that its UDP is blocked and uses a TURN server, and blindWithin that until it is scraped
	// again: a keep-alive interval of 5 s, a second without an acknowledgement, two without an answer of a DHT node, and the connections.
	overWithin  = 10 * time.Second
	blindWithin = 11 * time.Second
	// backWithin bounds the return to UDP.
	backWithin = time.Minute
	// turnWithin bounds the time from the return of a TURN server, or from the loss of one of two, to scrapes of all aliases.
	turnWithin = 10 * time.Second
)

// turnPort is the port of TURN servers.
const turnPort = 443

// turnServers are the TURN servers of a world.
type turnServers struct {
	w       *World
	pipes   *simpipe.Network
	hosts   []*simnet.Host
	running []*simturn.Server
	cfg     simturn.Config
	blocked []*machine // from and to which no UDP goes
}

// newTURN starts TURN servers.
func (w *World) newTURN(n int) *turnServers {
	t := &turnServers{
		w: w, pipes: simpipe.New(w.net, simpipe.Config{Rate: 1 << 20, RoundTrips: 1}),
		cfg: simturn.Config{Users: map[string]string{"simulated": "password"}, NonceAge: 10 * time.Minute},
	}
	for i := range n {
		h := w.net.AddHost(fmt.Sprintf("turn-%d", i), w.addrs.newPublic())
		t.hosts = append(t.hosts, h)
		t.running = append(t.running, nil)
		t.start(i)
	}
	w.net.SetFilter(t.passes)
	return t
}

// turnServers returns the servers that its machines may use, nil for none.
func (w *World) turnServers() *turnServers {
	for _, m := range w.machines {
		if m.turn != nil {
			return m.turn
		}
	}
	return nil
}

func (t *turnServers) start(i int) {
	t.running[i] = simturn.Start(t.w.net, t.pipes, t.hosts[i], turnPort, t.cfg)
}

func (t *turnServers) kill(i int) {
	t.running[i].Kill()
	t.running[i] = nil
}

// plague kills servers and starts them again, and blocks and passes the UDP of the machines that may use them, until stop is called. Then all
// servers run, and UDP stays as it is: blocked for some machines.
func (t *turnServers) plague(f turnFaults, lasts time.Duration) (stop func()) {
	if t == nil {
		return func() {}
	}
	stopped := false
	r := t.w.randFor("TURN faults")
	var users []*machine
	for _, m := range t.w.machines {
		if m.turn == t {
			users = append(users, m)
		}
	}
	again := func(every time.Duration, hit func()) {
		var next func()
		wait := func() time.Duration {
			return min(max(time.Duration(r.ExpFloat64()*float64(every)), time.Second), lasts/2)
		}
		next = func() {
			if !stopped {
				hit()
				t.w.stirs(users...)
				t.w.net.AfterFunc(wait(), next)
			}
		}
		if every > 0 {
			t.w.net.AfterFunc(wait(), next)
		}
	}
	again(f.kills.Every, func() {
		i := r.IntN(len(t.running))
		if t.running[i] == nil {
			return
		}
		t.kill(i)
		t.w.check.struck["TURN server"]++
		t.w.net.AfterFunc(f.kills.For, func() { t.revive(i) })
	})
	again(f.blocks, func() {
		m := users[r.IntN(len(users))]
		if slices.Contains(t.blocked, m) {
			t.free(m)
		} else {
			t.block(m)
		}
		t.w.check.struck["UDP"]++
	})
	return func() {
		stopped = true
		for i := range t.running {
			t.revive(i)
		}
	}
}

// revive starts a server that was killed.
func (t *turnServers) revive(i int) {
	if t.running[i] == nil {
		t.start(i)
		t.w.stirs(t.w.machines...)
	}
}

func (t *turnServers) allocations() (n int) {
	for _, s := range t.running {
		if s != nil {
			n += s.Stats().Allocations
		}
	}
	return n
}

// passes reports whether a datagram is not one of a machine whose UDP is blocked.
func (t *turnServers) passes(d simnet.Datagram) bool {
	return t == nil || !slices.ContainsFunc(t.blocked, func(m *machine) bool { return m.isAt(d.From.Addr()) || m.isAt(d.To.Addr()) })
}

// isAt reports whether an address is the machine's or its router's.
func (m *machine) isAt(a netip.Addr) bool {
	return m.host.Addr() == a || m.router != nil && m.router.Addr() == a
}

// block blocks the UDP of machines.
func (t *turnServers) block(machines ...*machine) { t.blocked = append(t.blocked, machines...) }

// unblock ends that for the machines of clients.
func (t *turnServers) unblock(clients ...*client) { t.free(theMachinesOf(clients)...) }

func (t *turnServers) free(machines ...*machine) {
	t.blocked = slices.DeleteFunc(t.blocked, func(m *machine) bool { return slices.Contains(machines, m) })
	t.w.stirs(machines...)
}

func theMachinesOf(clients []*client) (list []*machine) {
	for _, c := range clients {
		list = append(list, c.machine)
	}
	return list
}

// pathOf returns the path of a scraper's connection to a client.
func (w *World) pathOf(s *scraper, c *client) domain.Path {
	for _, v := range s.app.Aliases() {
		if v.Alias == c.alias {
			return v.Peer.Path
		}
	}
	return domain.PathUnknown
}

// fewLost checks that going over from one uplink to another has lost one scrape of each client at most.
func (w *World) fewLost(what string, before uint64, clients []*client) {
	lost := w.failedScrapes() - before
	w.result.row(what+": scrapes lost", "%d of %d clients", lost, len(clients))
	w.expect(lost <= uint64(len(clients)), "%s: %d scrapes of %d clients are lost", what, lost, len(clients))
}

// uplink returns the uplink that a machine uses.
func (m *machine) uplink() string {
	if m.links == nil {
		return ""
	}
	return m.links.Status().Uplink
}

// uplinks puts a transport over UDP and TURN servers on the machine. It must run inside a turn.
func (m *machine) uplinks(t *turnServers, node hyperdht.Config, cfg dht.Config) ports.Transport {
	links, err := uplinks.New(uplinks.Config{
		Host: m.host, Last: m.worked, Remember: func(k uplinks.Kind) { m.worked = k }, OnUse: func(uplinks.Kind) { m.w.stirs(m) },
		UDP: func() (ports.Transport, error) {
			node.QuickReach = true
			return m.overUDP(node, cfg), nil
		},
		TURN: func(up func(ports.Transport), failed func(error)) (func(func()), error) {
			return m.overTURN(t, cfg, up, failed)
		},
	})
	if err != nil {
		panic(fmt.Sprintf("sim: %s: %v", m.name, err))
	}
	m.links = links
	return links
}

// overTURN creates a node whose datagrams TURN servers carry.
func (m *machine) overTURN(t *turnServers, cfg dht.Config, up func(ports.Transport), failed func(error)) (func(func()), error) {
	var servers []turn.Server
	for _, h := range t.hosts {
		at := netip.AddrPortFrom(h.Addr(), turnPort)
		servers = append(servers, turn.Server{Name: h.Name(), Dialer: t.pipes.Dialer(m.host, at), Username: "simulated", Password: "password"})
	}
	var node *hyperdht.Node
	var relayed *turn.Host
	var err error
	relayed, err = turn.New(m.host, turn.Config{Servers: servers, OnDown: failed, OnUp: func(netip.AddrPort) {
		if node != nil {
			node.NetworkChanged()
			return
		}
		if node, err = hyperdht.New(relayed, hyperdht.Config{Bootstrap: m.w.bootstrap}); err != nil {
			failed(err)
			return
		}
		cfg.TURN, cfg.Known = true, nil
		up(dht.New(relayed, node, cfg))
	}})
	if err != nil {
		return nil, err
	}
	return relayed.Close, nil
}
