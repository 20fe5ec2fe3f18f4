package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// The same clients do the same things in the same order, in worlds that differ in everything that should not matter: keys
// and node ids, and so which node stores which record, routers, distances, delays and losses. The registry must be the
// same.
func TestTheSameStoryEndsWithTheSameRegistryInEveryWorld(t *testing.T) {
	usual := usualInternet(0)
	far, jumpy, lossy := usual, usual, usual
	far.Delay, far.Spread = 150*time.Millisecond, 200*time.Millisecond
	jumpy.Jitter, jumpy.Reorder, jumpy.Duplicate, jumpy.Late = 300*time.Millisecond, 0.1, 0.1, 200*time.Millisecond
	lossy.Loss = 0.05
	links := map[string]simnet.Link{"usual": usual, "far": far, "jumpy": jumpy, "lossy": lossy, "near": {Delay: time.Millisecond}}
	for i := range 3 {
		links[fmt.Sprintf("usual %d", i)] = usual
	}
	seed, first, where := uint64(0), "", ""
	for _, name := range []string{"usual", "usual 0", "usual 1", "usual 2", "near", "far", "jumpy", "lossy"} {
		seed++
		withScenario(t, &Scenario{Name: "registry", Nodes: 6 + int(seed), Clients: 6, For: time.Minute, Play: func(w *World) {
			w.net.Internet().SetLink(links[name])
			tellRegistry(w)
		}})
		r, err := Run(Options{Scenario: "registry", Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Failures {
			t.Errorf("%s, seed %d: %s", name, seed, f)
		}
		got := r.Row("registry")
		if first == "" {
			first, where = got, name
		}
		if got != first || strings.Count(got, "=") != 4 {
			t.Errorf("the registry is %q in the world %q, and %q in %q", got, name, first, where)
		}
	}
}

// tellRegistry plays registrations, a takeover, its reversal, a deregistration, a stranger, an expiry and a restart.
func tellRegistry(w *World) {
	w.bootNodes(w.opts.Nodes)
	s := w.addScraper("scraper", scraperSetup{change: func(c *app.ScraperConfig) { c.Expiry = 10 * time.Minute }})
	r := w.randFor("routers")
	come := func(how clientSetup) *client {
		how.at = nats()[r.IntN(6)] // of those whose ports can be guessed
		if how.change == nil {
			how.change = func(c *app.ClientConfig) { c.RegisterInterval = 4 * time.Minute }
		}
		c := w.addClient(s, how)
		if !how.stranger {
			w.until(c.name+" is registered", startWithin, func() bool { return c.app.Status().Registered })
		}
		return c
	}
	rarely := func(c *app.ClientConfig) { c.RegisterInterval = 20 * time.Hour }
	come(clientSetup{alias: "web"})
	old := come(clientSetup{alias: "db"})
	old.retire()
	come(clientSetup{alias: "db"}) // under another key
	lost := come(clientSetup{alias: "cache", change: rarely})
	lost.retired = true
	lost.crash()
	left := come(clientSetup{alias: "mail"})
	left.retire()
	come(clientSetup{alias: "intruder", stranger: true})
	come(clientSetup{alias: "queue"})
	taken := come(clientSetup{alias: "api", change: rarely})
	come(clientSetup{alias: "api"}) // and renews it from now on, as the first one does not
	w.run(time.Minute)
	s.crash()
	w.run(time.Second)
	s.restart()
	w.run(11 * time.Minute)
	taken.retired = true
	w.mustHeal(time.Minute)
	var entries []string
	for _, a := range s.app.Aliases() {
		if !a.Overdue {
			entries = append(entries, fmt.Sprintf("%s=%s", a.Alias, w.nameOf(a.Key)))
		}
	}
	w.result.row("registry", "%s", strings.Join(entries, " "))
	w.expect(s.app.Stats().Rejected[domain.ReasonUnauthorised] > 0, "the intruder was not rejected")
}
