package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// groupScenario stops a process with many targets, each of which is registered by itself with a scraper that does not know sets.
var groupScenario = &Scenario{
	Name: "group", Nodes: 16, Clients: 250, For: time.Minute, Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{change: withoutSets})
		m := w.settle("group", behind(simnet.PortRestricted()))
		var g *app.Client
		failed := 0
		m.run = func() {
			cfg := app.ClientConfig{
				Host: m.host, Transport: m.transport(hyperdht.Config{}, dht.Config{}), Scraper: s.keys.Public, Secret: w.secret,
				OnEvent: func(e domain.Event) {
					w.check.lifetimes(m, e)
					if e, ok := e.(domain.LeaveAliasError); ok {
						failed++
						w.log.tell(m.name, "%s: %v", e.Alias, e.Err)
					}
				},
			}
			for i := range w.opts.Clients {
				alias := domain.Alias(fmt.Sprint("target-", i))
				keys := w.keysOf(string(alias))
				c := &client{machine: m, scraper: s, alias: alias, keys: keys, knows: true, interval: time.Hour}
				w.check.clientKeys[keys.Public] = append(w.check.clientKeys[keys.Public], c)
				cfg.Targets = append(cfg.Targets, app.ClientTarget{Target: domain.Target{Alias: alias}, Source: &source{loop: m.host, key: keys.Public}, Keys: keys})
			}
			g = must(app.NewClient(cfg))
			g.Start(func(error) {})
		}
		m.stop = func(done func()) { g.Close(done) }
		m.boot()
		w.until("all are connected", 5*time.Minute, func() bool { return s.app.Sessions()[domain.SessionOpen] == w.opts.Clients })
		w.run(w.opts.For)
		node := m.node
		began, opened := w.net.Now(), node.Status().Peering.ConnectionsOpened
		count := w.countDatagrams(s.machine)
		m.close()
		w.result.row("stop", "%v, %d connections made, %d datagrams with the scraper", w.net.Now()-began, node.Status().Peering.ConnectionsOpened-opened, count())
		w.expect(w.net.Now()-began < 4*time.Second, "the group stops within %v", w.net.Now()-began)
		w.expect(node.Status().Peering.ConnectionsOpened == opened, "%d deregistrations needed a dial", node.Status().Peering.ConnectionsOpened-opened)
		w.expect(failed == 0, "%d deregistrations are reported as failed", failed)
		w.run(time.Second)
		w.expect(len(s.app.Aliases()) == 0, "%d aliases are left", len(s.app.Aliases()))
	},
}

// TestGroupLeavesWithinItsTime stops a process with 250 targets: all aliases go, and no deregistration needs a new connection.
func TestGroupLeavesWithinItsTime(t *testing.T) {
	withScenario(t, groupScenario)
	play(t, Options{Scenario: "group", Seed: 1})
}
