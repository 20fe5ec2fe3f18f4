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

// NATKind is how a NAT maps a socket.
type NATKind uint8

// The kinds of NAT.
const (
	NATUnknown    NATKind = iota
	NATOpen               // reachable without any help
	NATConsistent         // every remote sees the same port
	NATRandom             // every remote sees another port
)

// String is the kind in words.
func (k NATKind) String() string { return nat.Kind(k).String() }

// NATSample is an address that we were seen at, and by whom.
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

// NATStatus is what the node thinks of its address.
type NATStatus struct {
	// Public is our address as others see it: invalid while unknown, port 0 if it differs for each.
	Public netip.AddrPort
	// Kind is that of the NAT as far as the node's main socket shows it.
	Kind NATKind
	// Samples are what that was concluded from, the oldest first.
	Samples []NATSample
}

// NAT is what the node thinks of its address.
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

// ClassifyNAT finds out how our NAT treats a fresh socket, as hole punching does, and calls done in a later turn. It
// fails if there is no socket to be had.
func (n *Node) ClassifyNAT(done func(NATReport)) error { return n.peers.classifyNAT(done) }

// BootstrapStatus is how a bootstrap node does.
type BootstrapStatus struct {
	// Entry is as it was configured.
	Entry string
	// Addr is where it was asked, invalid if its name could not be resolved.
	Addr netip.AddrPort
	// RTT is how long its answer took, Seen where it sees us.
	RTT  time.Duration
	Seen netip.AddrPort
	// Err is why there is no answer; nil if there is one.
	Err error
}

// ErrNoAddress means that a name has no IPv4 address.
var ErrNoAddress = errors.New("hyperdht: the name has no IPv4 address")

// bootstrapPings are how often a bootstrap node is asked: our choice, one more than a busy one deserves.
const bootstrapPings = 3

// CheckBootstrap asks each bootstrap node whether it is there, and calls done with all of them in the order in which
// they were given, in a later turn. It works before the node is ready, too.
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

// checkBootstrap asks at the address that is given, and where the name leads if that one is silent.
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

// pingBootstrap asks once at a time, so that it is known which question was answered.
func (n *Node) pingBootstrap(addr netip.AddrPort, left int, s *BootstrapStatus, done func()) {
	s.Addr = addr
	n.rpc.Request(rpc.Outgoing{To: addr, Internal: true, Command: wire.CmdPing, Retries: rpc.NoRetry}, func(r rpc.Reply, err error) {
		if errors.Is(err, ErrTimeout) && left > 1 {
			n.pingBootstrap(addr, left-1, s, done)
			return
		}
		s.RTT, s.Seen, s.Err = r.RTT, r.To, publicError(err)
		done()
	})
}
