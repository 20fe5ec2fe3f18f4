package simnet_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

func TestSessionsEndWithoutRefresh(t *testing.T) {
	tests := []struct {
		name    string
		refresh simnet.Refresh
		speaks  func(h *home, public netip.AddrPort)
		lives   bool
	}{
		{"neither side", simnet.RefreshBoth, func(*home, netip.AddrPort) {}, false},
		{"outbound", simnet.RefreshOutbound, func(h *home, _ netip.AddrPort) { h.inside.send(h.atX1, "x") }, true},
		{"inbound", simnet.RefreshOutbound, func(h *home, public netip.AddrPort) { h.x1.send(public, "x") }, false},
		{"inbound where that counts", simnet.RefreshBoth, func(h *home, public netip.AddrPort) { h.x1.send(public, "x") }, true},
		{"inbound that is refused", simnet.RefreshBoth, func(h *home, public netip.AddrPort) { h.y1.send(public, "x") }, false},
		{"outbound to another", simnet.RefreshBoth, func(h *home, _ netip.AddrPort) { h.inside.send(h.atY1, "x") }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			nat := simnet.PortRestricted()
			nat.Lifetime, nat.Refresh = 10*time.Second, test.refresh
			h := newHome(nat)
			h.inside.send(h.atX1, "opens")
			public := h.x1.last()
			h.Run(6 * time.Second)
			test.speaks(h, public)
			h.Run(6 * time.Second)
			before := len(h.inside.got)
			h.x1.send(public, "late")
			if lives := len(h.inside.got) > before; lives != test.lives {
				t.Errorf("12 s after the session began, its end got in: %v", lives)
			}
		})
	}
	t.Run("a mapping lives as long as one of its sessions", func(t *testing.T) {
		nat := simnet.PortRestricted()
		nat.Lifetime, nat.Ports = 10*time.Second, simnet.NextPort
		h := newHome(nat)
		h.inside.send(h.atX1, "opens")
		h.Run(6 * time.Second)
		h.inside.send(h.atY1, "keeps")
		h.Run(6 * time.Second)
		if h.router.Sessions() != 1 || h.router.Mappings() != 1 {
			t.Errorf("%d sessions, %d mappings", h.router.Sessions(), h.router.Mappings())
		}
		h.inside.send(h.atX1, "comes back")
		if h.x1.from[0] != h.x1.last() {
			t.Errorf("seen as %v", h.x1.from)
		}
		h.Run(time.Minute)
		h.inside.send(h.atX1, "has a new mapping")
		if h.x1.from[0] == h.x1.last() || h.router.Mappings() != 1 {
			t.Errorf("seen as %v, %d mappings", h.x1.from, h.router.Mappings())
		}
	})
	t.Run("at its instant", func(t *testing.T) {
		for _, after := range []time.Duration{10*time.Second - 1, 10 * time.Second} {
			nat := simnet.FullCone()
			nat.Lifetime = 10 * time.Second
			h := newHome(nat)
			h.router.LAN().SetLink(simnet.Link{})
			h.Internet().SetLink(simnet.Link{})
			h.inside.send(h.atX1, "opens")
			h.Run(after - 100*time.Millisecond)
			h.x1.send(h.x1.last(), "late")
			if lives := len(h.inside.got) == 1; lives != (after < 10*time.Second) {
				t.Errorf("alive after %v: %v", after, lives)
			}
		}
	})
}

func TestFullTableRefusesOrForgets(t *testing.T) {
	run := func(full simnet.WhenFull) (*home, netip.AddrPort) {
		nat := simnet.PortRestricted()
		nat.Size, nat.Full = 2, full
		h := newHome(nat)
		h.inside.send(h.atX1, "first")
		public := h.x1.last()
		h.inside.send(h.atX2, "second")
		h.inside.send(h.atX1, "first again, so that the second is the oldest")
		h.inside.send(h.atY1, "third")
		if h.router.Sessions() != 2 {
			t.Errorf("%d sessions in a table for 2", h.router.Sessions())
		}
		return h, public
	}
	h, public := run(simnet.RefuseNew)
	if len(h.y1.got) != 0 {
		t.Error("a full table took a third session")
	}
	h.dropped(t, simnet.DropTableFull, 1)
	h.x2.send(public, "still in")
	if len(h.inside.got) != 1 {
		t.Error("a full table lost its second session")
	}

	h, public = run(simnet.EvictOldest)
	h.x1.send(public, "in")
	h.y1.send(public, "in")
	h.x2.send(public, "evicted")
	if !slices.Equal(h.inside.got, []string{"in", "in"}) || len(h.y1.got) != 1 {
		t.Errorf("laptop got %q, Y got %q", h.inside.got, h.y1.got)
	}
}

func TestPortsRunOut(t *testing.T) {
	nat := simnet.Symmetric()
	nat.FirstPort, nat.LastPort = 7000, 7001
	h := newHome(nat)
	h.inside.send(h.atX1, "x")
	h.inside.send(h.atX2, "x")
	h.inside.send(h.atY1, "x")
	h.dropped(t, simnet.DropNoPort, 1)
	h.Run(5 * time.Minute)
	h.inside.send(h.atY1, "x")
	if len(h.y1.got) != 1 {
		t.Error("no port although the old mappings have expired")
	}
}

func TestRebootForgetsTheTable(t *testing.T) {
	publicPort := func(h *home) uint16 {
		h.inside.send(h.atX1, "x")
		return h.x1.last().Port()
	}
	reboot := func(how simnet.Reboot) (before, after uint16) {
		h := newHome(simnet.Symmetric())
		before = publicPort(h)
		public := h.x1.last()
		h.router.Reboot(how)
		if h.router.Sessions() != 0 || h.router.Mappings() != 0 {
			t.Error("sessions outlived the reboot")
		}
		h.x1.send(public, "lost")
		if len(h.inside.got) != 0 {
			t.Error("a forgotten session let something in")
		}
		return before, publicPort(h)
	}
	if before, after := reboot(simnet.Reboot{SamePorts: true}); before != after {
		t.Errorf("port %d before and %d after, want the same", before, after)
	}
	if before, after := reboot(simnet.Reboot{}); before == after || after == before+1 {
		t.Errorf("port %d before and %d after, want a new beginning", before, after)
	}

	h := newHome(simnet.Symmetric())
	before := publicPort(h)
	h.router.Flush()
	if after := publicPort(h); after != before+1 {
		t.Errorf("port %d before the flush and %d after, want the next one", before, after)
	}

	h = newHome(simnet.Symmetric())
	h.router.Reboot(simnet.Reboot{DownFor: time.Second})
	h.inside.send(h.atX1, "lost")
	h.dropped(t, simnet.DropDown, 1)
	h.Run(time.Second)
	publicPort(h)
	h.dropped(t, simnet.DropDown, 1)
}

func TestPublicAddressChangesInMidFlow(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	h := newHome(simnet.PortRestricted())
	h.inside.send(h.atX1, "before")
	h.x1.Send(h.x1.last(), 0, []byte("on its way"))
	h.router.SetAddr(moved)
	h.Run(time.Second)
	h.x1.send(at(homeIP, 5000), "to the old address")
	h.dropped(t, simnet.DropNoRoute, 2)
	h.x1.send(at(moved, 5000), "to the new address")
	h.inside.send(h.atX1, "after")
	if h.x1.last() != at(moved, 5000) || !slices.Equal(h.inside.got, []string{"to the new address"}) {
		t.Errorf("seen as %v; laptop got %q", h.x1.from, h.inside.got)
	}
}

func TestRouterThatForgetsEndsSessionsWithItsAddress(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	nat := simnet.PortRestricted()
	nat.ForgetOnMove = true
	h := newHome(nat)
	h.inside.send(h.atX1, "before")
	h.router.SetAddr(moved)
	h.x1.send(at(moved, 5000), "to the new address")
	h.dropped(t, simnet.DropUnmapped, 1)
	h.inside.send(h.atX1, "after")
	h.x1.send(at(moved, 5000), "answer")
	if h.x1.last() != at(moved, 5000) || !slices.Equal(h.inside.got, []string{"answer"}) {
		t.Errorf("seen as %v; laptop got %q", h.x1.from, h.inside.got)
	}
}

// Both a NAT and a firewall, as they keep sessions in different ways.
func trackers() map[string]simnet.NAT {
	return map[string]simnet.NAT{"NAT": simnet.PortRestricted(), "firewall": {Filtering: simnet.AddressAndPortDependent}}
}

func TestUnansweredSessionsEndSooner(t *testing.T) {
	const in, out = true, false // what x1 sends comes in, what the laptop sends leaves
	type step struct {
		at      time.Duration
		inbound bool
	}
	tests := []struct {
		name    string
		refresh simnet.Refresh
		steps   []step // the first one opens
		lives   time.Duration
	}{
		{"unanswered", simnet.RefreshBoth, []step{{0, out}}, 3 * time.Second},
		{"unanswered and refreshed", simnet.RefreshBoth, []step{{0, out}, {2 * time.Second, out}}, 5 * time.Second},
		{"the answer itself is an answer to nothing", simnet.RefreshBoth, []step{{0, out}, {2 * time.Second, in}}, 5 * time.Second},
		{"answered", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {2 * time.Second, out}}, 12 * time.Second},
		{"answered twice", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {2 * time.Second, in}}, 12 * time.Second},
		{"answered, but young", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {time.Second, out}}, 4 * time.Second},
		{"answered and young, then old", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {time.Second, out}, {1100 * ms, out}}, 11100 * ms},
		{"answered where that does not refresh", simnet.RefreshOutbound, []step{{0, out}, {2 * time.Second, in}}, 3 * time.Second},
		{"answered and then refreshed", simnet.RefreshOutbound, []step{{0, out}, {1 * time.Second, in}, {2 * time.Second, out}}, 12 * time.Second},
	}
	for kind, nat := range trackers() {
		for _, test := range tests {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				nat.Lifetime, nat.Unanswered, nat.Young, nat.Refresh = 10*time.Second, 3*time.Second, time.Second, test.refresh
				h := newHome(nat)
				h.router.LAN().SetLink(simnet.Link{})
				h.Internet().SetLink(simnet.Link{})
				for _, s := range test.steps {
					h.Run(s.at - h.Now())
					if s.inbound {
						h.x1.Send(h.x1.last(), 0, []byte("x"))
					} else {
						h.inside.Send(h.atX1, 0, []byte("x"))
					}
					h.Run(0)
				}
				h.Run(test.lives - 1 - h.Now())
				if h.router.Sessions() != 1 {
					t.Errorf("%d sessions just before %v", h.router.Sessions(), test.lives)
				}
				h.Run(1)
				if h.router.Sessions() != 0 {
					t.Errorf("%d sessions after %v", h.router.Sessions(), test.lives)
				}
			})
		}
	}
}

func TestSessionsLiveAsLongAsTheRouterSays(t *testing.T) {
	tests := []struct {
		name  string
		nat   simnet.NAT
		lives time.Duration
	}{
		{"NAT", simnet.NAT{Mapping: simnet.EndpointIndependent, Filtering: simnet.AddressDependent, Lifetime: 10 * time.Second}, 10 * time.Second},
		{"firewall", simnet.NAT{Filtering: simnet.AddressDependent, Lifetime: 10 * time.Second}, 10 * time.Second},
		{"NAT that does not say", simnet.PortRestricted(), 2 * time.Minute},
		{"firewall that does not say", simnet.NAT{Filtering: simnet.AddressDependent}, 2 * time.Minute},
		{"Linux", simnet.Masquerade(), 30 * time.Second},
		{"Linux, random", simnet.MasqueradeRandom(), 30 * time.Second},
		{"Linux as a firewall", simnet.FirewallOnly(), 30 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHome(test.nat)
			h.router.LAN().SetLink(simnet.Link{})
			h.inside.Send(h.atX1, 0, []byte("x"))
			h.Run(test.lives - 1)
			before := h.router.Sessions()
			h.Run(1)
			if before != 1 || h.router.Sessions() != 0 {
				t.Errorf("%d sessions just before %v, %d after", before, test.lives, h.router.Sessions())
			}
		})
	}
}

func TestTableHoldsWhatItShould(t *testing.T) {
	for kind, nat := range trackers() {
		for _, size := range []int{3, 0} {
			nat.Size = size
			room := size
			if size == 0 {
				room = 65536
			}
			t.Run(fmt.Sprint(kind, " for ", room), func(t *testing.T) {
				h := newHome(nat)
				for i := range room + 2 {
					h.inside.Send(at(netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 16)}), uint16(i)), 0, nil)
				}
				h.Run(time.Second)
				if h.router.Sessions() != room || h.Stats().Dropped(simnet.DropTableFull) != 2 {
					t.Errorf("%d sessions, %d refused", h.router.Sessions(), h.Stats().Dropped(simnet.DropTableFull))
				}
			})
		}
	}
}

func TestFullTableForgetsUnansweredSessionsFirst(t *testing.T) {
	nat := simnet.PortRestricted()
	nat.Size, nat.Full, nat.Unanswered, nat.Refresh = 2, simnet.EvictOldest, time.Minute, simnet.RefreshBoth
	h := newHome(nat)
	h.router.LAN().SetLink(simnet.Link{})
	h.Internet().SetLink(simnet.Link{})
	h.inside.send(h.atX1, "first")
	public := h.x1.last()
	h.x1.send(public, "answers")
	h.x1.Send(public, 0, []byte("again, at one instant with the second session"))
	h.inside.send(h.atX2, "second")
	h.inside.send(h.atY1, "third")
	h.x1.send(public, "kept")
	h.x2.send(public, "evicted")
	if got := h.inside.got; len(got) != 3 || got[2] != "kept" {
		t.Errorf("laptop got %q", got)
	}
	h.y1.send(public, "kept, and refreshed after the first, which was answered")
	h.inside.send(h.atX2, "fourth")
	h.y1.send(public, "kept")
	h.x1.send(public, "evicted")
	if got := h.inside.got; len(got) != 5 || got[4] != "kept" {
		t.Errorf("laptop got %q", got)
	}
}

// The properties of the presets beyond their mapping and filter.
func TestPresetsThatAreLinuxForgetAndRefreshAsItDoes(t *testing.T) {
	for name, nat := range map[string]simnet.NAT{
		"masquerade": simnet.Masquerade(), "random": simnet.MasqueradeRandom(), "firewall": simnet.FirewallOnly(),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(nat)
			h.inside.send(h.atX1, "opens")
			public := h.x1.last()
			h.x1.send(public, "answer")
			h.Run(3 * time.Second)
			h.x1.send(public, "refreshes")
			h.Run(2*time.Minute - time.Second)
			if h.router.Sessions() != 1 {
				t.Error("what comes in does not make sessions last")
			}
			if nat.Mapping == simnet.Never {
				return
			}
			h.router.SetAddr(homeIP.Next())
			if h.router.Sessions() != 0 {
				t.Error("sessions outlive the address")
			}
		})
	}
}
