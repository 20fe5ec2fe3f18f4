package simnet_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// twoHomes is a net of two hosts that meet through their NATs, one of which lies in another, and one on the internet.
type twoHomes struct {
	*simnet.Net
	left, carrier, right *simnet.Router
	leftHost, rightHost  *simnet.Host
	neighbour, outside   *simnet.Host
	a, b, c, x           *plug
}

func newTwoHomes() *twoHomes {
	nat := simnet.PortRestricted()
	nat.Lifetime, nat.Refresh = 10*time.Second, simnet.RefreshBoth
	w := &twoHomes{Net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: ms}})}
	w.left = w.AddRouter("left", nat, addr(1))
	w.carrier = w.AddRouter("carrier", nat, addr(2))
	w.right = w.carrier.LAN().AddRouter("right", nat, netip.MustParseAddr("100.64.0.2"))
	w.leftHost, w.rightHost = w.left.AddHost("a", laptop), w.right.AddHost("b", laptop)
	w.neighbour, w.outside = w.right.AddHost("c", tablet), w.AddHost("x", serverX.Next().Next())
	w.a, w.b = open(w.Net, w.leftHost, 5000), open(w.Net, w.rightHost, 6000)
	w.c, w.x = open(w.Net, w.neighbour, 7000), open(w.Net, w.outside, 1)
	w.a.send(at(addr(2), 6000), "opens")
	w.b.send(at(addr(1), 5000), "opens")
	w.c.send(at(addr(1), 5000), "opens")
	return w
}

func TestBlockedDatagramsAreNotSeenByTheReceiversRouters(t *testing.T) {
	w := newTwoHomes()
	w.a.send(at(addr(2), 6000), "passes")
	if len(w.b.got) != 1 {
		t.Fatalf("b got %q before the cut", w.b.got)
	}
	w.Block(w.leftHost, w.rightHost)
	w.a.send(at(addr(2), 7000), "for the neighbour")
	if len(w.c.got) != 1 {
		t.Error("the neighbour was cut off, too")
	}
	for range 4 {
		w.Run(4 * time.Second)
		before := w.Stats().Dropped(simnet.DropBlocked)
		w.a.send(at(addr(2), 6000), "blocked")
		if got := w.Stats().Dropped(simnet.DropBlocked) - before; got > 1 || w.carrier.Sessions() > 0 && got == 0 {
			t.Errorf("%d datagrams blocked of one", got)
		}
	}
	if len(w.b.got) != 1 || w.left.Sessions() == 0 {
		t.Errorf("b got %q; a's own router has %d sessions", w.b.got, w.left.Sessions())
	}
	if w.carrier.Sessions() != 0 || w.right.Sessions() != 0 {
		t.Errorf("what was blocked kept %d sessions at the carrier alive and %d at home", w.carrier.Sessions(), w.right.Sessions())
	}
}

func TestBlockIsOneWayThroughRoutersAndHolds(t *testing.T) {
	w := newTwoHomes()
	w.Partition([]*simnet.Host{w.leftHost}, []*simnet.Host{w.rightHost})
	w.Unblock(w.rightHost, w.leftHost)
	w.a.send(at(addr(2), 6000), "blocked")
	before := len(w.a.got)
	w.b.send(at(addr(1), 5000), "passes")
	if len(w.b.got) != 0 || len(w.a.got) != before+1 {
		t.Errorf("a got %q, b got %q", w.a.got, w.b.got)
	}
	// The address is free when the datagram comes to the carrier, and taken when it arrives.
	w.Block(w.outside, w.rightHost)
	w.x.Send(at(addr(2), 6000), 0, []byte("blocked"))
	w.b.send(at(w.outside.Addr(), 1), "opens meanwhile")
	if len(w.b.got) != 0 {
		t.Errorf("b got %q", w.b.got)
	}
	// Behind one router there is no internet between them; the block holds nevertheless.
	w.Block(w.neighbour, w.rightHost)
	w.c.send(at(laptop, 6000), "blocked")
	if len(w.b.got) != 0 {
		t.Errorf("b got %q", w.b.got)
	}
	w.Heal()
	w.c.send(at(laptop, 6000), "passes")
	w.a.send(at(addr(2), 6000), "passes")
	if len(w.b.got) != 2 {
		t.Errorf("b got %q after healing", w.b.got)
	}
}

func TestLonelyVictimIsCutOffFromTheRest(t *testing.T) {
	for seed := range uint64(10) {
		net, a, b := pair(1, simnet.Link{})
		net.Inject(simnet.Faults{Seed: seed, Partitions: simnet.Spell{Every: time.Millisecond, For: time.Hour}},
			simnet.Victims{Hosts: []*simnet.Host{a.Host}})
		net.Run(time.Second)
		b.send(a, "x")
		net.Run(time.Second)
		if len(a.got) != 0 {
			t.Errorf("seed %d: the only victim of a partition still gets everything", seed)
		}
	}
}

// A group is cut off as one, from the rest of the victims and not in itself.
func TestPartitionOfAGroup(t *testing.T) {
	ways := map[string]int{}
	for seed := range uint64(20) {
		net := simnet.New(simnet.Config{Seed: 1})
		a, b, c, d := newEnd(net, 1), newEnd(net, 2), newEnd(net, 3), newEnd(net, 4)
		net.Inject(simnet.Faults{Seed: seed, Partitions: simnet.Spell{Every: time.Millisecond, For: time.Hour, At: "left"}},
			simnet.Victims{
				Hosts:  []*simnet.Host{a.Host, b.Host, c.Host, d.Host},
				Groups: []simnet.Group{{Name: "right", Hosts: []*simnet.Host{c.Host, d.Host}}, {Name: "left", Hosts: []*simnet.Host{a.Host, b.Host}}},
			})
		net.Run(time.Second)
		for _, way := range []struct{ from, to *end }{{a, b}, {b, a}, {c, d}, {d, c}, {a, c}, {d, b}} {
			way.from.send(way.to, "x")
			net.Run(time.Second)
		}
		switch {
		case len(a.got) != 1 || len(d.got) != 1:
			t.Errorf("seed %d: members of one side heard each other %d and %d times", seed, len(a.got), len(d.got))
		case len(b.got) == 1 && len(c.got) == 1:
			ways["both"]++
		case len(b.got) == 2 && len(c.got) == 1:
			ways["out"]++
		case len(b.got) == 1 && len(c.got) == 2:
			ways["in"]++
		default:
			t.Errorf("seed %d: not cut off", seed)
		}
	}
	if len(ways) != 3 {
		t.Errorf("cut off in these ways: %v", ways)
	}
}

func TestBlockLooksForWhoWouldGetIt(t *testing.T) {
	// Expired sessions that were not swept yet have no receiver.
	w := newTwoHomes()
	w.Block(w.leftHost, w.rightHost)
	w.Run(time.Minute)
	w.a.send(at(addr(2), 6000), "for nobody")
	if s := w.Stats(); s.Dropped(simnet.DropBlocked) != 0 {
		t.Errorf("%d datagrams to an address without a machine were blocked", s.Dropped(simnet.DropBlocked))
	}
	// Neighbours that meet at their public addresses meet inside their router, which has seen the datagram by then.
	nat := simnet.FullCone()
	nat.Hairpin = true
	h := newHome(nat)
	tabletHost := h.router.AddHost("tablet", tablet)
	open(h.Net, tabletHost, 6000).send(h.atX1, "opens")
	h.Block(h.laptop, tabletHost)
	h.inside.send(at(homeIP, 6000), "blocked")
	h.dropped(t, simnet.DropBlocked, 1)
	if h.router.Sessions() != 2 {
		t.Errorf("the router has %d sessions", h.router.Sessions())
	}
}

// A partition lies on the internet: hosts behind one router stay together.
func TestPartitionLiesOnTheInternet(t *testing.T) {
	heard := map[string]int{}
	for seed := range uint64(20) {
		w := newTwoHomes()
		outbreak := w.Inject(simnet.Faults{Seed: seed, Partitions: simnet.Spell{Every: time.Millisecond, For: time.Hour}},
			simnet.Victims{Hosts: []*simnet.Host{w.leftHost, w.rightHost, w.neighbour}})
		w.Run(time.Second)
		w.b.send(at(tablet, 7000), "neighbours")
		if len(w.c.got) != 1 {
			t.Fatalf("seed %d: neighbours are cut off from each other", seed)
		}
		before, answers := len(w.b.got), len(w.a.got)
		w.b.send(at(addr(1), 5000), "x")
		for range 4 {
			w.Run(4 * time.Second)
			w.a.send(at(addr(2), 6000), "x")
		}
		a, b := len(w.a.got) > answers, len(w.b.got) > before
		if b == (w.carrier.Sessions() == 0) {
			t.Errorf("seed %d: b heard something: %v, and the carrier has %d sessions", seed, b, w.carrier.Sessions())
		}
		heard[fmt.Sprint(a, b)]++
		outbreak.Heal()
	}
	if len(heard) != 3 || heard["true true"] != 0 {
		t.Errorf("a and b heard each other: %v", heard)
	}
}

// Half of all partitions cut one direction only.
func TestPartitionsAreOneWayOrBothWays(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(40) {
		net, a, b := pair(1, simnet.Link{})
		net.Inject(simnet.Faults{Seed: seed, Partitions: simnet.Spell{Every: time.Millisecond, For: time.Hour}},
			simnet.Victims{Hosts: []*simnet.Host{a.Host, b.Host}})
		net.Run(time.Second)
		a.send(b, "x")
		b.send(a, "x")
		net.Run(time.Second)
		switch len(a.got) + len(b.got) {
		case 0:
			kinds["both ways"]++
		case 1:
			kinds["one way"]++
		}
	}
	if kinds["both ways"] < 10 || kinds["one way"] < 10 || kinds["both ways"]+kinds["one way"] != 40 {
		t.Errorf("two hosts were cut off from each other: %v", kinds)
	}
}
