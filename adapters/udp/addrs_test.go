package udp

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/ports/host"
)

// TestAddrsAreListedOncePerLifetime also tests that a change of the network appears after it.
func TestAddrsAreListedOncePerLifetime(t *testing.T) {
	home, cafe := []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []netip.Addr{netip.MustParseAddr("192.0.2.2")}
	system, lists := home, 0
	a := addrs{list: func() []netip.Addr { lists++; return system }}
	want := func(now host.Instant, want []netip.Addr, times int) {
		t.Helper()
		got := a.of(now)
		if !slices.Equal(got, want) || lists != times {
			t.Errorf("at %v: %v, listed %d times; want %v, %d times", now, got, lists, want, times)
		}
		if len(got) > 0 {
			got[0] = netip.Addr{} // it is the caller's
		}
	}
	start := host.Instant(1)
	want(start, home, 1)
	want(start.Add(addrsLifetime), home, 1)
	system = cafe
	want(start.Add(addrsLifetime), home, 1)
	want(start.Add(addrsLifetime+1), cafe, 2)
	system = nil
	want(start.Add(3*addrsLifetime), nil, 3)
	want(start.Add(3*addrsLifetime+1), nil, 3)
}
