package simnet_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

const ms = time.Millisecond

func addr(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}) }

// end is a host with one socket that records what it receives and when.
type end struct {
	*simnet.Host
	host.Socket
	net   *simnet.Net
	got   []string
	times []time.Duration
}

const port = 4000

func newEnd(net *simnet.Net, n int) *end {
	return listen(net, net.AddHost(fmt.Sprintf("h%d", n), addr(n)))
}

func listen(net *simnet.Net, h *simnet.Host) *end {
	e := &end{Host: h, net: net}
	var err error
	if e.Socket, err = h.OpenSocket(netip.AddrPortFrom(netip.Addr{}, port)); err != nil {
		panic(err)
	}
	e.OnReceive(func(_ netip.AddrPort, b []byte) {
		e.got = append(e.got, string(b))
		e.times = append(e.times, net.Now())
	})
	return e
}

func (e *end) send(to *end, text string) { e.sendTTL(to, 0, text) }

func (e *end) sendTTL(to *end, ttl int, text string) {
	e.Socket.Send(netip.AddrPortFrom(to.Host.Addr(), port), ttl, []byte(text))
}

// pair returns two hosts on a net with the given link.
func pair(seed uint64, l simnet.Link) (*simnet.Net, *end, *end) {
	net := simnet.New(simnet.Config{Seed: seed, Link: l})
	return net, newEnd(net, 1), newEnd(net, 2)
}

// chatter runs hosts that answer each other at random for a second and returns the net.
func chatter(cfg simnet.Config, extra func(*simnet.Net)) *simnet.Net {
	cfg.Link = simnet.Link{Delay: ms, Spread: 5 * ms, Jitter: 3 * ms, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1}
	net := simnet.New(cfg)
	var ends []*end
	for i := range 5 {
		ends = append(ends, newEnd(net, i+1))
	}
	for i, e := range ends {
		var tick host.Timer
		tick = e.AfterFunc(ms, func() {
			var b [2]byte
			e.Rand().Read(b[:])
			e.send(ends[int(b[0])%len(ends)], fmt.Sprint(i, b[1]))
			tick.Reset(time.Duration(b[1]) * time.Microsecond * 100)
		})
	}
	if extra != nil {
		extra(net)
	}
	net.Run(time.Second)
	return net
}

func TestSameSeedIsTheSameRun(t *testing.T) {
	var first, second bytes.Buffer
	a := chatter(simnet.Config{Seed: 7, Trace: &first}, nil)
	b := chatter(simnet.Config{Seed: 7, Trace: &second}, nil)
	silent := chatter(simnet.Config{Seed: 7}, nil)
	if a.Hash() != b.Hash() || first.String() != second.String() {
		t.Error("two runs of one seed differ")
	}
	if silent.Hash() != a.Hash() {
		t.Error("the text trace changed the hash")
	}
	if other := chatter(simnet.Config{Seed: 8}, nil); other.Hash() == a.Hash() {
		t.Error("another seed is the same run")
	}
	if !strings.Contains(first.String(), "receive") || !strings.Contains(first.String(), "drop-loss") {
		t.Error("the trace tells neither of deliveries nor of drops")
	}
}

func TestOneByteOfPayloadChangesTheHash(t *testing.T) {
	run := func(text string) uint64 {
		net, a, b := pair(1, simnet.Link{})
		a.send(b, text)
		net.Run(time.Second)
		return net.Hash()
	}
	if run("payload") == run("payloae") {
		t.Error("the hash does not see the payload")
	}
}

// The fate of datagrams between two hosts must not depend on other hosts.
func TestNeighboursDoNotChangeTheDrawsOfALink(t *testing.T) {
	run := func(neighbours bool) []time.Duration {
		net, a, b := pair(3, simnet.Link{Delay: ms, Jitter: 5 * ms, Loss: 0.3, Reorder: 0.2})
		if neighbours {
			c, d := newEnd(net, 3), newEnd(net, 4)
			for i := range 100 {
				net.AfterFunc(time.Duration(i)*ms, func() { c.send(d, "noise"); d.send(b, "noise") })
			}
			b.OnReceive(func(_ netip.AddrPort, p []byte) {
				if string(p) != "noise" {
					b.times = append(b.times, net.Now())
				}
			})
		}
		for i := range 100 {
			net.AfterFunc(time.Duration(i)*ms, func() { a.send(b, "x") })
		}
		net.Run(time.Second)
		return b.times
	}
	if alone, crowded := run(false), run(true); !slices.Equal(alone, crowded) {
		t.Errorf("alone %v\ncrowded %v", alone, crowded)
	}
}

func TestLinkDelaysWithinItsBounds(t *testing.T) {
	net, a, b := pair(1, simnet.Link{Delay: 10 * ms, Spread: 20 * ms, Jitter: 5 * ms})
	var delays []time.Duration
	for range 200 {
		before := net.Now()
		a.send(b, "x")
		net.Run(100 * ms)
		delays = append(delays, b.times[len(b.times)-1]-before)
	}
	least, most := slices.Min(delays), slices.Max(delays)
	if least < 10*ms || most > 35*ms || most-least > 5*ms || most-least < 2*ms {
		t.Errorf("delays from %v to %v, want 5ms of jitter somewhere between 10ms and 35ms", least, most)
	}
}

func TestJitterAloneKeepsTheOrder(t *testing.T) {
	net, a, b := pair(5, simnet.Link{Delay: ms, Jitter: 50 * ms})
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint(i))
		net.AfterFunc(time.Duration(i)*100*time.Microsecond, func() { a.send(b, want[i]) })
	}
	net.Run(time.Second)
	if !slices.Equal(b.got, want) {
		t.Error("datagrams overtook each other")
	}
}

func TestFaultsHappenAsOftenAsTheLinkSays(t *testing.T) {
	const count = 20_000
	tests := []struct {
		name string
		link simnet.Link
		rate func(b *end, s simnet.Stats) float64
		want float64
	}{
		{"loss", simnet.Link{Loss: 0.2}, func(_ *end, s simnet.Stats) float64 { return float64(s.Dropped(simnet.DropLoss)) }, 0.2},
		{"burst", simnet.Link{Burst: 0.2, BurstFor: 5 * ms}, func(_ *end, s simnet.Stats) float64 { return float64(s.Dropped(simnet.DropBurst)) }, 0.2},
		{"duplicate", simnet.Link{Duplicate: 0.2}, func(b *end, _ simnet.Stats) float64 { return float64(len(b.got) - count) }, 0.2},
		{"replay", simnet.Link{Replay: 0.2, Stale: 10 * time.Second}, func(b *end, s simnet.Stats) float64 {
			return float64(len(b.got)-count+int(s.Replayed)) / 2
		}, 0.2},
		{"reorder", simnet.Link{Reorder: 0.2, Late: 5 * ms}, func(b *end, _ simnet.Stats) float64 { return float64(count - ascents(b.got)) }, 0.2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, a, b := pair(1, test.link)
			for i := range count {
				net.AfterFunc(time.Duration(i)*100*time.Microsecond, func() { a.send(b, fmt.Sprintf("%09d", i)) })
			}
			net.Run(time.Minute)
			if rate := test.rate(b, net.Stats()) / count; rate < test.want*0.8 || rate > test.want*1.2 {
				t.Errorf("rate %.3f, want about %.3f", rate, test.want)
			}
		})
	}
}

// ascents counts the texts that came after all smaller ones.
func ascents(got []string) int {
	n, top := 0, ""
	for _, s := range got {
		if s > top {
			n, top = n+1, s
		}
	}
	return n
}

func TestTTLDiesOnTheInternetAndArrivesOnALAN(t *testing.T) {
	net, a, b := pair(1, simnet.Link{Delay: ms})
	lan := net.AddLAN("office", simnet.Link{})
	c, d := listen(net, lan.AddHost("c", addr(3))), listen(net, lan.AddHost("d", addr(4)))
	a.sendTTL(b, 5, "dies")
	a.sendTTL(b, 9, "dies")
	a.sendTTL(b, 10, "arrives")
	c.sendTTL(d, 1, "arrives")
	c.send(a, "has no way")
	net.Run(time.Second)
	if len(b.got) != 1 || len(d.got) != 1 || len(a.got) != 0 {
		t.Errorf("internet got %q, LAN got %q, outside got %q", b.got, d.got, a.got)
	}
	s := net.Stats()
	if s.Dropped(simnet.DropTTL) != 2 || s.Dropped(simnet.DropNoRoute) != 1 {
		t.Errorf("dropped %d by TTL and %d without route", s.Dropped(simnet.DropTTL), s.Dropped(simnet.DropNoRoute))
	}
	net.SetLink(a.Host, b.Host, simnet.Link{Hops: 3})
	a.sendTTL(b, 5, "arrives")
	net.Run(time.Second)
	if len(b.got) != 2 {
		t.Error("a TTL of 5 died on a way of 3 hops")
	}
}

func TestMTUCountsHeaders(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	a.send(b, strings.Repeat("x", 1472))
	a.send(b, strings.Repeat("x", 1473))
	net.Run(time.Second)
	if len(b.got) != 1 || net.Stats().Dropped(simnet.DropMTU) != 1 {
		t.Errorf("%d arrived, %d dropped", len(b.got), net.Stats().Dropped(simnet.DropMTU))
	}
}

func TestBlockIsOneWayAndOutlivesARestart(t *testing.T) {
	net, a, b := pair(1, simnet.Link{Delay: ms})
	net.Block(a.Host, b.Host)
	b = listen(net, b.Restart())
	a.send(b, "blocked")
	b.send(a, "passes")
	net.Run(time.Second)
	if len(a.got) != 1 || len(b.got) != 0 || net.Stats().Dropped(simnet.DropBlocked) != 1 {
		t.Errorf("a got %q, b got %q", a.got, b.got)
	}
	net.Heal()
	a.send(b, "passes")
	net.Run(time.Second)
	if len(b.got) != 1 {
		t.Error("still blocked after Heal")
	}
}

func TestFilterSeesAndDropsDatagrams(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	net.SetFilter(func(d simnet.Datagram) bool {
		if d.From != netip.AddrPortFrom(addr(1), port) || d.To != netip.AddrPortFrom(addr(2), port) || d.TTL != 7 {
			t.Errorf("filter saw %v>%v with TTL %d", d.From, d.To, d.TTL)
		}
		return string(d.Payload) != "bad"
	})
	net.SetLink(a.Host, b.Host, simnet.Link{Hops: 1})
	a.sendTTL(b, 7, "bad")
	a.sendTTL(b, 7, "good")
	net.Run(time.Second)
	if !slices.Equal(b.got, []string{"good"}) {
		t.Errorf("got %q", b.got)
	}
}

func TestCrashTakesAwayAllOfAHost(t *testing.T) {
	net, a, b := pair(1, simnet.Link{Delay: 10 * ms})
	gone := func(what string) func() { return func() { t.Error(what + " survived the crash") } }
	timer := b.AfterFunc(5*ms, gone("a timer"))
	b.Post(gone("a posted closure"))
	b.Defer(gone("a deferred closure"))
	b.LookupHost("x", func([]netip.Addr, error) { gone("a lookup")() })
	for range 10 {
		b.Compute(func() {}, gone("a computation"))
	}
	a.send(b, "arrives at a crashed machine")
	b.Crash()

	// Old code that still holds the host has no effect any more.
	if timer.Stop() {
		t.Error("a timer of a crashed host was pending")
	}
	timer.Reset(ms)
	b.Host.AfterFunc(ms, gone("a new timer"))
	b.send(a, "from the dead")
	if _, err := b.OpenSocket(netip.AddrPort{}); !errors.Is(err, simnet.ErrCrashed) {
		t.Errorf("OpenSocket on a crashed host: %v", err)
	}
	if b.Timers() != 0 || b.Sockets() != 0 || !b.Down() {
		t.Error("a crashed host counts timers or sockets")
	}
	net.Run(20 * ms)
	if len(a.got) != 0 || net.Stats().Dropped(simnet.DropDown) != 1 {
		t.Errorf("a got %q, %d dropped at a crashed machine", a.got, net.Stats().Dropped(simnet.DropDown))
	}

	again := listen(net, b.Restart())
	a.send(again, "to the restarted")
	net.Run(20 * ms)
	if len(again.got) != 1 || len(b.got) != 0 {
		t.Errorf("restarted got %q, crashed got %q", again.got, b.got)
	}
}

func TestHostMayCrashItselfInATurn(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	b.OnReceive(func(netip.AddrPort, []byte) {
		b.Defer(func() { t.Error("deferred before the crash and still ran") })
		b.Crash()
	})
	a.send(b, "x")
	net.Run(time.Second)
	if !b.Down() {
		t.Error("still up")
	}
}

func TestEveryBootHasItsOwnRandomnessAndTime(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	read := func(h *simnet.Host) string {
		var b [16]byte
		h.Rand().Read(b[:])
		return string(b[:])
	}
	net.Run(time.Hour)
	again := b.Restart()
	if one, two, three := read(a.Host), read(b.Host), read(again); one == two || two == three {
		t.Error("two hosts or two boots draw the same bytes")
	}
	if now := again.Now(); now > host.Instant(time.Minute) {
		t.Errorf("Now is %v right after the boot", now)
	}
}

func TestAddressMovesUnderABoundSocket(t *testing.T) {
	net, a, b := pair(1, simnet.Link{Delay: ms})
	b.SetAddrs(addr(9))
	var from netip.AddrPort
	a.OnReceive(func(f netip.AddrPort, _ []byte) { from = f })
	b.send(a, "from the new address")
	a.send(b, "to the new address")
	a.Socket.Send(netip.AddrPortFrom(addr(2), port), 0, []byte("to the old one"))
	net.Run(time.Second)
	if from.Addr() != addr(9) || len(b.got) != 1 || net.Stats().Dropped(simnet.DropNoRoute) != 1 {
		t.Errorf("came from %v, moved host got %q", from, b.got)
	}
}

func TestBandwidthSpacesDatagramsAndDropsWhatDoesNotFit(t *testing.T) {
	slow := simnet.Link{Bandwidth: 100_000, Queue: 10_000}
	tests := []struct {
		name string
		set  func(*simnet.Net, *end, *end)
	}{
		{"of the segment", func(n *simnet.Net, _, _ *end) { n.Internet().SetLink(slow) }},
		{"of the pair", func(n *simnet.Net, a, b *end) { n.SetLink(a.Host, b.Host, slow) }},
		{"of the sender's access", func(_ *simnet.Net, a, _ *end) { a.SetAccess(slow) }},
		{"of the receiver's access", func(_ *simnet.Net, _, b *end) { b.SetAccess(slow) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, a, b := pair(1, simnet.Link{Delay: ms})
			test.set(net, a, b)
			for range 100 {
				a.send(b, strings.Repeat("x", 972)) // 1000 bytes with headers: 10 ms each
			}
			net.Run(10 * time.Second)
			if n := len(b.got); n != 10 && n != 11 {
				t.Fatalf("%d arrived, want one on the wire and 10000 bytes of queue", n)
			}
			for i := 1; i < len(b.times); i++ {
				if gap := b.times[i] - b.times[i-1]; gap != 10*ms {
					t.Errorf("gap of %v before datagram %d, want 10ms", gap, i)
				}
			}
		})
	}
}

func TestNamesResolve(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	net.SetName("b.example", b.Host.Addr(), addr(77))
	var got []netip.Addr
	var missing error
	a.LookupHost("b.example", func(addrs []netip.Addr, err error) { got = addrs })
	a.LookupHost("c.example", func(_ []netip.Addr, err error) { missing = err })
	net.Run(time.Second)
	if !slices.Equal(got, []netip.Addr{addr(2), addr(77)}) || !errors.Is(missing, simnet.ErrNoSuchHost) {
		t.Errorf("got %v, and %v for an unknown name", got, missing)
	}
}

func TestScribbleSpoilsWhatIsKept(t *testing.T) {
	net := simnet.New(simnet.Config{Scribble: true})
	a, b := newEnd(net, 1), newEnd(net, 2)
	var kept []byte
	b.OnReceive(func(_ netip.AddrPort, p []byte) { kept = p })
	a.send(b, "borrowed")
	net.Run(time.Second)
	if strings.Contains(string(kept), "borrowed") {
		t.Error("the buffer is intact after the turn")
	}
}

func TestWallClocksJumpAndDriftApart(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	start := net.Clock().Now()
	a.Clock().Jump(-time.Hour)
	b.Clock().Drift(0.01)
	net.Run(100 * time.Second)
	b.Clock().Drift(0)
	net.Run(100 * time.Second)
	if got := net.Clock().Now().Sub(start); got != 200*time.Second {
		t.Errorf("the right clock moved by %v", got)
	}
	if got := a.Restart().Clock().Now().Sub(start); got != 200*time.Second-time.Hour {
		t.Errorf("the clock that jumped moved by %v", got)
	}
	if got := b.Clock().Now().Sub(start); got != 201*time.Second {
		t.Errorf("the clock that drifted moved by %v", got)
	}
}

func TestRunStopsAtItsLimitAndRunUntilAtItsCondition(t *testing.T) {
	net, a, _ := pair(1, simnet.Link{})
	fired := 0
	for i := range 10 {
		a.AfterFunc(time.Duration(i)*time.Second, func() { fired++ })
	}
	net.Run(1500 * ms)
	if fired != 2 || net.Now() != 1500*ms {
		t.Errorf("%d fired at %v", fired, net.Now())
	}
	if !net.RunUntil(func() bool { return fired == 5 }, time.Minute) || net.Now() != 4*time.Second {
		t.Errorf("%d fired at %v", fired, net.Now())
	}
	if net.RunUntil(func() bool { return fired == 99 }, time.Second) || net.Now() != 5*time.Second {
		t.Errorf("%d fired at %v", fired, net.Now())
	}
	if !net.RunIdle(time.Hour) || fired != 10 || net.Pending() != 0 || a.Timers() != 0 {
		t.Errorf("%d fired, %d pending, %d timers", fired, net.Pending(), a.Timers())
	}
}

func TestTimersResetForHoursDoNotPileUp(t *testing.T) {
	net, a, _ := pair(1, simnet.Link{})
	var order []int
	for i := range 100 {
		timer := a.AfterFunc(time.Hour, func() { order = append(order, i) })
		for j := range 1000 {
			timer.Stop()
			timer.Reset(time.Hour - time.Duration(j)*time.Second)
		}
	}
	net.Run(2 * time.Hour)
	if len(order) != 100 || !slices.IsSorted(order) {
		t.Errorf("fired %v", order)
	}
}

func TestTurnsDoNotNest(t *testing.T) {
	_, a, b := pair(1, simnet.Link{})
	defer func() {
		if recover() == nil {
			t.Error("a turn inside a turn was let pass")
		}
	}()
	a.Do(func() { b.Do(func() {}) })
}

type event string

func (e event) AppendText(b []byte) ([]byte, error) { return append(b, e...), nil }

func TestEventsReachObserverTraceAndHash(t *testing.T) {
	var text bytes.Buffer
	run := func(e event, coarse bool) uint64 {
		net := simnet.New(simnet.Config{Seed: 1, Trace: &text, Coarse: coarse})
		a := newEnd(net, 1)
		var seen []string
		net.SetObserver(func(h *simnet.Host, e host.Event) { seen = append(seen, fmt.Sprint(h.Name(), e)) })
		a.AfterFunc(ms, func() { a.Trace(e) })
		net.Run(time.Second)
		if len(seen) != 1 {
			t.Errorf("observer saw %q", seen)
		}
		return net.Hash()
	}
	if run("this", false) == run("that", false) {
		t.Error("the hash does not see the event")
	}
	if run("this", true) != run("that", true) {
		t.Error("a coarse hash sees the text of events")
	}
	if !strings.Contains(text.String(), "1ms h1 this\n") {
		t.Errorf("trace: %s", text.String())
	}
}
