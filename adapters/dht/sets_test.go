package dht_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// setOf returns a set of n targets with names of a usual length.
func setOf(t testing.TB, n int) domain.TargetSet {
	t.Helper()
	var targets []domain.Target
	for i := range n {
		targets = append(targets, domain.Target{Alias: domain.Alias(fmt.Sprintf("site/10.0.0.%d:9100", i)), Hostname: strings.Repeat("h", 100), Service: "node"})
	}
	s, err := domain.NewTargetSet(targets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// setScraper serves sets in memory, as an application does: a set that it has is known by its revision.
type setScraper struct {
	*swarm
	has    domain.TargetSet
	pinned map[domain.Alias]domain.PublicKey
	bad    domain.Alias // rejected
	forget bool         // the base, once, when its changes arrive
	silent bool
}

func (s *setScraper) onSet(req ports.SetRequest, reply func(ports.SetReply)) {
	if s.silent {
		s.call("no answer")
		return
	}
	if !req.Secret.Equal(secret) || !req.Proven {
		reply(ports.SetReply{Message: "Unauthorised"})
		return
	}
	c := req.Content
	switch {
	case c == nil && req.Revision == s.has.Revision():
		s.call("known")
		reply(ports.SetReply{Success: true, Rejected: s.rejected()})
	case c == nil && req.Base == s.has.Revision() && !req.Base.IsZero():
		s.call("changes")
		reply(ports.SetReply{Success: true, Need: ports.NeedChanges})
	case c == nil:
		s.call("all")
		reply(ports.SetReply{Success: true, Need: ports.NeedAll})
	case !c.Since.IsZero() && c.Since != s.has.Revision() || s.forget:
		s.forget = false
		s.call("base unknown")
		reply(ports.SetReply{Success: true, Need: ports.NeedAll})
	default:
		s.take(req, reply)
	}
}

func (s *setScraper) take(req ports.SetRequest, reply func(ports.SetReply)) {
	c := req.Content
	base := s.has
	if c.Since.IsZero() {
		base = domain.TargetSet{}
	}
	next, err := base.With(c.Targets, c.Gone)
	if err != nil || next.Revision() != req.Revision {
		s.t.Errorf("the set is not the client's: %v", err)
	}
	s.call("set of %d, %d new, %d gone, %d proven", next.Len(), len(c.Targets), len(c.Gone), len(c.Former))
	for a, key := range c.Former {
		if s.pinned[a] == key {
			delete(s.pinned, a)
		}
	}
	s.has = next
	reply(ports.SetReply{Success: true, Updated: true, Rejected: s.rejected()})
}

func (s *setScraper) rejected() (list []domain.RejectedTarget) {
	for a := range s.pinned {
		list = append(list, domain.RejectedTarget{Alias: a, Reason: domain.ReasonPinned})
	}
	if s.bad != "" {
		list = append(list, domain.RejectedTarget{Alias: s.bad, Reason: domain.ReasonBadName})
	}
	return list
}

// listenSets listens for sets, and for aliases as listenAliases does.
func (s *setScraper) listenSets(p *peer) {
	s.t.Helper()
	p.host.Do(func() {
		_, err := p.transport.ListenAliases(ports.AliasListen{Keys: scraperKeys, OnOpen: func(c ports.Conn) ports.AliasHandlers {
			s.call("alias open")
			c.Trust() // as after a valid secret
			return ports.AliasHandlers{OnSet: s.onSet, OnLeave: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
				s.call("leave %q %t", req.Alias, req.Proven)
				reply(ports.AliasReply{Success: true})
			}}
		}}, func(err error) { s.call("aliases ready %v", err) })
		if err != nil {
			s.t.Fatal(err)
		}
	})
	s.wait("aliases ready")
}

// setRegistration registers a set under the key of the client's metrics server.
func setRegistration(set, base domain.TargetSet) ports.Registration {
	return ports.Registration{
		Scraper: scraperKeys.Public, Dial: dialKeys, Secret: secret, Register: domain.Register{Key: clientKeys.Public},
		Set: &ports.SetRegistration{Targets: set, Base: base},
	}
}

// registerSet registers a set, and returns the calls until it is answered.
func (s *setScraper) registerSet(p *peer, r ports.Registration) string {
	s.t.Helper()
	s.calls = nil
	r.Set.OnRejected = func(list []domain.RejectedTarget) {
		s.call("rejected %d: %s %s", len(list), list[0].Alias, list[0].Reason)
	}
	done := false
	p.host.Do(func() {
		p.transport.RegisterAlias(r, func(updated bool, err error) {
			if err == nil {
				s.call("registered %t", updated)
			} else {
				s.call("failed %v", err)
			}
			done = true
		})
	})
	s.until("the set is registered", 30*time.Second, func() bool { return done })
	return strings.Join(s.calls, "; ")
}

func newSetScraper(t *testing.T, seed uint64) (s *setScraper, client, scraper *peer) {
	s = &setScraper{swarm: newNet(t, seed)}
	client, scraper = s.peer("client", dht.Config{}), s.peer("scraper", dht.Config{})
	s.listenSets(scraper)
	s.listenMetrics(client)
	return s, client, scraper
}

func TestSetsOverTheNetwork(t *testing.T) {
	s, client, scraper := newSetScraper(t, 30)
	first := setOf(t, domain.MaxTargets)
	second, err := first.With([]domain.Target{{Alias: "new"}}, []domain.Alias{"site/10.0.0.0:9100", "site/10.0.0.1:9100"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		set, base domain.TargetSet
		prepare   func()
		want      string
	}{
		{"all", first, domain.TargetSet{}, nil, "all; set of 5000, 5000 new, 0 gone, 0 proven; registered true"},
		{"renewal", first, first, nil, "known; registered false"},
		{"changes", second, first, nil, "changes; set of 4999, 1 new, 2 gone, 0 proven; registered true"},
		{"base unknown", first, second, func() { s.has = domain.TargetSet{} }, "all; set of 5000, 5000 new, 0 gone, 0 proven; registered true"},
		{"base lost meanwhile", second, first, func() { s.forget = true }, "changes; base unknown; set of 4999, 4999 new, 0 gone, 0 proven; registered true"},
		{"rejected", first, second, func() { s.bad = "site/10.0.0.7:9100" },
			"changes; set of 5000, 2 new, 1 gone, 0 proven; rejected 1: site/10.0.0.7:9100 bad_name; registered true"},
	} {
		if c.prepare != nil {
			c.prepare()
		}
		want := "alias open; " + c.want
		if got := s.registerSet(client, setRegistration(c.set, c.base)); got != want {
			t.Errorf("%s: called %s, want %s", c.name, got, want)
		}
	}
	held := -1
	scraper.host.Do(func() {
		scraper.transport.Sizes(func(what string, n, _ int) {
			if what == "bytes of sets without a commit" {
				held = n
			}
		})
	})
	if held != 0 {
		t.Errorf("%d bytes of sets are kept", held)
	}

	client.host.Do(func() {
		r := setRegistration(first, domain.TargetSet{})
		client.transport.LeaveAlias(r, func(err error) { s.call("left %v", err) })
	})
	s.wait("left <nil>")
	if !s.called(`leave "" true`) {
		t.Errorf("called %v", s.calls)
	}
}

// The scraper of a version before knows no sets, and that of the packages neither.
func TestSetAtAnOlderScraper(t *testing.T) {
	for _, held := range []bool{false, true} {
		n := newNet(t, 31)
		client, scraper := n.peer("client", dht.Config{}), n.peer("scraper", dht.Config{})
		n.listenAliases(scraper)
		n.listenMetrics(client)
		if held {
			n.dial(scraper)
			n.wait("session ready")
			n.wait("metrics open")
		}
		r := setRegistration(setOf(t, 3), domain.TargetSet{})
		r.Set.Held = held
		var got error
		client.host.Do(func() { client.transport.RegisterAlias(r, func(_ bool, err error) { got = err }) })
		n.until("it is answered", 30*time.Second, func() bool { return got != nil })
		if remote, _ := errors.AsType[*domain.RemoteError](got); remote == nil || !remote.Unknown || !remote.Scraper || !n.called("alias open") {
			t.Errorf("held %t: %v", held, got)
		}
	}
}

func TestPinnedTargetsAreTakenOverWithProofs(t *testing.T) {
	former := keys(9)
	for name, c := range map[string]struct {
		former domain.KeyPair
		want   string
	}{
		"proven": {former, "alias open; all; set of 3, 3 new, 0 gone, 0 proven; set of 3, 0 new, 0 gone, 1 proven; registered true"},
		"another key": {keys(10), "alias open; all; set of 3, 3 new, 0 gone, 0 proven; set of 3, 0 new, 0 gone, 1 proven; " +
			"rejected 1: site/10.0.0.1:9100 pinned; registered true"},
		"none": {domain.KeyPair{}, "alias open; all; set of 3, 3 new, 0 gone, 0 proven; rejected 1: site/10.0.0.1:9100 pinned; registered true"},
	} {
		s, client, _ := newSetScraper(t, 32)
		s.pinned = map[domain.Alias]domain.PublicKey{"site/10.0.0.1:9100": former.Public}
		r := setRegistration(setOf(t, 3), domain.TargetSet{})
		r.Set.Former = func(domain.Alias) domain.KeyPair { return c.former }
		if got := s.registerSet(client, r); got != c.want {
			t.Errorf("%s: called %s, want %s", name, got, c.want)
		}
	}
}

// A client registers its set on the connection that the scraper scrapes it on; otherwise the scraper is dialled.
func TestSetOnTheConnectionOfTheMetrics(t *testing.T) {
	for _, c := range []struct {
		name    string
		dial    func(s *setScraper, d *ports.MetricsDial)
		then    func(s *setScraper, m ports.MetricsSession) // after the first call
		want    string
		opens   int
		sends   int
		notHeld bool
	}{
		{name: "answered", want: "all; set of 3, 3 new, 0 gone, 0 proven; registered true", opens: 1, sends: 1},
		{name: "not allowed", want: "alias open; all; set of 3, 3 new, 0 gone, 0 proven; registered true", opens: 1, sends: 1, notHeld: true},
		{name: "not known", dial: func(_ *setScraper, d *ports.MetricsDial) { d.OnSet = nil }, want: "alias open; all; set of 3, 3 new, 0 gone, 0 proven; registered true", opens: 1, sends: 2},
		{name: "not answered", dial: func(s *setScraper, d *ports.MetricsDial) {
			d.OnSet = func(ports.SetRequest, func(ports.SetReply)) { s.call("no answer") }
		}, want: "no answer; alias open; all; set of 3, 3 new, 0 gone, 0 proven; registered true", opens: 1, sends: 2},
		{name: "closed before the answer", dial: func(s *setScraper, d *ports.MetricsDial) {
			d.OnSet = func(ports.SetRequest, func(ports.SetReply)) { s.call("no answer") }
		}, then: func(_ *setScraper, m ports.MetricsSession) { m.Close(nil) },
			want: "no answer; session close <nil>; metrics close; alias open; all; set of 3, 3 new, 0 gone, 0 proven; registered true", opens: 1, sends: 2},
		{name: "closed after the first answer", dial: func(s *setScraper, d *ports.MetricsDial) {
			d.OnSet = func(r ports.SetRequest, reply func(ports.SetReply)) {
				if r.Content == nil {
					reply(ports.SetReply{Success: true, Need: ports.NeedAll})
				} else {
					s.call("no answer")
				}
			}
		}, then: func(_ *setScraper, m ports.MetricsSession) { m.Close(nil) },
			want: "no answer; session close <nil>; metrics close; alias open; all; set of 3, 3 new, 0 gone, 0 proven; registered true", opens: 2, sends: 2},
		{name: "refused", dial: func(_ *setScraper, d *ports.MetricsDial) {
			d.OnSet = func(_ ports.SetRequest, reply func(ports.SetReply)) { reply(ports.SetReply{Message: "no"}) }
		}, want: "failed scraper reported: no", opens: 1, sends: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, client, scraper := newSetScraper(t, 33)
			d := ports.MetricsDial{
				Keys: scraperKeys, Client: clientKeys.Public,
				OnReady: func() { s.call("session ready") },
				OnClose: func(err error) { s.call("session close %v", err) },
				OnSet:   s.onSet,
			}
			if c.dial != nil {
				c.dial(s, &d)
			}
			var m ports.MetricsSession
			scraper.host.Do(func() { m = scraper.transport.DialMetrics(d) })
			s.wait("session ready")
			s.wait("metrics open")
			r := setRegistration(setOf(t, 3), domain.TargetSet{})
			r.Set.Held = !c.notHeld
			opens, sends, allowed := 0, 0, 0
			r.OnSent = func() { sends++ }
			r.OnOpen = func(p domain.Peer) {
				if opens++; p.Key != scraperKeys.Public {
					t.Errorf("opened with %s", p.Key)
				}
			}
			r.Hold = func(send func()) {
				allowed++
				client.host.AfterFunc(time.Millisecond, send)
			}
			if c.then != nil {
				scraper.host.Do(func() {
					var tick func()
					tick = func() {
						if s.called("no answer") {
							c.then(s, m)
							return
						}
						scraper.host.AfterFunc(10*time.Millisecond, tick)
					}
					tick()
				})
			}
			if got := s.registerSet(client, r); got != c.want || opens != c.opens || sends != c.sends || allowed != 1 {
				t.Errorf("called %s, want %s; opened %d times, want %d; sent %d times, want %d; held %d times", got, c.want, opens, c.opens, sends, c.sends, allowed)
			}
			s.close(client)
			s.close(scraper)
			if client.host.Timers() != 0 {
				t.Errorf("%d timers are left", client.host.Timers())
			}
		})
	}
}

// Registrations of sets on held connections can be cancelled in any state.
func TestHeldSetIsCanceled(t *testing.T) {
	for wait := time.Duration(0); wait < 4*time.Second; wait = wait*2 + 5*time.Millisecond {
		s, client, scraper := newSetScraper(t, 34)
		s.silent = wait > 200*time.Millisecond
		scraper.host.Do(func() {
			scraper.transport.DialMetrics(ports.MetricsDial{Keys: scraperKeys, Client: clientKeys.Public, OnReady: func() { s.call("session ready") }, OnSet: s.onSet})
		})
		s.wait("session ready")
		s.wait("metrics open")
		r := setRegistration(setOf(t, 5000), domain.TargetSet{})
		r.Set.Held = true
		over := false
		var cancel func()
		client.host.Do(func() {
			cancel = client.transport.RegisterAlias(r, func(bool, error) { over = true })
		})
		s.net.Run(wait)
		client.host.Do(func() {
			if over {
				return
			}
			over = false
			cancel()
			cancel()
		})
		before := over
		s.net.Run(10 * time.Second)
		if over != before {
			t.Errorf("after %v: called after its cancel", wait)
		}
		s.close(client)
		s.close(scraper)
	}
}

// A client that a scraper scrapes can register its own set there, and no other.
func TestHeldSetIsTheClientsOwn(t *testing.T) {
	s, client, scraper := newSetScraper(t, 35)
	scraper.host.Do(func() {
		scraper.transport.DialMetrics(ports.MetricsDial{Keys: scraperKeys, Client: clientKeys.Public, OnReady: func() { s.call("session ready") }, OnSet: func(r ports.SetRequest, reply func(ports.SetReply)) {
			s.call("proven %t unconnected %t instance %t", r.Proven, r.Unconnected, r.Instance == domain.Instance{7})
			reply(ports.SetReply{Success: true})
		}})
	})
	s.wait("session ready")
	s.wait("metrics open")
	r := setRegistration(setOf(t, 1), domain.TargetSet{})
	r.Set.Held, r.Instance = true, domain.Instance{7}
	if got, want := s.registerSet(client, r), "proven true unconnected false instance true; registered false"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
}
