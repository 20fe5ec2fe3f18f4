package dht_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// randomly is a client and scrapers that do at random what their transports can do.
type randomly struct {
	*swarm
	*rand.Rand
	client, scraper *peer
	own             *peer // a scraper that always dials
	sessions        []ports.MetricsSession
	cancels         []func() // of registrations and goodbyes
	small, large    domain.TargetSet
}

// Links, registrations and goodbyes go through the states of the tables and no others, whatever the sides do.
func TestMachinesKeepToTheTables(t *testing.T) {
	machines := dht.WatchMachines(t)
	for seed := range uint64(6) {
		anyConversation(t, seed, machines)
	}
}

func anyConversation(t *testing.T, seed uint64, machines *dht.Machines) {
	n := newNet(t, seed)
	r := &randomly{
		swarm: n, Rand: rand.New(rand.NewPCG(seed, 1)),
		client: n.peer("client", dht.Config{}), scraper: n.peer("scraper", dht.Config{}),
		own:   n.peer("own", dht.Config{OwnConnections: true}),
		small: setOf(t, 3), large: setOf(t, 2500), // more than is sent in a turn
	}
	run := func(d time.Duration) {
		n.net.RunUntil(func() bool {
			for _, p := range []*peer{r.client, r.scraper, r.own} {
				machines.Look(p.transport)
			}
			return false
		}, d)
	}
	r.serve()
	for range 300 {
		r.step()
		if r.IntN(30) == 0 {
			n.net.Block(r.client.host, r.scraper.host)
			n.net.Block(r.scraper.host, r.client.host)
			run(time.Duration(r.IntN(60)) * time.Second)
			n.net.Heal()
		}
		run(time.Duration(r.IntN(8)*r.IntN(300)) * time.Millisecond)
	}
}

// serve listens on both sides. The scraper answers after a while, and may dial before.
func (r *randomly) serve() {
	r.listenMetrics(r.client)
	r.scraper.host.Do(func() {
		answer := func(_ ports.AliasRequest, reply func(ports.AliasReply)) {
			if r.IntN(2) == 0 {
				r.scrape()
			}
			r.scraper.host.AfterFunc(time.Duration(r.IntN(200))*time.Millisecond, func() { reply(ports.AliasReply{Success: r.IntN(8) > 0}) })
		}
		_, err := r.scraper.transport.ListenAliases(ports.AliasListen{
			Keys: scraperKeys, OnOpen: func(ports.Conn) ports.AliasHandlers {
				return ports.AliasHandlers{OnRegister: answer, OnLeave: answer, OnSet: r.onSet()}
			},
		}, func(error) { r.call("aliases ready") })
		if err != nil {
			r.t.Error(err)
		}
	})
	r.wait("aliases ready")
}

// scrape opens a session at the scraper, which may answer goodbyes.
func (r *randomly) scrape() {
	d := ports.MetricsDial{Keys: scraperKeys, Client: clientKeys.Public}
	switch r.IntN(4) {
	case 0: // not supported
	case 1:
		d.OnLeave = func(ports.AliasRequest, func(ports.AliasReply)) {}
	default:
		d.OnLeave = func(_ ports.AliasRequest, reply func(ports.AliasReply)) { reply(ports.AliasReply{Success: true}) }
	}
	d.OnSet = r.onSet()
	r.sessions = append(r.sessions, r.scraper.transport.DialMetrics(d))
}

// onSet returns a handler for sets: none, or one that needs anything.
func (r *randomly) onSet() func(ports.SetRequest, func(ports.SetReply)) {
	switch r.IntN(5) {
	case 0:
		return nil
	case 1:
		return func(ports.SetRequest, func(ports.SetReply)) {}
	}
	return func(_ ports.SetRequest, reply func(ports.SetReply)) {
		answer := ports.SetReply{Success: r.IntN(8) > 0, Need: []ports.Need{ports.NeedNothing, ports.NeedAll, ports.NeedChanges}[r.IntN(3)]}
		if r.IntN(2) == 0 {
			reply(answer)
			return
		}
		r.scraper.host.AfterFunc(time.Duration(r.IntN(200))*time.Millisecond, func() { reply(answer) })
	}
}

// registerSet registers a set, on the connection of the metrics if there is one.
func (r *randomly) registerSet(dial domain.KeyPair) {
	g := registration(dial, secret)
	g.Alias = ""
	g.Set = &ports.SetRegistration{Targets: []domain.TargetSet{r.small, r.large}[r.IntN(2)], Held: r.IntN(4) > 0}
	if r.IntN(2) == 0 {
		g.Set.Base = r.small
	}
	if r.IntN(3) == 0 {
		g.Hold = func(send func()) { r.client.host.AfterFunc(time.Duration(r.IntN(3000))*time.Millisecond, send) }
	}
	cancel := r.client.transport.RegisterAlias(g, func(bool, error) {})
	r.cancels = append(r.cancels, cancel)
	if r.IntN(3) == 0 {
		r.client.host.AfterFunc(time.Duration(r.IntN(600))*time.Millisecond, cancel)
	}
}

// dialBriefly dials, and closes the session soon after the client has answered, possibly before the connection is open.
func (r *randomly) dialBriefly(p *peer) {
	s := p.transport.DialMetrics(ports.MetricsDial{Keys: scraperKeys, Client: clientKeys.Public})
	ticks := 0
	var tick func()
	tick = func() {
		if ticks++; s.Answered() || ticks == 200 {
			p.host.AfterFunc(time.Duration(r.IntN(60))*time.Millisecond, func() { s.Close(nil) })
			return
		}
		p.host.AfterFunc(5*time.Millisecond, tick)
	}
	tick()
}

func (r *randomly) step() {
	c := r.client.transport
	dial := []domain.KeyPair{clientKeys, dialKeys}[r.IntN(2)]
	leave := func(scraper domain.PublicKey) {
		g := registration(dial, secret)
		g.Scraper = scraper
		r.cancels = append(r.cancels, c.LeaveAlias(g, func(error) {}))
	}
	switch r.IntN(15) {
	case 10, 11, 12:
		r.client.host.Do(func() { r.registerSet(dial) })
	case 0, 1, 2:
		r.client.host.Do(func() {
			r.cancels = append(r.cancels, c.RegisterAlias(registration(dial, secret), func(bool, error) {}))
		})
	case 3, 4:
		r.client.host.Do(func() { leave(scraperKeys.Public) })
	case 5:
		if r.IntN(4) == 0 { // more than may dial at a time
			r.client.host.Do(func() {
				for i := range 40 {
					leave(keys(byte(100 + i)).Public)
				}
				r.client.host.AfterFunc(time.Duration(r.IntN(500))*time.Millisecond, r.cancel)
			})
		}
	case 6:
		r.scraper.host.Do(r.scrape)
	case 7, 13:
		r.own.host.Do(func() {
			for range 3 {
				r.dialBriefly(r.own)
			}
		})
	case 8:
		if r.IntN(2) == 0 { // a registration that may be held back until the session is closed
			r.client.host.Do(func() { r.registerSet(dial) })
		}
		if i := len(r.sessions) - 1; i >= 0 {
			r.scraper.host.Do(func() { r.sessions[i].Close(nil) })
			r.sessions = r.sessions[:i]
		}
	default:
		r.client.host.Do(r.cancel)
	}
}

// cancel cancels the registrations and goodbyes of the client.
func (r *randomly) cancel() {
	for _, cancel := range r.cancels {
		cancel()
	}
	r.cancels = nil
}
