package app_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// anyRegistrations is a transport whose registrations take any course, in any order.
type anyRegistrations struct {
	ports.ClientTransport
	ready func(error) // of the announcement, once
	moved func(ports.Move)
	all   []*anyRegistration
}

type anyRegistration struct {
	ports.Registration
	done                func(bool, error)
	open, sent, stopped bool
}

func (a *anyRegistrations) ListenMetrics(l ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	a.ready = ready
	return a.ClientTransport.ListenMetrics(l, func(error) {})
}

func (a *anyRegistrations) OnMoved(f func(ports.Move)) (cancel func()) {
	a.moved = f
	return func() {}
}

func (a *anyRegistrations) RegisterAlias(r ports.Registration, done func(bool, error)) (cancel func()) {
	g := &anyRegistration{Registration: r, done: done}
	a.all = append(a.all, g)
	r.Hold(func() {
		if g.sent = true; g.open {
			r.OnSent()
		}
	})
	return func() { g.stopped = true }
}

// step has something happen to a registration in progress, or to the client.
func (a *anyRegistrations) step(random *rand.Rand) {
	a.all = slices.DeleteFunc(a.all, func(g *anyRegistration) bool { return g.stopped })
	switch i := random.IntN(10); {
	case i == 0:
		a.moved([]ports.Move{ports.MoveElsewhere, ports.MoveIntoReach, ports.MoveOver}[random.IntN(3)])
	case i == 1 && a.ready != nil:
		a.ready(nil)
		a.ready = nil
	case len(a.all) > 0:
		a.all[random.IntN(len(a.all))].step(random)
	}
}

func (ar *anyRegistration) step(random *rand.Rand) {
	switch random.IntN(4) {
	case 0, 1:
		if !ar.open {
			ar.open = true
			if ar.sent {
				ar.OnSent()
			}
			ar.OnOpen(domain.Peer{Key: ar.Scraper})
		}
	case 2:
		if ar.open && ar.sent {
			ar.stopped = true
			ar.done(true, nil)
		}
	default:
		if random.IntN(3) == 0 {
			ar.stopped = true
			ar.done(false, &ports.ConnectionError{Err: portstest.ErrLost})
		}
	}
}

// Clients with two scrapers register, are rejected, move and close in any order.
func TestClientsKeepToTheTable(t *testing.T) {
	watch := statestest.NewWatch(t, app.RegistrarTable)
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t)
		net := &anyRegistrations{}
		c := w.newClient("web", 2, func(cfg *app.ClientConfig) {
			net.ClientTransport = cfg.Transport
			cfg.Transport, cfg.Scrapers = net, []app.ClientScraper{{Key: pair(3).Public, Secret: secret}}
		})
		registrars := app.WatchRegistrars(watch)
		registrars.Add(c.Registrars()...)
		w.loop.AfterTurn = registrars.Look
		if seed > 0 { // else it closes before it starts
			w.loop.Turn(func() { c.Start(func(error) {}) })
		}
		for range random.IntN(1 + random.IntN(100)) {
			if seed > 0 {
				w.loop.Turn(func() { net.step(random) })
			}
			w.loop.Advance(time.Duration(random.IntN(4)*random.IntN(3000)) * time.Millisecond)
		}
		w.loop.Turn(func() { c.Close(func() {}) })
		w.loop.Advance(5 * time.Second)
	}
}
