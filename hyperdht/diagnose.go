package hyperdht

import (
	"errors"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// NATKind is the mapping behaviour of a NAT.
type NATKind uint8

// The kinds of NAT.
const (
	NATUnknown    NATKind = iota
	NATOpen               // no NAT: reachable directly
	NATConsistent         // every remote sees the same port
	NATRandom             // every remote sees another port
)

// String returns the kind as text.
func (k NATKind) String() string { return nat.Kind(k).String() }

// NATSample is our address as one node sees it.
type NATSample struct {
	Seen, From netip.AddrPort // our address, and the node that saw it
}

// publicSamples copies samples.
func publicSamples(from []nat.Sample) []NATSample {
	list := make([]NATSample, len(from))
	for i, s := range from {
		list[i] = NATSample(s)
	}
	return list
}

// NATStatus is the node's view of its own address.
type NATStatus struct {
	// Public is our address as others see it: invalid while unknown, port 0 if it differs for each.
	Public netip.AddrPort
	// Kind is the kind of NAT, judged by the node's main socket.
	Kind NATKind
	// Samples are the observations behind Public and Kind, the oldest first.
	Samples []NATSample
}

// NAT returns the node's view of its own address.
func (n *Node) NAT() NATStatus {
	s := NATStatus{Public: n.rpc.Addr(), Samples: publicSamples(n.rpc.Samples())}
	switch {
	case !s.Public.IsValid():
	case !n.rpc.Firewalled():
		s.Kind = NATOpen
	case s.Public.Port() == 0:
		s.Kind = NATRandom
	default:
		s.Kind = NATConsistent
	}
	return s
}

// ClassifyNAT classifies our NAT with a fresh socket, as hole punching does, and calls done in a later turn. It
// fails if no socket can be opened.
func (n *Node) ClassifyNAT(done func(NATReport)) error { return n.peers.classifyNAT(done) }

// BootstrapStatus is the result of a check of one bootstrap node.
type BootstrapStatus struct {
	// Entry is the configured text.
	Entry string
	// Addr is the address that was pinged, invalid if the name could not be resolved.
	Addr netip.AddrPort
	// RTT is the round-trip time, Seen our address as the node sees it.
	RTT  time.Duration
	Seen netip.AddrPort
	// Err is the reason for no answer; nil if the node answered.
	Err error
}

// ErrNoAddress means that a name has no IPv4 address.
var ErrNoAddress = errors.New("hyperdht: the name has no IPv4 address")

// bootstrapPings bounds the pings of one bootstrap node, which may lose some under load.
const bootstrapPings = 3

// CheckBootstrap pings each bootstrap node, and calls done with the results in the order of configuration, in a later
// turn. It works before the node is ready, too.
func (n *Node) CheckBootstrap(done func([]BootstrapStatus)) {
	list := make([]BootstrapStatus, len(n.bootstrap))
	join := host.NewJoin(func() { done(list) })
	ended := join.Add()
	for i, b := range n.bootstrap {
		list[i].Entry = b.String()
		n.checkBootstrap(b, &list[i], join.Add())
	}
	n.host.Defer(ended)
}

// checkBootstrap pings the configured address, and the address of the name if that one is silent.
func (n *Node) checkBootstrap(b rpc.Bootstrap, s *BootstrapStatus, done func()) {
	lookup := func() {
		n.host.LookupHost(b.Name, func(addrs []netip.Addr, err error) {
			if err == nil {
				err = ErrNoAddress
			}
			for _, a := range addrs {
				if a = a.Unmap(); a.Is4() {
					n.pingBootstrap(netip.AddrPortFrom(a, b.Port), bootstrapPings, s, done)
					return
				}
			}
			if s.Err == nil {
				s.Err = err
			}
			done()
		})
	}
	if !b.Addr.IsValid() {
		lookup()
		return
	}
	n.pingBootstrap(netip.AddrPortFrom(b.Addr, b.Port), bootstrapPings, s, func() {
		if s.Err != nil && b.Name != "" {
			lookup()
			return
		}
		done()
	})
}

// pingBootstrap sends one ping at a time, so that an answer belongs to a known ping.
func (n *Node) pingBootstrap(addr netip.AddrPort, left int, s *BootstrapStatus, done func()) {
	s.Addr = addr
	n.rpc.Request(rpc.RequestOptions{To: addr, Internal: true, Command: wire.CmdPing, Retries: rpc.NoRetry}, func(r rpc.Reply, err error) {
		if errors.Is(err, ErrTimeout) && left > 1 {
			n.pingBootstrap(addr, left-1, s, done)
			return
		}
		s.RTT, s.Seen, s.Err = r.RTT, r.To, publicError(err)
		done()
	})
}
