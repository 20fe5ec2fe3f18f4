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

// groupScenario stops a process with many targets.
var groupScenario = &Scenario{
	Name: "group", Nodes: 16, Clients: 250, For: time.Minute, Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		m := w.settle("group", behind(simnet.PortRestricted()))
		var g *app.Group
		failed := 0
		m.run = func() {
			cfg := app.GroupConfig{Host: m.host, Transport: m.transport(hyperdht.Config{}, dht.Config{})}
			for i := range w.opts.Clients {
				alias := domain.Alias(fmt.Sprint("target-", i))
				keys, dial := w.keysOf(string(alias)), w.keysOf(string(alias)+"'s dialler")
				c := &client{machine: m, scraper: s, alias: alias, keys: keys, knows: true, interval: time.Hour}
				for _, key := range []domain.PublicKey{keys.Public, dial.Public} {
					w.check.clientKeys[key] = append(w.check.clientKeys[key], c)
				}
				cfg.Clients = append(cfg.Clients, app.ClientConfig{
					Source: &source{loop: m.host, key: keys.Public}, Scraper: s.keys.Public, Secret: w.secret,
					Alias: alias, Keys: keys, DialKeys: dial,
					OnEvent: func(e domain.Event) {
						w.check.lifetimes(m, e)
						if e, ok := e.(domain.LeaveAliasError); ok {
							failed++
							w.log.tell(m.name, "%s: %v", e.Alias, e.Err)
						}
					},
				})
			}
			g = must(app.NewGroup(cfg))
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
