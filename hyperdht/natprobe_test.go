package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// fakeProbe is an address probe that says what a test says, once, after a while; never for a zero after.
type fakeProbe struct {
	h        host.Host
	after    time.Duration
	seen     func(s host.Socket) []hyperdht.NATSample
	asked    int
	canceled int
}

func (p *fakeProbe) Bind(host.Socket, host.Socket) {}

func (p *fakeProbe) Receive(host.Socket, netip.AddrPort, []byte) bool { return false }

func (p *fakeProbe) Probe(s host.Socket, seen func(addr, from netip.AddrPort), done func()) func() {
	p.asked++
	if p.after > 0 {
		p.h.AfterFunc(p.after, func() {
			for _, sample := range p.seen(s) {
				seen(sample.Seen, sample.From)
			}
			done()
		})
	}
	return func() { p.canceled++ }
}

// probed is a place behind a router whose node has a probe.
func probed(where place, p *fakeProbe) place {
	where.cfg.Probe = p
	return where
}

// How a NAT is classified from few nodes, with and without a probe that asks others, and when.
func TestClassifyingFromFewNodes(t *testing.T) {
	server := func(n byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, 9, n}), 3478) }
	same := func(l *lab, n byte) func(host.Socket) []hyperdht.NATSample {
		return func(s host.Socket) (all []hyperdht.NATSample) {
			for i := range n {
				all = append(all, hyperdht.NATSample{Seen: netip.AddrPortFrom(l.dialler.router.Addr(), s.LocalAddr().Port()), From: server(i)})
			}
			return all
		}
	}
	for _, test := range []struct {
		name    string
		nodes   int
		probe   bool
		after   time.Duration
		samples byte
		want    hyperdht.NATKind
		within  time.Duration
		least   time.Duration
	}{
		{name: "four nodes", nodes: 4, want: hyperdht.NATConsistent, within: 50 * time.Millisecond},
		{name: "two nodes", nodes: 2, want: hyperdht.NATConsistent, within: 50 * time.Millisecond},
		{name: "one node", nodes: 1, want: hyperdht.NATUnknown, within: 50 * time.Millisecond},
		{name: "one node and a probe with one sample", nodes: 1, probe: true, after: 100 * time.Millisecond, samples: 1, want: hyperdht.NATConsistent, least: 90 * time.Millisecond, within: 150 * time.Millisecond},
		{name: "one node and a probe with three samples", nodes: 1, probe: true, after: 100 * time.Millisecond, samples: 3, want: hyperdht.NATConsistent, least: 90 * time.Millisecond, within: 150 * time.Millisecond},
		{name: "one node and a probe without any", nodes: 1, probe: true, after: 5 * time.Second, want: hyperdht.NATUnknown, least: 4 * time.Second, within: 6 * time.Second},
		{name: "two nodes and a slow probe", nodes: 2, probe: true, after: 5 * time.Second, samples: 1, want: hyperdht.NATConsistent, least: 900 * time.Millisecond, within: 1100 * time.Millisecond},
		{name: "four nodes and a probe, which is not asked", nodes: 4, probe: true, after: 5 * time.Second, samples: 1, want: hyperdht.NATConsistent, within: 50 * time.Millisecond},
		{name: "one node and a probe that never ends", nodes: 1, probe: true, want: hyperdht.NATUnknown, least: 9 * time.Second, within: 11 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &fakeProbe{}
			where := cone()
			if test.probe {
				where = probed(where, p)
			}
			l := newLab(t, test.nodes, where, public())
			p.h, p.after, p.seen, p.asked = l.dialler.host, test.after, same(l, test.samples), 0
			start := l.net.Now()
			var took time.Duration
			var report hyperdht.NATReport
			l.dialler.host.Do(func() {
				if err := l.dialler.node.ClassifyNAT(func(r hyperdht.NATReport) { report, took = r, l.net.Now()-start }); err != nil {
					t.Fatal(err)
				}
			})
			l.run(10 * time.Minute)
			if report.Kind != test.want || took > test.within || took < test.least {
				t.Errorf("%v after %v, want %v within %v to %v", report.Kind, took, test.want, test.least, test.within)
			}
			if asked := p.asked > 0; asked != (test.probe && test.nodes < 4) {
				t.Errorf("the probe was asked: %v", asked)
			}
		})
	}
}

// A suspended node has no socket to classify.
func TestClassifyingWhileSuspended(t *testing.T) {
	l := newLab(t, 1, cone(), public())
	l.dialler.host.Do(func() { l.dialler.node.Suspend(nil) })
	l.run(time.Second)
	l.dialler.host.Do(func() {
		if err := l.dialler.node.ClassifyNAT(func(hyperdht.NATReport) {}); err != hyperdht.ErrSuspended {
			t.Errorf("failed with %v", err)
		}
	})
}

// A private DHT of few nodes, behind NATs: two nodes suffice, one does not.
func TestPunchingWithFewNodes(t *testing.T) {
	for name, nodes := range map[string]int{"few-nodes-two": 2, "few-nodes-one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nodes, cone(), cone())
			l.listen(hyperdht.ListenOptions{})
			l.begin()
			l.dial(hyperdht.ConnectOptions{})
			l.run(5 * time.Minute)
			l.end(name)
		})
	}
}

// A dial has no deadline of its own while its NAT is classified: it waits until the address probe ends.
func TestDialWaitsForTheProbe(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1, probed(cone(), &fakeProbe{}), public())
	f := l.fakeServer(netip.MustParseAddrPort("100.128.9.9:1234"))
	f.punch = func(wire.HolepunchPayload) []wire.HolepunchPayload {
		return []wire.HolepunchPayload{{Firewall: wire.FirewallConsistent, Token: &[32]byte{2}}}
	}
	l.begin()
	l.off(l.dht[0])
	l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
	l.run(10 * time.Minute)
	l.end("few-nodes-none-and-a-probe-that-never-ends")
}
