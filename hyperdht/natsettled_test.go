package hyperdht

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/internal/demux"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
)

// randomNode is the peering of a node behind a random NAT that knows four DHT nodes.
func randomNode(t *testing.T) (*simnet.Net, *peering) {
	t.Helper()
	return nodeBehind(t, simnet.SymmetricRandom(), 1, 1, 1, 1)
}

// nodeBehind is the peering of a node behind a NAT. It knows some machines with so many DHT nodes each.
func nodeBehind(t *testing.T, nat simnet.NAT, machines ...uint16) (*simnet.Net, *peering) {
	t.Helper()
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}})
	var bootstrap []rpc.Bootstrap
	enter := func(h *simnet.Host, cfg rpc.Config) (e *rpc.Endpoint) {
		cfg.Bootstrap = bootstrap
		h.Do(func() {
			var err error
			if e, err = rpc.New(h, cfg); err != nil {
				t.Fatal(err)
			}
		})
		net.Run(5 * time.Second)
		return e
	}
	for i, nodes := range machines {
		h := net.AddHost(fmt.Sprintf("n%d", i), netip.AddrFrom4([4]byte{100, 128, 1, byte(i + 1)}))
		for n := range nodes {
			at := netip.AddrPortFrom(h.Addr(), 49737+n)
			enter(h, rpc.Config{Listen: at, Mode: rpc.Persistent, PublicAddr: at})
			if len(bootstrap) == 0 {
				bootstrap = []rpc.Bootstrap{rpc.BootstrapAddr(at)}
			}
		}
	}
	r := net.AddRouter("router", nat, netip.AddrFrom4([4]byte{100, 128, 2, 1}))
	h := r.AddHost("node", netip.AddrFrom4([4]byte{192, 168, 1, 1}))
	e := enter(h, rpc.Config{})
	streams := stream.NewTable(h, stream.Config{})
	door := &demux.Door{Streams: streams, Messages: e}
	p := newPeering(h, e, peeringConfig{Streams: streams, Door: door})
	door.Probes = p.pool
	return net, p
}

// A sample that comes when enough have, and is equal to one of them, is that of a second node of a machine where a NAT has one
// port for each, or a lie. No node is asked any more then, so the verdict must not be waited for.
func TestSampleAfterTheVerdictDoesNotOpenItAgain(t *testing.T) {
	net, p := randomNode(t)
	var n *natProbe
	verdicts := 0
	p.host.(*simnet.Host).Do(func() {
		ps, err := p.pool.acquire()
		if err != nil {
			t.Fatal(err)
		}
		n = newNATProbe(p, p.rpc.NewCallGroup(), ps.sock)
		n.analyzed(func() { verdicts++ })
	})
	net.Run(time.Second)
	if verdicts != 1 || n.class.Sampled() != natSamples {
		t.Fatalf("%d verdicts on %v", verdicts, n.class.Samples())
	}
	p.host.(*simnet.Host).Do(func() {
		n.add(n.class.Samples()[0].Seen, netip.MustParseAddrPort("100.128.1.1:1"))
		n.analyzed(func() { verdicts++ })
	})
	net.Run(10 * time.Minute)
	if verdicts != 2 {
		t.Errorf("no verdict on %v", n.class.Samples())
	}
}

// A NAT that has one port for each machine looks consistent to a machine with three nodes. Where two of them agree and others do not,
// the third one is not asked.
func TestNodesOfOneMachineDoNotMakeANATConsistent(t *testing.T) {
	nat := simnet.SymmetricRandom()
	nat.Mapping, nat.Filtering = simnet.AddressDependent, simnet.AddressDependent
	net, p := nodeBehind(t, nat, 3, 1, 1)
	var report NATReport
	p.host.(*simnet.Host).Do(func() {
		if err := p.classifyNAT(func(r NATReport) { report = r }); err != nil {
			t.Fatal(err)
		}
	})
	net.Run(20 * time.Second)
	if report.Kind.String() != "random" || len(report.Samples) != natSamples {
		t.Errorf("%v of %v", report.Kind, report.Samples)
	}
}
