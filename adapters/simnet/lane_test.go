package simnet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

// parallel runs all lanes at the same time.
func parallel(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// backwards runs the lanes in another order than a nil Config.Parallel.
func backwards(n int, do func(int)) {
	for i := n - 1; i >= 0; i-- {
		do(i)
	}
}

// crowd is a net whose hosts talk to each other at random, and what each of them has seen.
type crowd struct {
	net   *simnet.Net
	hosts []*simnet.Host
	seen  []string
}

const crowded = 12

// newCrowd adds hosts of all kinds and steps of a scenario that change something about all of them. Nothing happens at two
// of them at the same instant, so that the order of such events, which depends on the number of lanes, does not matter.
func newCrowd(cfg simnet.Config, lanes int, link simnet.Link) *crowd {
	cfg.Lanes, cfg.Link, cfg.Scribble = lanes, link, true
	c := &crowd{net: simnet.New(cfg), seen: make([]string, crowded)}
	home := c.net.AddRouter("router", simnet.FullCone(), netip.MustParseAddr("203.0.113.1"))
	for i := range crowded {
		name := fmt.Sprintf("h%d", i)
		switch {
		case i == 0:
			c.hosts = append(c.hosts, home.AddHost(name, netip.MustParseAddr("192.168.0.2")))
		default:
			c.hosts = append(c.hosts, c.net.AddHostIn(i%lanes, name, addr(i)))
		}
		c.boot(i)
	}
	c.hosts[1].SetDrift(0.01)
	c.hosts[2].SetTurnCost(300 * time.Microsecond)
	c.hosts[3].SetAccess(simnet.Link{Delay: ms, Bandwidth: 20_000})
	c.net.SetLinks(c.hosts[4], c.hosts[5], simnet.Link{Delay: link.Delay / 4, Bandwidth: 5_000})
	steps := []func(){
		func() { c.net.Partition(c.hosts[:6], c.hosts[6:]) },
		c.net.Heal,
		func() { c.net.Internet().SetLink(simnet.Link{Delay: link.Delay / 8, Jitter: ms}) },
		func() { c.hosts[6].Sleep() },
		func() { c.hosts[6].Wake() },
		func() { c.hosts[7] = c.hosts[7].Restart(); c.boot(7) },
		func() { c.hosts[8].Do(func() { c.say(8, []byte("do")) }) },
		func() { c.hosts[9].SetAddrs(addr(100)) },
		func() { c.net.SetLink(c.hosts[10], c.hosts[11], simnet.Link{Delay: 10 * time.Microsecond}) },
	}
	for i, step := range steps {
		c.net.AfterFunc(time.Duration(i+1)*97*ms+31, step)
	}
	return c
}

// boot has a host write down what it receives, answer some of it, and send to another one at random times.
func (c *crowd) boot(i int) {
	h := c.hosts[i]
	socket, err := h.OpenSocket(netip.AddrPortFrom(netip.Addr{}, port))
	if err != nil {
		panic(err)
	}
	socket.OnReceive(func(from netip.AddrPort, b []byte) {
		c.seen[i] += fmt.Sprintf("%v %v %x\n", h.Now(), from, b)
		if b[0]%3 == 0 {
			socket.Send(from, 0, append([]byte{1}, b...))
		}
	})
	var tick host.Timer
	tick = h.AfterFunc(time.Duration(i)*ms, func() {
		var b [8]byte
		h.Rand().Read(b[:])
		to := netip.AddrPortFrom(addr(1+int(b[0])%(crowded-1)), port)
		if b[0] == 0 {
			to = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), port)
		}
		socket.Send(to, 0, b[:])
		c.say(i, b[:2])
		tick.Reset(time.Duration(binary.LittleEndian.Uint16(b[2:])) * time.Microsecond)
	})
}

// say writes something down for a host.
func (c *crowd) say(i int, b []byte) {
	h := c.hosts[i]
	c.seen[i] += fmt.Sprintf("%v %v %x\n", h.Now(), h.Clock().Now(), b)
}

// Lanes change nothing for any machine, and how they are run changes nothing at all.
func TestLanesChangeNothing(t *testing.T) {
	links := map[string]simnet.Link{
		"usual":         {Delay: 5 * ms, Spread: 5 * ms, Jitter: 3 * ms, Loss: 0.05, Duplicate: 0.1, Replay: 0.1, Stale: 50 * ms, Reorder: 0.1},
		"hardly a wait": {Delay: 100 * time.Nanosecond, Jitter: ms},
		"no wait":       {},
	}
	ways := map[string]func(*simnet.Config){
		"in turn":   func(*simnet.Config) {},
		"parallel":  func(cfg *simnet.Config) { cfg.Parallel = parallel },
		"backwards": func(cfg *simnet.Config) { cfg.Parallel = backwards },
		"traced":    func(cfg *simnet.Config) { cfg.Parallel, cfg.Trace = parallel, new(bytes.Buffer) },
	}
	for name, link := range links {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				single := newCrowd(simnet.Config{Seed: seed}, 1, link)
				single.net.Run(time.Second)
				if got := single.net.Stats(); got.Delivered < 200 || got.Timers < 200 {
					t.Fatalf("only %+v", got)
				}
				var first *crowd
				for way, set := range ways {
					cfg := simnet.Config{Seed: seed}
					set(&cfg)
					c := newCrowd(cfg, 4, link)
					c.net.Run(time.Second)
					for i := range crowded {
						if c.seen[i] != single.seen[i] {
							t.Fatalf("%s: %s", way, difference(c.hosts[i].Name(), single.seen[i], c.seen[i]))
						}
					}
					if c.net.Stats() != single.net.Stats() || c.net.Pending() != single.net.Pending() {
						t.Errorf("%s: %+v, %d pending; with one lane %+v, %d", way, c.net.Stats(), c.net.Pending(), single.net.Stats(), single.net.Pending())
					}
					if first == nil {
						first = c
					}
					if c.net.Hash() != first.net.Hash() {
						t.Errorf("%s: hash %x, another way %x", way, c.net.Hash(), first.net.Hash())
					}
				}
			})
		}
	}
}

// difference returns the first line in which two texts differ.
func difference(who, want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("%s, line %d of %d: %q, with one lane %q", who, i, len(g), g[i], w[i])
		}
	}
	return fmt.Sprintf("%s: %d lines, with one lane %d", who, len(g), len(w))
}

// In a trace all lines are in the order of time, whatever their lane.
func TestTraceOfLanesIsInOrder(t *testing.T) {
	var trace bytes.Buffer
	c := newCrowd(simnet.Config{Seed: 1, Trace: &trace, Parallel: parallel}, 4, simnet.Link{Delay: 5 * ms, Jitter: ms})
	c.net.Run(time.Second)
	last, lines := time.Duration(0), 0
	for line := range strings.Lines(trace.String()) {
		at, err := time.ParseDuration(line[:strings.IndexByte(line, ' ')])
		if err != nil || at < last {
			t.Fatalf("after %v: %s", last, line)
		}
		last, lines = at, lines+1
	}
	if lines < 500 {
		t.Errorf("only %d lines", lines)
	}
}

// A step of the scenario happens at its instant at all machines, and so does what lies at the end of Run.
func TestStepsOfTheScenarioStopAllLanes(t *testing.T) {
	c := newCrowd(simnet.Config{Seed: 1, Parallel: parallel}, 4, simnet.Link{Delay: 5 * ms})
	clocks := func() (now []time.Duration) {
		for _, h := range c.hosts {
			now = append(now, h.Elapsed())
		}
		return append(now, c.net.Now())
	}
	all := func(d time.Duration) (now []time.Duration) {
		for range crowded + 1 {
			now = append(now, d)
		}
		return now
	}
	const at = 123456789 * time.Nanosecond
	var then []time.Duration
	c.net.AfterFunc(at, func() { then = clocks() })
	c.net.Run(200 * ms)
	if !reflect.DeepEqual(then, all(at)) {
		t.Errorf("at %v: %v", at, then)
	}
	if now := clocks(); !reflect.DeepEqual(now, all(200*ms)) {
		t.Errorf("at the end: %v", now)
	}
	c.net.RunUntil(func() bool {
		if now := clocks(); !reflect.DeepEqual(now, all(c.net.Now())) {
			t.Fatalf("between: %v", now)
		}
		return false
	}, 200*ms)
}

// What leaves a turn happens outside of all turns, in the order of time, and may do what the scenario may.
func TestOutside(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d lanes", lanes), func(t *testing.T) {
			c := newCrowd(simnet.Config{Seed: 1, Parallel: parallel}, lanes, simnet.Link{Delay: 5 * ms})
			var order []time.Duration
			seen := 0
			c.net.SetObserver(func(h *simnet.Host, _ host.Event) {
				seen++
				if lanes > 1 && h.Name() == "h1" { // which is not in the first lane
					c.hosts[2].Do(func() {}) // would panic inside a turn
				}
			})
			for i, h := range c.hosts {
				h.AfterFunc(time.Duration(crowded-i)*ms/10, func() {
					h.Trace(event("happens"))
					at := h.Elapsed()
					h.Outside(func() {
						if now := c.net.Now(); now < at || now > at+5*ms {
							t.Errorf("at %v what left a turn at %v", now, at)
						}
						order = append(order, at)
						c.hosts[(i+1)%crowded].Do(func() { c.say(i, nil) }) // would panic inside a turn
					})
				})
			}
			c.net.Run(ms * crowded)
			called := false
			c.hosts[1].Do(func() { c.hosts[1].Outside(func() { called = true }) })
			if !called {
				t.Error("what left a turn between two runs waits for the next one")
			}
			if len(order) != crowded || seen != crowded {
				t.Errorf("%d calls and %d events from %d turns", len(order), seen, crowded)
			}
			for i := 1; i < len(order); i++ {
				if order[i] < order[i-1] {
					t.Errorf("order %v", order)
				}
			}
		})
	}
}

// What waits for the end of a turn does not wait for a further one.
func TestOutsideOfTurnsIsNow(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		net := simnet.New(simnet.Config{Lanes: lanes})
		h := net.AddHostIn(lanes-1, "h", addr(1))
		var called []string
		call := func(what string) func() { return func() { called = append(called, what) } }
		h.Outside(call("between"))
		h.AfterFunc(ms, func() { h.Outside(func() { h.Outside(call("within")); h.Crash() }); h.Outside(call("after a crash")) })
		net.Run(time.Second)
		if want := []string{"between", "within", "after a crash"}; !slices.Equal(called, want) {
			t.Errorf("%d lanes: %q, want %q", lanes, called, want)
		}
	}
}

// How long a lane has the entry of a timer that was stopped or moved is no matter of the run.
func TestStoppedTimersDoNotDivideStretches(t *testing.T) {
	run := func(parallel func(int, func(int))) (stretches int, hash uint64) {
		net := simnet.New(simnet.Config{Lanes: 3, Parallel: parallel, Link: simnet.Link{Delay: 10 * ms}})
		a, b := net.AddHostIn(1, "a", addr(1)), net.AddHostIn(2, "b", addr(2))
		a.AfterFunc(0, func() {})
		stopped := a.AfterFunc(time.Second, func() {})
		moved := a.AfterFunc(time.Second+ms, func() {})
		b.AfterFunc(0, func() { b.Outside(func() { stopped.Stop(); moved.Reset(3 * time.Second) }) })
		b.AfterFunc(time.Second+5*ms, func() { b.Outside(func() { b.Do(func() {}) }) })
		for net.Step() {
			stretches++
		}
		return stretches, net.Hash()
	}
	stretches, hash := run(nil)
	other, otherHash := run(backwards)
	if stretches != 3 || other != 3 || hash != otherHash {
		t.Errorf("%d stretches and hash %x, another way %d and %x, want 3", stretches, hash, other, otherHash)
	}
}

// Whether a datagram is blocked on its way through a router is decided by the sessions of the router at that instant.
func TestBlocksLookIntoRoutersOfTheFirstLane(t *testing.T) {
	run := func(lanes int, parallel func(int, func(int))) simnet.Stats {
		net := simnet.New(simnet.Config{Lanes: lanes, Parallel: parallel, Link: simnet.Link{Delay: 10 * ms}})
		nat := simnet.PortRestricted()
		nat.Lifetime = ms // so that it depends on the instant whether there is a session
		router := net.AddRouter("router", nat, netip.MustParseAddr("203.0.113.1"))
		inside := listen(net, router.AddHost("inside", netip.MustParseAddr("192.168.0.2")))
		outside := listen(net, net.AddHostIn(1%lanes, "outside", addr(1)))
		net.Block(outside.Host, inside.Host)
		for i := range time.Duration(400) {
			inside.AfterFunc(i*ms*2, func() { inside.Socket.Send(netip.AddrPortFrom(addr(1), port), 0, nil) })
			outside.AfterFunc(i*ms*17/10+7, func() { outside.Socket.Send(netip.AddrPortFrom(router.Addr(), port), 0, nil) })
		}
		net.Run(time.Second)
		return net.Stats()
	}
	want := run(1, nil)
	if want.Dropped(simnet.DropBlocked) == 0 || want.Dropped(simnet.DropBlocked) == want.Dropped(0) {
		t.Fatalf("%d of %d are blocked", want.Dropped(simnet.DropBlocked), want.Dropped(0))
	}
	for name, way := range map[string]func(int, func(int)){"in turn": nil, "backwards": backwards, "parallel": parallel} {
		if got := run(2, way); got != want {
			t.Errorf("%s: %+v, with one lane %+v", name, got, want)
		}
	}
}

// A net without an end of time runs as well.
func TestLanesRunForever(t *testing.T) {
	net := simnet.New(simnet.Config{Lanes: 2, Link: simnet.Link{Delay: ms}})
	fired := false
	net.AddHostIn(1, "h", addr(1)).AfterFunc(time.Hour, func() { fired = true })
	if !net.RunUntil(func() bool { return fired }, math.MaxInt64) {
		t.Error("the timer did not fire")
	}
}

// Turns must not touch machines of other lanes, nor run the net, and only machines of the first lane may be behind routers.
func TestTurnsMayNotRunOthers(t *testing.T) {
	for name, f := range map[string]func(net *simnet.Net, other *simnet.Host){
		"another machine": func(_ *simnet.Net, other *simnet.Host) { other.Do(func() {}) },
		"the net":         func(net *simnet.Net, _ *simnet.Host) { net.Run(ms) },
		"behind a router": func(net *simnet.Net, _ *simnet.Host) {
			router := net.AddRouter("router", simnet.FullCone(), netip.MustParseAddr("203.0.113.1"))
			net.HostAt(addr(1)).Move(router.LAN(), netip.MustParseAddr("192.168.0.2"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			net := simnet.New(simnet.Config{Lanes: 2})
			a, b := net.AddHostIn(1, "a", addr(1)), net.AddHostIn(0, "b", addr(2))
			a.AfterFunc(0, func() { f(net, b) }) // nothing else is due
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			net.Run(ms)
		})
	}
}

// Datagrams that lanes send to each other are pending, and an idle net has none.
func TestPendingCountsWhatPassesBetweenLanes(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1, Lanes: 2, Link: simnet.Link{Delay: ms}})
	a, b := listen(net, net.AddHostIn(0, "a", addr(1))), listen(net, net.AddHostIn(1, "b", addr(2)))
	a.send(b, "x")
	net.AfterFunc(0, func() {})
	if n := net.Pending(); n != 2 {
		t.Errorf("%d pending", n)
	}
	if net.RunIdle(ms/2) || !net.RunIdle(time.Second) || len(b.got) != 1 {
		t.Errorf("not idle after a second, %d datagrams arrived", len(b.got))
	}
	if net.Step() {
		t.Error("an idle net has a step")
	}
}

// The hash of a run depends on what happens in each lane, and on the seed.
func TestHashOfLanes(t *testing.T) {
	run := func(seed uint64, text string) uint64 {
		net := simnet.New(simnet.Config{Seed: seed, Lanes: 3})
		a, b := listen(net, net.AddHostIn(1, "a", addr(1))), listen(net, net.AddHostIn(2, "b", addr(2)))
		a.send(b, text)
		net.Run(time.Second)
		return net.Hash()
	}
	if run(1, "payload") == run(1, "payloae") {
		t.Error("the hash does not see the payload")
	}
	if simnet.New(simnet.Config{Seed: 1, Lanes: 3}).Hash() == simnet.New(simnet.Config{Seed: 2, Lanes: 3}).Hash() {
		t.Error("the hash does not see the seed")
	}
}
