package hyperdht

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
)

// A relay passes on the peer's first packets from the address of its own connection, maybe before its answer that it has paired us. They are
// let in, and do not make that address a direct way.
func TestPacketsOfARelayAreLetInBeforeItHasAnswered(t *testing.T) {
	h := simnet.New(simnet.Config{Seed: 1}).AddHost("h", netip.MustParseAddr("100.128.0.1"))
	p := &peering{host: h, account: &account{host: h}}
	p.pool = newPool(p)
	relay, stranger := netip.MustParseAddrPort("100.128.0.2:1"), netip.MustParseAddrPort("100.128.0.3:1")
	h.Do(func() {
		sock, err := h.OpenSocket(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		streams := stream.NewTable(h, stream.Config{})
		link := streams.New(nil)
		if err := link.Connect(sock, 1, relay); err != nil {
			t.Fatal(err)
		}
		c := &connector{p: p, conn: &Connection{p: p}, raw: streams.New(nil)}
		c.relayPath = &relayPath{p: p, link: &relayLink{p: p, conn: &Connection{p: p, carrier: carrier{raw: link}}}}
		c.begin(p.account, dialTable, dialStarting, c.passed)
		for _, state := range []dialState{dialStarting, dialFinding, dialSearching} {
			if state != dialStarting {
				c.become(state)
			}
			if !c.firewall(sock, relay) || c.early != nil || !c.in(state) {
				t.Errorf("%v: a packet of the relay is refused, or taken for one of the peer's address %v", state, c.early)
			}
		}
		if c.firewall(sock, stranger) {
			t.Error("a packet of a stranger that does not begin the stream is let in")
		}
	})
}

// A caller's first packet shows that it has the answer. What any host with the stream's id may send before it decides no path.
func TestPacketsBeforeTheFirstOfACallerAreNotLetIn(t *testing.T) {
	h := simnet.New(simnet.Config{Seed: 1}).AddHost("h", netip.MustParseAddr("100.128.0.1"))
	p := &peering{host: h, account: &account{host: h}}
	p.pool = newPool(p)
	h.Do(func() {
		sock, err := h.OpenSocket(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		ic := &incoming{s: &Server{p: p}, raw: stream.NewTable(h, stream.Config{}).New(nil)}
		if ic.firewall(sock, netip.MustParseAddrPort("100.128.0.3:1")) {
			t.Error("a packet that does not begin the stream is let in")
		}
	})
}

// Where the ways cannot be swapped, as those of a stream that has ended in this turn, the relay stays in reserve.
func TestFailedTakeOverChangesNothing(t *testing.T) {
	h := simnet.New(simnet.Config{Seed: 1}).AddHost("h", netip.MustParseAddr("100.128.0.1"))
	p := &peering{host: h, account: &account{host: h}}
	p.pool = newPool(p)
	rp := &relayPath{p: p}
	h.Do(func() {
		rp.raw = stream.NewTable(h, stream.Config{}).New(nil)
		rp.begin(p.account, relayTable, relayWarm, rp.passed)
		w := &secondWay{rp: rp, c: &Connection{p: p}}
		w.takeOver()
		if !rp.in(relayWarm) || w.keep != nil || p.stats.TakeOvers != 0 {
			t.Errorf("state %v, %d take-overs", rp.state, p.stats.TakeOvers)
		}
	})
}
