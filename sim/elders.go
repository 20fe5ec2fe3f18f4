package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

var eldersScenario = &Scenario{
	Name:  "elders",
	About: "clients that say and know no more than the JavaScript package, beside today's, at a scraper that takes offers or none: machines move, sleep and crash, links are bad",
	Nodes: 12, Clients: 6, For: 10 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 2, For: 5 * time.Second},
	Faults: []string{faultLinks, faultMoves, faultSleeps, faultCrashes},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		// An older scraper dials every client, and rejects offers to be scraped on the connection of a registration.
		old := w.randFor("scraper").IntN(2) == 0
		w.result.row("the scraper takes offers", "%v", !old)
		s := w.addScraper("scraper", scraperSetup{at: home, transport: dht.Config{OwnConnections: old}})
		w.phase("%d clients, every other one an elder", w.opts.Clients)
		for i := range w.opts.Clients {
			if at := steady()[i%len(steady())]; i%2 == 0 {
				w.addElder(s, at)
			} else {
				w.addClient(s, clientSetup{at: at})
			}
		}
		w.mustHeal(healWithin)

		t := w.drawFaults().only(faultLinks, faultMoves, faultSleeps, faultCrashes)
		w.ensureFault(faultMoves, &t.Renumberings, w.opts.For/3, 0)
		// Nodes of the DHT are excluded: where those move, records are found within announcedWithin only, which scenario
		// roam covers.
		w.suffer(t, append(machinesOf(w.clients), s.machine), w.opts.For, healWithin)

		w.phase("the scraper crashes and boots again: it dials elders, too")
		s.crash()
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)

		w.phase("the scraper crashes, and its disk is gone: elders come with their hourly registration")
		s.crash()
		s.wipe()
		w.run(time.Second)
		s.restart()
		w.run(elderRegisters)
		w.mustHeal(healWithin)
	},
}

// Behaviour of the first generation of the JavaScript packages (spec/hyperdht.md, sections 22 and 23): registrations are an
// hour apart, successful or not, and a request takes five seconds at most.
const (
	elderRegisters = time.Hour
	elderPatience  = 5 * time.Second
)

// elder is the program of a client of the first JavaScript generation, on our DHT node: it registers on a connection of its
// own, under a key without meaning, without any fields after the known ones, and answers nothing but the method metrics to
// its scraper.
type elder struct {
	c      *client
	node   *hyperdht.Node
	dial   id.KeyPair
	hourly host.Timer // nil before the first registration
}

// addElder boots an elder. Its client has no app.
func (w *World) addElder(s *scraper, at place) *client {
	name := fmt.Sprintf("client-%d", len(w.clients))
	c := &client{machine: w.settle(name, at), scraper: s, alias: domain.Alias(name), keys: w.keysOf(name), knows: true, interval: elderRegisters}
	seed := w.seedOf(name + "'s dialler")
	dial := w.keysOf(name + "'s dialler")
	c.source = &source{key: c.keys.Public}
	var e *elder
	c.run = func() {
		c.source.loop = c.host
		c.join(hyperdht.Config{})
		e = &elder{c: c, node: c.node, dial: id.KeyPairFromSeed(id.Seed(seed))}
		e.listen()
	}
	c.stop = func(done func()) {
		if e.hourly != nil {
			e.hourly.Stop()
		}
		c.node.Close(done)
	}
	w.clients = append(w.clients, c)
	for _, key := range []domain.PublicKey{c.keys.Public, dial.Public} {
		w.check.clientKeys[key] = append(w.check.clientKeys[key], c)
	}
	c.boot()
	return c
}

// listen serves metrics to the scraper alone, and registers once the DHT has the record.
func (e *elder) listen() {
	scraper := id.PublicKey(e.c.scraper.keys.Public)
	seed := e.c.w.seedOf(e.c.name)
	opts := hyperdht.ListenOptions{
		Keys: id.KeyPairFromSeed(id.Seed(seed)),
		Admit: func(remote id.PublicKey, _ *hyperdht.HandshakePayload, _ netip.AddrPort) bool {
			return remote == scraper
		},
		OnConnection: func(conn *hyperdht.Connection) {
			rpc := must(muxrpc.New(mux.New(conn), muxrpc.Options{Protocol: protocolMetrics, OnClose: func(bool) { conn.Destroy(nil) }}))
			rpc.Respond(methodMetrics, func(_ []byte, reply func([]byte, error)) {
				scrape.Collect(e.c.source, domain.ScrapeRequest{Text: true, Within: elderPatience}, domain.MaxBody, func(p scrape.Page, _ error) {
					reply(dht.MetricsReply{Success: true, Body: p.Body}.Append(nil), nil)
				})
			})
		},
	}
	must(e.node.Listen(opts, func(err error) {
		if err == nil {
			e.register()
		}
	}))
}

// register dials the scraper, asks once, and hangs up.
func (e *elder) register() {
	c := e.c
	e.hourly = c.host.AfterFunc(elderRegisters, e.register)
	conn := e.node.Connect(id.PublicKey(c.scraper.keys.Public), hyperdht.ConnectOptions{Keys: &e.dial})
	conn.OnOpen(func() {
		rpc := must(muxrpc.New(mux.New(conn), muxrpc.Options{Protocol: protocolAlias}))
		request := dht.AliasRequest{
			Secret: c.w.secret, Register: domain.Register{Alias: c.alias, Key: c.keys.Public, Hostname: c.name, Service: "simulated"},
		}
		patience := c.host.AfterFunc(elderPatience, func() { conn.Destroy(nil) })
		_, err := rpc.Request(methodAlias, request.Append(nil), func(value []byte, err error) {
			patience.Stop()
			if r, bad := dht.ParseAliasReply(value); err == nil && bad == nil && r.Success {
				c.w.log.tell(c.name, "is registered")
				c.scraper.ledger.acknowledge(c)
			}
			c.host.Post(func() { conn.Destroy(nil) })
		})
		if err != nil {
			conn.Destroy(err)
		}
	})
}
