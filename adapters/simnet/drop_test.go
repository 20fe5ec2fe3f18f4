package simnet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// The smallest case of every reason to drop a datagram.
func TestEveryDropHasItsStory(t *testing.T) {
	overLink := func(l simnet.Link) func() *simnet.Net {
		return func() *simnet.Net {
			net, a, b := pair(1, l)
			for range 3 {
				a.send(b, "x")
			}
			return net
		}
	}
	between := func(change func(net *simnet.Net, a, b *end)) func() *simnet.Net {
		return func() *simnet.Net {
			net, a, b := pair(1, simnet.Link{})
			change(net, a, b)
			a.send(b, "x")
			return net
		}
	}
	atHome := func(nat simnet.NAT, story func(h *home)) func() *simnet.Net {
		return func() *simnet.Net {
			h := newHome(nat)
			story(h)
			return h.Net
		}
	}
	small, narrow := simnet.PortRestricted(), simnet.Symmetric()
	small.Size, narrow.FirstPort, narrow.LastPort = 1, 7000, 7000
	two := func(h *home) { h.inside.send(h.atX1, "x"); h.inside.send(h.atY1, "x") }
	stories := map[simnet.Drop]func() *simnet.Net{
		simnet.DropBlocked:  between(func(net *simnet.Net, a, b *end) { net.Block(a.Host, b.Host) }),
		simnet.DropFiltered: between(func(net *simnet.Net, _, _ *end) { net.SetFilter(func(simnet.Datagram) bool { return false }) }),
		simnet.DropNoRoute:  between(func(_ *simnet.Net, a, _ *end) { a.Socket.Send(at(addr(99), 1), 0, nil) }),
		simnet.DropTTL:      between(func(_ *simnet.Net, a, b *end) { a.sendTTL(b, 5, "x") }),
		simnet.DropMTU:      overLink(simnet.Link{MTU: 28}),
		simnet.DropLoss:     overLink(simnet.Link{Loss: 1}),
		simnet.DropBurst:    overLink(simnet.Link{Burst: 1}),
		simnet.DropQueue:    overLink(simnet.Link{Bandwidth: 1, Queue: 1}),
		simnet.DropDown:     between(func(_ *simnet.Net, _, b *end) { b.Crash() }),
		simnet.DropPort:     between(func(_ *simnet.Net, _, b *end) { b.Socket.Close() }),
		simnet.DropUnread:   between(func(_ *simnet.Net, _, b *end) { b.OnReceive(nil) }),
		simnet.DropUnmapped: atHome(simnet.FullCone(), func(h *home) { h.x1.send(at(homeIP, 5000), "x") }),
		simnet.DropRefused: atHome(simnet.PortRestricted(), func(h *home) {
			h.inside.send(h.atX1, "x")
			h.y1.send(at(homeIP, 5000), "x")
		}),
		simnet.DropHairpin:   atHome(simnet.FullCone(), func(h *home) { h.inside.send(at(homeIP, 5000), "x") }),
		simnet.DropTableFull: atHome(small, two),
		simnet.DropNoPort:    atHome(narrow, two),
		simnet.DropUDP:       atHome(simnet.UDPBlocked(), func(h *home) { h.inside.send(h.atX1, "x") }),
		simnet.DropAsleep:    between(func(_ *simnet.Net, _, b *end) { b.Sleep() }),
		simnet.DropBacklog: between(func(net *simnet.Net, a, b *end) {
			b.SetTurnCost(time.Hour)
			for range 200 {
				a.Socket.Send(netip.AddrPortFrom(b.Host.Addr(), port), 0, make([]byte, 1400))
			}
		}),
	}
	for _, why := range simnet.Drops() {
		t.Run(why.String(), func(t *testing.T) {
			if why.String() == "" || stories[why] == nil {
				t.Fatal("it has no name or no story")
			}
			net := stories[why]()
			net.Run(time.Second)
			if s := net.Stats(); s.Dropped(why) == 0 || s.Dropped(0) != s.Dropped(why) {
				t.Errorf("%d dropped for it, %d in all", s.Dropped(why), s.Dropped(0))
			}
		})
	}
	if len(stories) != len(simnet.Drops()) {
		t.Errorf("%d stories for %d reasons", len(stories), len(simnet.Drops()))
	}
}
