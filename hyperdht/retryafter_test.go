package hyperdht_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// punches has a caller with a random NAT come to the round in which it punches, and returns the answer to that.
func (c *fakeCaller) punches(takesRetryAfter bool) wire.HolepunchPayload {
	c.l.t.Helper()
	c.dial(callerPayload())
	first, ok := c.round(wire.HolepunchPayload{Firewall: wire.FirewallRandom})
	if !ok || first.Token == nil {
		c.l.t.Fatalf("answered %v %+v, want a token", ok, first)
	}
	second, ok := c.round(wire.HolepunchPayload{
		Firewall: wire.FirewallRandom, Punching: true, Round: 1, RemoteToken: first.Token, Addrs: []netip.AddrPort{c.addr()}, TakesRetryAfter: takesRetryAfter,
	})
	if !ok {
		c.l.t.Fatal("no answer to the round in which it punches")
	}
	return second
}

// Callers that know retry times get one. The others are answered as by the reference implementation.
func TestBusyServerGivesRetryTimesToCallersThatKnowThem(t *testing.T) {
	t.Parallel()
	l, _ := busyLab(t, false)
	if got, want := l.fakeCaller().punches(false), (wire.HolepunchPayload{Error: wire.ErrorTryLater, Round: 1}); got.RetryAfter != 0 || got.TakesRetryAfter ||
		got.Error != want.Error || got.Size() != want.Size() {
		t.Errorf("a caller that does not know retry times is answered %+v, want %+v", got, want)
	}
	l.run(30 * time.Second)
	if n := size(l.answerer.node, "waiting random punches"); n != 1 {
		t.Errorf("a caller that does not know retry times has %d places after half a minute, want 1", n)
	}
	l, _ = busyLab(t, false)
	got := l.fakeCaller().punches(true)
	if got.Error != wire.ErrorTryLater || !got.TakesRetryAfter || got.RetryAfter == 0 || got.RetryAfter > 6000 {
		t.Errorf("a caller that knows retry times is answered %+v", got)
	}
	if got.Firewall != wire.FirewallConsistent || got.Addrs == nil || got.Token == nil {
		t.Errorf("a caller whose turn is near is answered %+v, want what the punch needs", got)
	}
	l.run(30 * time.Second)
	if n := size(l.answerer.node, "waiting random punches"); n != 0 {
		t.Errorf("a caller that does not come at the time given has %d places after half a minute, want none", n)
	}
}

// A caller that does not know retry times dials again at times of its own.
func TestCallerWithoutRetryTimesIsServedOnceTheServerIsFree(t *testing.T) {
	t.Parallel()
	l, _ := busyLab(t, false)
	c := l.fakeCaller()
	for tries := 1; ; tries++ {
		got := c.punches(false)
		if got.Punching {
			break
		}
		if got.Error != wire.ErrorTryLater || tries == 12 {
			t.Fatalf("answered %+v with try %d", got, tries)
		}
		l.run(5 * time.Second)
	}
}

// busyServer is a fake server that is busy for a number of punch rounds. It counts them, and notes when they come.
func (l *lab) busyServer(busy int, refusal wire.HolepunchPayload) *[]time.Duration {
	at := netip.MustParseAddrPort("100.128.9.9:1234")
	f := l.fakeServer(at)
	plain := wire.HolepunchPayload{Firewall: wire.FirewallRandom, Addrs: []netip.AddrPort{at}, Token: &[32]byte{1}}
	came := &[]time.Duration{}
	f.punch = func(m wire.HolepunchPayload) []wire.HolepunchPayload {
		answer := plain
		if m.Punching {
			if !m.TakesRetryAfter {
				l.t.Errorf("a dialler does not say that it knows retry times: %+v", m)
			}
			*came = append(*came, l.net.Now())
			if len(*came) <= busy {
				answer = refusal
				if refusal.Firewall != wire.FirewallUnknown {
					answer.Addrs, answer.Token = plain.Addrs, plain.Token
				}
			} else {
				answer.Punching = true
			}
			answer.RemoteToken = m.Token
		}
		return []wire.HolepunchPayload{answer}
	}
	return came
}

func TestDiallerKeepsToTheRetryTime(t *testing.T) {
	kept := wire.HolepunchPayload{Error: wire.ErrorTryLater, Firewall: wire.FirewallRandom, TakesRetryAfter: true}
	gone := wire.HolepunchPayload{Error: wire.ErrorTryLater, TakesRetryAfter: true}
	for _, test := range []struct {
		name    string
		refusal wire.HolepunchPayload
		told    uint64        // milliseconds
		rounds  int           // that come to a server that is busy
		want    time.Duration // the error says
	}{
		{"near, and the server keeps the attempt", kept, 1000, 6, time.Second},
		{"near, and the server does not keep the attempt", gone, 1000, 1, 2 * time.Second},
		{"at once", gone, 1, 1, 2 * time.Second},
		{"far", kept, 60_000, 1, time.Minute},
		{"the longest", gone, 120_000, 1, 2 * time.Minute},
		{"longer than the limit", gone, 120_001, 1, 0},
		{"nonsense", kept, 1 << 52, 1, 0},
		{"none", gone, 0, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), open())
			test.refusal.RetryAfter = test.told
			came := l.busyServer(1000, test.refusal)
			c := l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{netip.MustParseAddrPort("100.128.3.1:49737")}})
			var ended error
			c.OnClose(func(err error) { ended = err })
			l.run(40 * time.Second)
			busy, ok := errors.AsType[*hyperdht.BusyError](ended)
			if !ok || !errors.Is(ended, hyperdht.ErrRemoteBusy) || !errors.Is(ended, hyperdht.ErrRemoteAborted) || busy.RetryAfter != test.want {
				t.Errorf("ended with %#v, want that it is busy for %v", ended, test.want)
			}
			if len(*came) != test.rounds {
				t.Errorf("%d rounds in which it punches, want %d", len(*came), test.rounds)
			}
			for i := 1; i < len(*came); i++ {
				if waited, told := (*came)[i]-(*came)[i-1], time.Duration(test.told)*time.Millisecond; waited < told || waited > told+100*time.Millisecond {
					t.Errorf("asks again after %v, told %v", waited, told)
				}
			}
		})
	}
	t.Run("at once, and the server keeps the attempt", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, 4, cone(), open())
		refusal := kept
		refusal.RetryAfter = 1
		came := l.busyServer(1000, refusal)
		l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{netip.MustParseAddrPort("100.128.3.1:49737")}})
		l.run(40 * time.Second)
		if n := len(*came); n < 2 || n > 25 {
			t.Errorf("%d rounds in six seconds, want one in a quarter of a second", n)
		}
	})
	t.Run("until it is its turn", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, 4, cone(), open())
		refusal := kept
		refusal.RetryAfter = 2000
		came := l.busyServer(2, refusal)
		l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{netip.MustParseAddrPort("100.128.3.1:49737")}})
		l.run(5 * time.Second)
		if len(*came) != 3 || l.dialler.node.Status().Peering.PunchesRandom != 1 {
			t.Errorf("%d rounds, %d punches", len(*came), l.dialler.node.Status().Peering.PunchesRandom)
		}
	})
}

// Nothing waits for an attempt that is over: its place in the queue is given up, at the side that has refused it.
func TestEndedAttemptsGiveUpTheirPlaces(t *testing.T) {
	places := func(a *actor) int { return size(a.node, "waiting random punches") }
	t.Run("of a caller", func(t *testing.T) {
		t.Parallel()
		l, _ := busyLab(t, true)
		c := l.dial(hyperdht.ConnectOptions{})
		l.run(5 * time.Second)
		if n := places(l.answerer); n != 1 || !c.Opened() {
			t.Fatalf("open over the relay %v, %d places", c.Opened(), n)
		}
		l.dialler.host.Do(func() { c.Destroy(nil) })
		l.run(time.Second)
		if n := places(l.answerer); n != 0 {
			t.Errorf("%d places of a caller that has gone", n)
		}
	})
	t.Run("of a dial", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, 4, random(), cone())
		l.relay(hyperdht.RelayConfig{})
		l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
		l.apart()
		l.dialler.host.Do(func() {
			keys := keysOf(200)
			l.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{Keys: &keys})
		})
		l.run(time.Second)
		c := l.dial(hyperdht.ConnectOptions{})
		l.run(5 * time.Second)
		if n := places(l.dialler); n != 1 || !c.Opened() {
			t.Fatalf("open over the relay %v, %d places", c.Opened(), n)
		}
		l.dialler.host.Do(func() { c.Destroy(nil) })
		if n := places(l.dialler); n != 0 {
			t.Errorf("%d places of a dial that is over", n)
		}
	})
	t.Run("but not one that is to come again", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, 4, random(), cone())
		l.listen(hyperdht.ListenOptions{})
		l.apart()
		l.dialler.host.Do(func() {
			keys := keysOf(200)
			l.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{Keys: &keys})
		})
		l.run(time.Second)
		c := l.dial(hyperdht.ConnectOptions{})
		var ended error
		c.OnClose(func(err error) { ended = err })
		l.net.RunUntil(func() bool { return ended != nil }, 20*time.Second)
		if n := places(l.dialler); n != 1 || !errors.Is(ended, hyperdht.ErrPunchesElsewhere) {
			t.Errorf("%d places after %v", n, ended)
		}
	})
}
