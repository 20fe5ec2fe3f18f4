package simnet_test

import (
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

func TestSleeperMissesDatagramsAndCatchesUpOnTimers(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	var fired []string
	note := func(what string) func() {
		return func() { fired = append(fired, fmt.Sprint(what, " at ", net.Now(), b.Now())) }
	}
	b.AfterFunc(30*time.Second, note("second"))
	b.AfterFunc(20*time.Second, note("first"))
	stopped := b.AfterFunc(25*time.Second, note("stopped"))
	moved := b.AfterFunc(25*time.Second, note("moved"))
	b.AfterFunc(90*time.Second, note("on time"))
	net.Run(10 * time.Second)
	b.Sleep()
	b.Sleep()
	a.send(b, "lost")
	net.Run(50 * time.Second)
	if len(fired) != 0 || len(b.got) != 0 || !b.Asleep() || b.Timers() != 5 {
		t.Fatalf("fired %v and got %q in its sleep; %d timers", fired, b.got, b.Timers())
	}
	if !stopped.Stop() || stopped.Stop() {
		t.Error("a timer that fell due in the sleep was not pending, or twice")
	}
	moved.Reset(40 * time.Second)
	b.Wake()
	net.Run(0)
	want := []string{"first at 1m0s 1m1s", "second at 1m0s 1m1s"}
	if !slices.Equal(fired, want) {
		t.Errorf("on waking fired %q, want %q", fired, want)
	}
	a.send(b, "awake")
	net.Run(time.Hour)
	want = append(want, "on time at 1m30s 1m31s", "moved at 1m40s 1m41s")
	if !slices.Equal(fired, want) || !slices.Equal(b.got, []string{"awake"}) {
		t.Errorf("fired %q, want %q; got %q", fired, want, b.got)
	}
	if net.Stats().Dropped(simnet.DropAsleep) != 1 || b.Timers() != 0 || net.Pending() != 0 {
		t.Errorf("%d dropped asleep, %d timers, %d pending", net.Stats().Dropped(simnet.DropAsleep), b.Timers(), net.Pending())
	}
}

func TestSleeperThatCrashesBootsAwake(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	b.AfterFunc(time.Second, func() { t.Error("a timer survived") })
	b.Sleep()
	net.Run(time.Minute)
	b.Crash()
	b.Wake()
	again := listen(net, b.Restart())
	a.send(again, "hello")
	net.Run(time.Minute)
	if again.Asleep() || len(again.got) != 1 || net.Pending() != 0 {
		t.Errorf("asleep: %v, got %q, %d pending", again.Asleep(), again.got, net.Pending())
	}
}

func TestSlowMachineTakesOneTurnAtATime(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	b.SetTurnCost(10 * ms)
	var times []time.Duration
	b.AfterFunc(15*ms, func() { times = append(times, net.Now()) })
	for range 5 {
		a.send(b, "x")
	}
	net.Run(time.Second)
	if want := []time.Duration{0, 10 * ms, 20 * ms, 30 * ms, 40 * ms}; !slices.Equal(b.times, want) {
		t.Errorf("datagrams at %v, want %v", b.times, want)
	}
	if !slices.Equal(times, []time.Duration{50 * ms}) {
		t.Errorf("the timer of 15 ms fired at %v, want its place behind the datagrams", times)
	}
	a.send(b, "x")
	net.Run(time.Second)
	if b.times[5] != time.Second {
		t.Errorf("an idle machine took its time until %v", b.times[5])
	}
	b.SetTurnCost(0)
	a.send(b, "x")
	a.send(b, "x")
	net.Run(time.Second)
	if b.times[6] != b.times[7] {
		t.Error("still slow")
	}
}

func TestSlowMachineDropsWhatItCannotHold(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	b.SetTurnCost(time.Second)
	for range 300 {
		a.send(b, strings.Repeat("x", 1024-28))
	}
	net.Run(time.Hour)
	if len(b.got) != 209 || net.Stats().Dropped(simnet.DropBacklog) != 91 {
		t.Errorf("%d arrived, want one and 208 KiB; %d dropped", len(b.got), net.Stats().Dropped(simnet.DropBacklog))
	}
	for range 3 {
		a.send(b, "x")
	}
	net.Run(100 * ms)
	b.Crash()
	if net.Stats().Dropped(simnet.DropDown) != 2 {
		t.Errorf("%d waiting datagrams dropped by the crash", net.Stats().Dropped(simnet.DropDown))
	}
	if quick := b.Restart(); net.Pending() != 0 || quick.Timers() != 0 {
		t.Error("something waits in the new boot")
	}
}

func TestSteadyClocksDriftAndTimersWithThem(t *testing.T) {
	net, a, b := pair(1, simnet.Link{})
	a.SetDrift(0.25)
	b.SetDrift(-0.5)
	start := map[*end]host.Instant{a: a.Now(), b: b.Now()}
	var fired []time.Duration
	for _, e := range []*end{a, b} {
		e.AfterFunc(10*time.Second, func() {
			if e.Now().Sub(start[e]) < 10*time.Second {
				t.Error("a timer fired early")
			}
			fired = append(fired, net.Now())
		})
	}
	net.Run(time.Minute)
	if !slices.Equal(fired, []time.Duration{8 * time.Second, 20 * time.Second}) {
		t.Errorf("timers of 10 s fired at %v", fired)
	}
	if a.Now().Sub(start[a]) != 75*time.Second || b.Now().Sub(start[b]) != 30*time.Second {
		t.Errorf("clocks moved on by %v and %v", a.Now().Sub(start[a]), b.Now().Sub(start[b]))
	}

	// A change moves the timers that are armed.
	fired = nil
	set := a.Now()
	for range 3 {
		a.AfterFunc(75*time.Second, func() {
			if a.Now().Sub(set) < 75*time.Second {
				t.Error("a timer fired early")
			}
			fired = append(fired, net.Now().Round(time.Microsecond))
		})
	}
	net.Run(20 * time.Second) // 25 of the 75 s
	a.SetDrift(-0.5)
	net.Run(100*time.Second - ms)
	if len(fired) != 0 {
		t.Errorf("fired at %v", fired)
	}
	net.Run(2 * ms)
	if want := 180 * time.Second; !slices.Equal(fired, []time.Duration{want, want, want}) {
		t.Errorf("fired at %v, want %v", fired, want)
	}
	if a.Clock().Now() != net.Clock().Now() {
		t.Error("the wall clock drifts with the steady one")
	}
	if again := a.Restart(); again.AfterFunc(time.Second, func() { fired = append(fired, net.Now()) }) != nil {
		before := net.Now()
		net.Run(time.Minute)
		if took := fired[3] - before; took != 2*time.Second {
			t.Errorf("after a restart a second took %v", took)
		}
	}
}

// Two timers due at one instant of the host fire in the order of arming, however its clock runs.
func TestTimersOfADriftingHostKeepTheirOrder(t *testing.T) {
	net, a, _ := pair(1, simnet.Link{})
	a.SetDrift(0.0001234567)
	var fired, want []int
	end := a.Now().Add(time.Hour)
	for i := range 1000 {
		want = append(want, i)
		a.AfterFunc(end.Sub(a.Now()), func() { fired = append(fired, i) })
		net.Run(time.Duration(i*i) * time.Nanosecond)
	}
	net.Run(2 * time.Hour)
	if !slices.Equal(fired, want) {
		t.Error("timers of one instant fired out of order")
	}
}

func TestHostHasSeveralAddresses(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	first, second := addr(1), addr(2)
	h := net.AddHost("two", first, second)
	a := newEnd(net, 3)
	one, err := h.OpenSocket(netip.AddrPortFrom(first, port))
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.OpenSocket(netip.AddrPortFrom(second, port))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	one.OnReceive(func(netip.AddrPort, []byte) { got = append(got, "one") })
	two.OnReceive(func(from netip.AddrPort, b []byte) {
		got = append(got, "two")
		two.Send(from, 0, b)
	})
	var from []netip.AddrPort
	a.OnReceive(func(f netip.AddrPort, _ []byte) { from = append(from, f) })
	a.Socket.Send(netip.AddrPortFrom(second, port), 0, nil)
	a.Socket.Send(netip.AddrPortFrom(first, port), 0, nil)
	net.Run(time.Second)
	if !slices.Equal(got, []string{"two", "one"}) || !slices.Equal(from, []netip.AddrPort{netip.AddrPortFrom(second, port)}) {
		t.Errorf("received by %v, answered by %v", got, from)
	}
	if !slices.Equal(h.Addrs(), []netip.Addr{first, second}) {
		t.Errorf("Addrs is %v", h.Addrs())
	}
	h.SetAddrs(second, addr(9))
	a.Socket.Send(netip.AddrPortFrom(second, port), 0, nil)
	a.Socket.Send(netip.AddrPortFrom(first, port), 0, nil)
	net.Run(time.Second)
	if len(got) != 3 || got[2] != "two" {
		t.Errorf("after an address went, received by %v", got)
	}
}

func TestSocketsOpenOnOwnAddressesOnly(t *testing.T) {
	n := simnet.New(simnet.Config{Seed: 1})
	h := n.AddHost("a", netip.MustParseAddr("10.0.0.1"))
	h.Do(func() {
		if s, err := h.OpenSocket(netip.MustParseAddrPort("10.0.0.2:1")); s != nil || !errors.Is(err, simnet.ErrAddrNotHere) {
			t.Errorf("on an address of another machine: %v, %v", s, err)
		}
		if s, err := h.OpenSocket(netip.MustParseAddrPort("10.0.0.1:1")); s == nil || err != nil {
			t.Errorf("on the own address: %v, %v", s, err)
		}
	})
}

func TestWhatIsOnItsWayToAnAddressThatMovedIsLost(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: time.Second}})
	a, b := newEnd(net, 1), newEnd(net, 2)
	got := 0
	b.OnReceive(func(netip.AddrPort, []byte) { got++ })
	a.Socket.Send(netip.AddrPortFrom(addr(2), port), 0, nil)
	b.SetAddrs(addr(9))
	net.Run(2 * time.Second)
	if got != 0 {
		t.Error("a machine gets what was sent to the address that it had")
	}
	a.Socket.Send(netip.AddrPortFrom(addr(9), port), 0, nil)
	net.Run(2 * time.Second)
	if got != 1 {
		t.Errorf("%d datagrams at the new address", got)
	}
}
