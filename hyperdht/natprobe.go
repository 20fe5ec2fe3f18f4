package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// natProbe classifies the NAT in front of one socket from the answers to pings that left from it
// (hyperdht lib/nat.js).
//
// If few nodes are known, or too few of them answer, the node's address probe is queried as well, which the
// reference implementation does not have. If that does not yield the three samples that a verdict takes, two suffice
// (nat.Classifier.Conclude): the reference implementation gives up then.
type natProbe struct {
	p     *peering
	group *rpc.CallGroup
	sock  host.Socket
	began host.Instant
	class *nat.Classifier

	asked   map[netip.AddrPort]bool
	begun   bool // nodes are asked
	pinged  bool // all nodes were asked, and have answered or never will
	given   bool // there is nothing more to wait for
	closed  bool
	waiting []func()

	probed    bool // the address probe was asked
	probing   bool // and has not finished
	impatient bool // FewSamples samples suffice without it
	cancel    func()
	patience  host.Timer
}

func newNATProbe(p *peering, group *rpc.CallGroup, sock host.Socket) *natProbe {
	n := &natProbe{
		p: p, group: group, sock: sock, began: p.host.Now(),
		asked: make(map[netip.AddrPort]bool),
	}
	if p.limits.OneAddress {
		n.class, n.begun, n.given = nat.NewKnown(sock.LocalAddr()), true, true
		return n
	}
	n.class = nat.NewClassifier(p.rpc.Firewalled())
	if p.drift.lately(p.host.Now()) {
		n.class.Doubt()
	}
	return n
}

// natDrift records whether our NAT changes the addresses of sockets in use.
type natDrift struct {
	seen   host.Instant // when it last did; zero for never
	checks int          // under way
}

// lately reports whether it has been seen to do so within driftMemory.
func (d *natDrift) lately(now host.Instant) bool {
	return d.seen != 0 && now.Sub(d.seen) < driftMemory
}

// checkDrift asks further nodes whether they see a socket at another address than the one sent to the peer, with
// which a punch was lost.
func (p *peering) checkDrift(ps *poolSocket, told netip.AddrPort, asked map[netip.AddrPort]bool) {
	if p.closed || p.suspended || p.drift.checks == maxDriftChecks {
		return
	}
	p.drift.checks++
	release := p.pool.ref(ps.sock)
	n := newNATProbe(p, p.rpc.NewCallGroup(), ps.sock)
	for node := range asked {
		n.asked[node] = true
	}
	n.analyzed(func() {
		p.host.Defer(func() {
			p.drift.checks--
			elsewhere := 0
			for _, s := range n.class.Samples() {
				if s.Seen != told && s.Seen.Addr() == told.Addr() {
					elsewhere++
				}
			}
			if elsewhere > 1 { // one node may lie
				p.drift.seen = p.host.Now()
				p.stats.NATDrifts++
			}
			n.group.Cancel()
			n.close()
			release()
		})
	})
}

func (n *natProbe) firewall() wire.Firewall { return wire.Firewall(n.class.Firewall()) }

// addrs returns the addresses of the socket to send to the remote: nil while unknown.
//
// A node that turns out to be open in the middle of a punch sends its address, too. The reference implementation does not, and
// its servers give such a client up.
func (n *natProbe) addrs() []netip.AddrPort {
	if seen := n.class.Seen(); n.class.Firewall() == nat.Open && seen.IsValid() {
		return []netip.AddrPort{seen}
	}
	return n.class.Addrs()
}

func (n *natProbe) freeze() { n.class.Freeze() }

// sample begins to classify the NAT, if nothing has yet.
func (n *natProbe) sample() {
	if !n.begun {
		n.begun = true
		n.autoSample(mayRepeat)
	}
}

// autoSample pings known nodes from the socket until enough have answered or none is left to ask.
func (n *natProbe) autoSample(again repeat) {
	nodes := n.p.rpc.Nodes()
	skip := 0
	if len(nodes) >= natSkipFrom {
		skip = natSkipNodes
	}
	if len(nodes)-skip < natSamples {
		n.askProbe() // at once, because the nodes cannot suffice
	}
	pings := host.NewJoin(func() {
		if n.closed {
			return
		}
		if n.class.Sampled() >= n.wanted() {
			n.given = true // a later sample that contradicts these does not start another round
			return
		}
		if again == mayRepeat {
			n.autoSample(lastRound)
			return
		}
		n.pinged = true
		if n.class.Sampled() < natSamples {
			n.askProbe()
		}
		n.conclude()
	})
	begun, pinged := pings.Add(), 0
	for _, node := range spread(nodes[min(skip, len(nodes)):], natSamples) {
		if n.class.Sampled()+pinged >= n.wanted() {
			break
		}
		if n.asked[node] || n.class.Contradictory() && n.askedMachine(node.Addr()) {
			continue
		}
		n.asked[node] = true
		pinged++
		ended := pings.Add()
		n.p.rpc.Request(rpc.RequestOptions{
			To: node, Internal: true, Command: wire.CmdPing, Socket: n.sock, Retries: rpc.NoRetry, Follows: true, Group: n.group,
		}, func(r rpc.Reply, err error) {
			if err == nil {
				n.add(r.To, r.From)
			}
			ended()
		})
	}
	n.p.host.Defer(begun)
}

// wanted returns the number of samples to gather. If the reference implementation's four contradict each other in a way that
// no NAT has, some nodes report false addresses, and four more decide. They are on other machines: a NAT may have one port for each.
func (n *natProbe) wanted() int {
	if n.class.Contradictory() {
		return decidingSamples
	}
	return natSamples
}

func (n *natProbe) askedMachine(machine netip.Addr) bool {
	for node := range n.asked {
		if node.Addr() == machine {
			return true
		}
	}
	return false
}

// spread puts n nodes first, taken at equal distances and from different machines if there are as many, so that nodes that
// ping us often are not the only ones to be asked. The others follow in their order.
func spread(nodes []netip.AddrPort, n int) []netip.AddrPort {
	if len(nodes) <= n {
		return nodes
	}
	first := make([]netip.AddrPort, 0, len(nodes))
	rest := slices.Clone(nodes)
	machines := make(map[netip.Addr]bool, n)
	for i := range n {
		for at := i * len(rest) / n; at < len(rest); at++ {
			if node := rest[at]; node.IsValid() && !machines[node.Addr()] {
				machines[node.Addr()] = true
				first = append(first, node)
				rest[at] = netip.AddrPort{}
				break
			}
		}
	}
	return append(first, slices.DeleteFunc(rest, func(a netip.AddrPort) bool { return !a.IsValid() })...)
}

// askProbe queries the node's address probe, once.
func (n *natProbe) askProbe() {
	if n.probed || n.closed || n.p.cfg.Probe == nil {
		return
	}
	n.probed, n.probing = true, true
	n.cancel = n.p.cfg.Probe.Probe(n.sock, n.add, func() {
		n.probing = false
		n.conclude()
	})
	n.patience = n.p.host.AfterFunc(probePatience, func() {
		n.impatient = true
		n.patience = n.p.host.AfterFunc(probeLimit-probePatience, func() {
			n.probing = false
			n.conclude()
		})
		n.conclude()
	})
}

// conclude ends the sampling if no further answer is expected, or none worth waiting for. Late answers
// still count.
func (n *natProbe) conclude() {
	if n.closed || n.given || !n.pinged || n.probing && !(n.impatient && n.class.Sampled() >= nat.FewSamples) {
		return
	}
	n.given = true
	n.class.Conclude()
	n.release()
}

// add records our address as seen by from. Each responder counts once.
func (n *natProbe) add(seen, from netip.AddrPort) {
	if n.closed {
		return
	}
	n.class.Add(seen, from, n.p.rpc.Firewalled())
	if n.settled() {
		n.release()
		return
	}
	n.conclude()
}

func (n *natProbe) settled() bool {
	f := n.firewall()
	return n.closed || n.given || f == wire.FirewallConsistent || (f == wire.FirewallOpen && n.class.Sampled() > 0) ||
		n.class.Sampled() >= n.wanted()
}

// analyzed calls done once there is a verdict, or none can be expected.
func (n *natProbe) analyzed(done func()) {
	n.sample()
	if n.settled() {
		done()
		return
	}
	n.waiting = append(n.waiting, done)
}

func (n *natProbe) close() {
	n.closed = true
	if n.probed {
		n.cancel()
		n.patience.Stop()
	}
	n.release()
}

func (n *natProbe) release() {
	waiting := n.waiting
	n.waiting = nil
	for _, f := range waiting {
		f()
	}
}

// NATReport is the classification of the node's NAT by a fresh socket, as hole punching does it.
type NATReport struct {
	// Kind is the verdict of the samples.
	Kind NATKind
	// Local is the address of the socket, Addrs the addresses that a peer would be sent: empty while unknown or open, port 0 if
	// every remote sees another one.
	Local netip.AddrPort
	Addrs []netip.AddrPort
	// Samples are the observations behind the verdict.
	Samples []NATSample
}

// classifyNAT classifies our NAT with a fresh socket and calls done, in a later turn. It fails if no
// socket can be opened.
func (p *peering) classifyNAT(done func(NATReport)) error {
	if p.closed || p.suspended {
		return ErrSuspended
	}
	ps, err := p.pool.acquire()
	if err != nil {
		return err
	}
	n := newNATProbe(p, p.rpc.NewCallGroup(), ps.sock)
	n.analyzed(func() {
		p.host.Defer(func() {
			n.group.Cancel()
			n.close()
			report := NATReport{
				Kind: NATKind(n.class.Firewall()), Local: ps.sock.LocalAddr(),
				Addrs: slices.Clone(n.class.Addrs()), Samples: publicSamples(n.class.Samples()),
			}
			ps.release()
			done(report)
		})
	})
	return nil
}
