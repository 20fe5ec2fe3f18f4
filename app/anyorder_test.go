package app_test

import (
	"fmt"
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

// anyTransport has connections on which anything that a transport may do happens, in any order.
type anyTransport struct {
	ports.ScraperTransport
	loop  *portstest.Loop
	move  func(ports.Move) // of the scraper's machine
	all   []*anySession
	works bool // dials succeed on direct paths
}

type anySession struct {
	t           *anyTransport
	dial        ports.MetricsDial
	path        domain.Path
	silence     time.Duration // silence of the direct path
	open, ready bool
	closing     bool // by the scraper
	over        bool
	requests    []*anyRequest
}

type anyRequest struct {
	session *anySession
	done    func(error)
}

func (r *anyRequest) Consumed(int) {}
func (r *anyRequest) Cancel() {
	r.session.requests = slices.DeleteFunc(r.session.requests, func(o *anyRequest) bool { return o == r })
}

func (t *anyTransport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	s := &anySession{t: t, dial: d}
	t.all = append(t.all, s)
	if t.works {
		t.loop.Post(s.succeed)
	}
	return s
}

func (s *anySession) succeed() {
	s.opens(domain.PathDirect)
	s.becomesReady()
	s.takes(domain.PathDirect)
}

func (s *anySession) Scrape(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return s.request(func(err error) { portstest.Answer(h, "", err) })
}

func (s *anySession) request(done func(error)) *anyRequest {
	r := &anyRequest{s, done}
	s.requests = append(s.requests, r)
	if s.closing || s.over {
		s.t.loop.Post(func() { s.answer(r, &ports.ConnectionError{Err: portstest.ErrEnded}) })
	}
	return r
}

func (s *anySession) answer(r *anyRequest, err error) {
	if i := slices.Index(s.requests, r); i >= 0 {
		s.requests = slices.Delete(s.requests, i, i+1)
		r.done(err)
	}
}

func (s *anySession) Ping(done func(error)) func() { return s.request(done).Cancel }
func (s *anySession) Peer() domain.Peer            { return domain.Peer{Key: s.dial.Client, Path: s.path} }
func (s *anySession) Answered() bool               { return s.open }
func (s *anySession) Idle() bool                   { return len(s.requests)%8 == 7 }
func (s *anySession) DirectSilence() time.Duration { return s.silence }
func (s *anySession) Detour() domain.Detour        { return domain.Detour{} }
func (s *anySession) Stats() domain.LinkStats      { return domain.LinkStats{} }
func (s *anySession) Version() string              { return "" }
func (s *anySession) Release()                     { s.Close(nil) }
func (s *anySession) Close(reason error) {
	if !s.closing {
		s.closing = true
		s.t.loop.Post(func() { s.end(reason) })
	}
}

func (s *anySession) end(err error) {
	if s.over {
		return
	}
	s.over = true
	for _, r := range slices.Clone(s.requests) {
		s.answer(r, &ports.ConnectionError{Err: portstest.ErrLost})
	}
	s.dial.OnClose(err)
}

func (s *anySession) opens(p domain.Path) {
	if !s.open && !s.closing && !s.over {
		s.path, s.open = p, true
		s.dial.OnOpen(s.Peer())
	}
}

func (s *anySession) becomesReady() {
	if s.open && !s.ready && !s.closing && !s.over {
		s.ready = true
		s.dial.OnReady()
	}
}

func (s *anySession) takes(p domain.Path) {
	if s.open && s.path != p && !s.closing && !s.over {
		s.path = p
		s.dial.OnPath(s.Peer())
	}
}

// In any order of events, each scrape gets one answer, each reported connection is reported to end once, and no session exceeds its
// bound. Searches for a direct path and turns to dial keep to their tables. At the end each session has one connection, and closing it leaves no timer.
func TestSessionsTakeEventsInAnyOrder(t *testing.T) {
	var all domain.DialStats
	watch := watches{statestest.NewWatch(t, app.SearchTable), statestest.NewWatch(t, app.TurnTable)}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			got := anyOrder(t, rand.New(rand.NewPCG(seed, 1)), watch)
			all.SecondDirect += got.SecondDirect
			all.SecondRelayed += got.SecondRelayed
			all.SecondFailed += got.SecondFailed
		})
	}
	for seed := range uint64(3) {
		searchTogether(t, rand.New(rand.NewPCG(seed, 2)), watch, takeOverAll)
		searchTogether(t, rand.New(rand.NewPCG(seed, 3)), watch, goOverAll)
		startTogether(t, rand.New(rand.NewPCG(seed, 4)), watch)
	}
	if all.SecondDirect < 5 || all.SecondRelayed < 5 || all.SecondFailed < 5 {
		t.Errorf("too little has happened: %+v", all)
	}
}

func anyAlias(i int) domain.Alias { return domain.Alias(fmt.Sprint("client-", i)) }

// watches are those of the machines of sessions.
type watches struct {
	searches *statestest.Watch[app.SearchState]
	turns    *statestest.Watch[app.TurnState]
}

// anyWorld is a scraper with clients whose connections the test decides on. The states of the searches for a path and of the
// turns to dial are watched.
func anyWorld(t *testing.T, clients int, watch watches) (*world, *anyTransport, []domain.KeyPair) {
	w := newWorld(t)
	pairs := make([]domain.KeyPair, clients)
	for i := range clients {
		pairs[i] = pair(byte(i + 2))
		w.disk.Entries[anyAlias(i)] = domain.Entry{Alias: anyAlias(i), Key: pairs[i].Public, Expires: noon.Add(100 * time.Hour)}
	}
	net := &anyTransport{loop: w.loop}
	w.startScraper(func(c *app.ScraperConfig) {
		of := portstest.NewTransport(w.net)
		net.ScraperTransport, net.move, c.Transport = of, of.Move, net
	})
	turns := statestest.NewMachines(watch.turns, app.Turn.State)
	found := map[domain.PublicKey]app.SearchState{}
	w.loop.AfterTurn = func() {
		w.scraper.SearchStates(func(key domain.PublicKey, state app.SearchState) {
			if before := found[key]; before != state {
				watch.searches.Step(before, state)
				found[key] = state
			}
		})
		turns.Add(w.scraper.Turns()...)
		turns.Look()
	}
	return w, net, pairs
}

// startTogether has more sessions dial than may at a time, scrapes some of those that wait, and closes the scraper meanwhile.
func startTogether(t *testing.T, random *rand.Rand, watch watches) {
	const clients = 150
	w, _, _ := anyWorld(t, clients, watch)
	for range 3 {
		for range 40 {
			w.loop.Turn(func() { w.scraper.Scrape(anyAlias(random.IntN(clients)), time.Minute, func([]byte, error) {}) })
		}
		w.loop.Advance(time.Duration(random.IntN(3000)) * time.Millisecond)
	}
	w.closeScraper()
}

// takeOverAll has relays take all sessions over.
func takeOverAll(w *world, net *anyTransport) {
	for _, s := range slices.Clone(net.all) {
		w.loop.Turn(func() {
			s.silence = time.Hour
			s.takes(domain.PathRelay)
		})
	}
	w.loop.Advance(30 * time.Second)
}

// goOverAll has all sessions take another way to the network.
func goOverAll(w *world, net *anyTransport) { w.loop.Turn(func() { net.move(ports.MoveOver) }) }

// searchTogether has all sessions search for a path at once, so that searches wait for their turn to dial. A third of them is relayed from the
// start.
func searchTogether(t *testing.T, random *rand.Rand, watch watches, begin func(*world, *anyTransport)) {
	const clients = 150
	w, net, _ := anyWorld(t, clients, watch)
	w.loop.Turn(func() {
		for i, s := range slices.Clone(net.all) {
			if i%3 == 0 {
				s.opens(domain.PathRelay)
				s.becomesReady()
				continue
			}
			s.succeed()
		}
		net.works = true
	})
	w.loop.Advance(time.Minute)
	net.works = false
	first := slices.Clone(net.all)
	begin(w, net)
	for range 100 {
		s := first[random.IntN(len(first))]
		i := random.IntN(clients)
		w.loop.Turn(func() {
			switch random.IntN(4) {
			case 0:
				s.takes(domain.PathDirect)
			case 1:
				s.end(nil)
			default:
				w.scraper.PutAlias(registration(string(anyAlias(i)), byte(i+2)).Register, func(bool, error) {})
			}
		})
		w.loop.Advance(200 * time.Millisecond)
	}
	w.closeScraper()
}

func anyOrder(t *testing.T, random *rand.Rand, watch watches) domain.DialStats {
	const clients, busy = 70, 6 // more than may dial at a time; those on whose connections most happens
	w, net, pairs := anyWorld(t, clients, watch)
	alias := anyAlias
	asked, answered := 0, 0
	paths := []domain.Path{domain.PathDirect, domain.PathRelay}
	for range 3000 {
		live := slices.DeleteFunc(slices.Clone(net.all), func(s *anySession) bool { return s.over })
		if len(live) == 0 {
			w.loop.Advance(time.Second)
			continue
		}
		often := slices.DeleteFunc(slices.Clone(live), func(s *anySession) bool {
			return !slices.ContainsFunc(pairs[:busy], func(k domain.KeyPair) bool { return k.Public == s.dial.Client })
		})
		if len(often) > 0 && random.IntN(5) > 0 {
			live = often
		}
		s := live[random.IntN(len(live))]
		w.loop.Turn(func() {
			switch random.IntN(12) {
			case 0, 1:
				s.opens(paths[random.IntN(2)])
			case 2, 3, 4:
				s.becomesReady()
			case 5, 6:
				s.silence = time.Duration(random.IntN(4)) * time.Hour
				s.takes(paths[random.IntN(2)])
			case 7:
				if random.IntN(30) == 0 {
					s.end([]error{nil, &ports.ConnectionError{Err: portstest.ErrLost}, busyFor(3 * time.Second)}[random.IntN(3)])
				}
			case 8:
				if len(s.requests) > 0 {
					s.answer(s.requests[0], nil)
				}
			default:
				asked++
				over := false
				cancel := w.scraper.Scrape(alias(random.IntN(busy)), time.Duration(1+random.IntN(60))*time.Second, func([]byte, error) {
					if over {
						t.Error("a scrape has two answers")
					}
					over = true
					answered++
				})
				if random.IntN(10) == 0 {
					cancel()
					over = true
					answered++
				}
			}
		})
		if random.IntN(3) == 0 {
			w.loop.Advance(time.Duration(random.IntN(3000)) * time.Millisecond)
		}
		if random.IntN(20) == 0 {
			i := random.IntN(2 * busy)
			w.loop.Turn(func() {
				w.scraper.PutAlias(registration(string(alias(i)), byte(i+2)).Register, func(bool, error) {})
			})
		}
		if random.IntN(100) == 0 {
			m := []ports.Move{ports.MoveElsewhere, ports.MoveOver, ports.MoveOver, ports.MoveIntoReach}[random.IntN(4)]
			w.loop.Turn(func() { net.move(m) })
		}
		w.scraper.Sizes(func(what string, held, most int) {
			if held > most {
				t.Fatalf("%d %s, want at most %d", held, what, most)
			}
		})
	}
	net.works = true
	w.loop.Turn(func() {
		for _, s := range slices.Clone(net.all) {
			s.succeed()
		}
	})
	w.loop.Advance(5 * time.Minute)
	if n := w.scraper.Sessions()[domain.SessionOpen]; n != clients {
		t.Errorf("%d sessions are open, want %d: %v", n, clients, w.scraper.Sessions())
	}
	if answered != asked {
		t.Errorf("%d of %d scrapes are answered", answered, asked)
	}
	live := map[domain.PublicKey]int{}
	for _, s := range net.all {
		if !s.over {
			live[s.dial.Client]++
		}
	}
	for key, n := range live {
		if n != 1 {
			t.Errorf("%d connections to %s", n, key.Short())
		}
	}
	told := map[domain.UID]int{}
	for _, e := range w.events {
		switch e := e.(type) {
		case domain.ConnectionOpen:
			if told[e.UID]++; told[e.UID] != 1 {
				t.Errorf("connection %v opens twice", e.UID)
			}
		case domain.ConnectionClose:
			if told[e.UID]--; told[e.UID] != 0 {
				t.Errorf("connection %v ends without having opened", e.UID)
			}
			delete(told, e.UID)
		}
	}
	if len(told) != clients {
		t.Errorf("%d connections have opened and not ended, want %d", len(told), clients)
	}
	w.closeScraper()
	for _, s := range net.all {
		if !s.over {
			t.Error("a connection is left open")
		}
	}
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
	return w.scraper.Stats().Paths
}
