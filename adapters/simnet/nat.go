package simnet

import (
	"fmt"
	"time"
)

// Dependence says what of the remote end something depends on (RFC 4787, sections 4.1 and 5).
type Dependence uint8

const (
	// Never, as a mapping, leaves addresses as they are: a firewall. As a filter it lets everything in.
	Never Dependence = iota
	// EndpointIndependent looks at the inside end alone.
	EndpointIndependent
	// AddressDependent looks at the remote address as well.
	AddressDependent
	// AddressAndPortDependent looks at the remote address and port as well.
	AddressAndPortDependent
)

var dependenceNames = [...]string{"never", "endpoint-independent", "address-dependent", "address-and-port-dependent"}

// String returns the name as RFC 4787 has it.
func (d Dependence) String() string { return dependenceNames[d] }

// PortChoice is how a NAT picks the public port of a new mapping.
type PortChoice uint8

const (
	// PreservePort takes the inside port, or the next free one above where it is taken.
	PreservePort PortChoice = iota
	// NextPort counts up from a start drawn at boot.
	NextPort
	// RandomPort draws each port anew.
	RandomPort
)

// Refresh says which datagrams keep a session alive.
type Refresh uint8

const (
	// RefreshOutbound lets only what leaves do (RFC 4787, REQ-6).
	RefreshOutbound Refresh = iota
	// RefreshBoth lets what is let in do so, too.
	RefreshBoth
)

// WhenFull is what a NAT does with a new session when its table is full.
type WhenFull uint8

const (
	// RefuseNew drops the datagram that asks for one.
	RefuseNew WhenFull = iota
	// EvictOldest forgets the session that was not refreshed for the longest time.
	EvictOldest
)

// NAT is a kind of router, as one value on each of several independent axes. The zero NAT forwards
// everything. Combinations in which an axis would mean nothing are refused by AddRouter, so that no
// scenario believes to test what it does not.
type NAT struct {
	// Block drops all datagrams, in both directions: a network that lets only TCP out. It needs no other axis.
	Block bool

	// Mapping says which sessions of an inside socket share a public port; Never is a firewall.
	Mapping Dependence
	// Filtering says from whom datagrams come in. A NAT cannot have Never: what it has no mapping for has nowhere
	// to go.
	Filtering Dependence

	// Ports is how a mapping gets its public port, between FirstPort and LastPort (both 0: 1024 and 65535).
	Ports               PortChoice
	FirstPort, LastPort uint16
	// Overload lets mappings to different remote ends have the same public port, as Linux does: only the ends together
	// are unique. It needs a Mapping that depends on the remote end, and a Filtering that does so no less.
	Overload bool

	// Drift is how long a mapping keeps its port; 0 is for as long as it lives. Its sessions do not come along.
	Drift time.Duration
	// Shared is how many sessions a mapping has that does not depend on the remote end, and further ones get mappings of their own, as
	// where ports are scarce; 0 is any number.
	Shared int

	// Lifetime is how long a session lives without refresh; 0 means 2 minutes.
	Lifetime time.Duration
	// Unanswered is how long it lives before something has come in, Lifetime at most; 0 means Lifetime. With the next
	// refresh after an answer it lives for the whole Lifetime, unless it is no older than Young then, counted from its
	// beginning: few questions with an answer each are no conversation.
	Unanswered, Young time.Duration
	Refresh           Refresh
	// Hairpin lets inside hosts reach each other by their public addresses. The receiver sees the sender's
	// public address (RFC 4787, REQ-9).
	Hairpin bool
	// ForgetOnMove ends all sessions when the public address changes. Otherwise they and their ports live on.
	ForgetOnMove bool

	// Size bounds the sessions; 0 means 65536. A session is a mapping together with one remote end that its
	// filter admits.
	Size int
	Full WhenFull
}

// check panics where an axis was set that would mean nothing.
func (n *NAT) check() {
	translates, tracks := n.Mapping != Never, n.Filtering != Never
	refuse := func(bad bool, why string) {
		if bad {
			panic(fmt.Sprintf("simnet: %s: %+v", why, *n))
		}
	}
	refuse(n.Block && *n != NAT{Block: true}, "a router that blocks all has no other axis")
	refuse(translates && !tracks, "a NAT has nowhere to send what it has no mapping for, and so a filter")
	refuse(!translates && (n.Ports != 0 || n.FirstPort != 0 || n.LastPort != 0), "a firewall gives no ports")
	refuse(!translates && n.Hairpin, "behind a firewall there are no public addresses to reach each other by")
	refuse(!translates && n.ForgetOnMove, "a firewall has no public address that could change")
	refuse(!tracks && (n.Lifetime != 0 || n.Unanswered != 0 || n.Young != 0 || n.Refresh != 0 || n.Size != 0 || n.Full != 0), "a router without a filter has no sessions")
	refuse(n.Overload && (n.Mapping <= EndpointIndependent || n.Filtering < n.Mapping), "mappings that share a port are told apart by their remote ends")
	refuse(!translates && n.Drift != 0, "a firewall has no ports that could drift")
	refuse(n.Drift != 0 && n.Ports == PreservePort, "a port that is preserved does not drift")
	refuse(n.Shared != 0 && n.Mapping != EndpointIndependent, "only mappings that do not depend on the remote end are shared")
	refuse(n.Drift < 0 || n.Shared < 0, "times and numbers have no sign")
	refuse(n.FirstPort > n.LastPort || n.FirstPort == 0 && n.LastPort != 0, "the ports are no range")
	refuse(n.Lifetime < 0 || n.Unanswered < 0 || n.Young < 0 || n.Size < 0, "lifetimes and size have no sign")
	refuse(n.Unanswered > n.withDefaults().Lifetime, "an answer does not make lives shorter")
	refuse(n.Young != 0 && n.Unanswered == 0, "the young live as long as the unanswered, for which there is no time")
}

// withDefaults fills in what was left to us.
func (n NAT) withDefaults() NAT {
	if n.LastPort == 0 {
		n.FirstPort, n.LastPort = natFirstPort, natLastPort
	}
	if n.Lifetime == 0 {
		n.Lifetime = natLifetime
	}
	if n.Size == 0 {
		n.Size = natSize
	}
	return n
}

// FullCone is a NAT whose mappings are open to everyone.
func FullCone() NAT { return NAT{Mapping: EndpointIndependent, Filtering: EndpointIndependent} }

// RestrictedCone is a NAT whose mappings are open to the addresses that were sent to.
func RestrictedCone() NAT { return NAT{Mapping: EndpointIndependent, Filtering: AddressDependent} }

// PortRestricted is a NAT whose mappings are open to the addresses and ports that were sent to: most homes.
func PortRestricted() NAT {
	return NAT{Mapping: EndpointIndependent, Filtering: AddressAndPortDependent}
}

// Symmetric is a NAT with a mapping for each remote end, whose ports count up.
func Symmetric() NAT {
	return NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: NextPort}
}

// SymmetricRandom is a NAT with a mapping for each remote end, whose ports nobody can guess: carriers.
func SymmetricRandom() NAT {
	return NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPort}
}

// Masquerade is what Linux does: a mapping for each remote end which has the port of the inside socket
// unless another inside socket has it towards the same end. The sessions end when the address goes.
func Masquerade() NAT {
	return linuxTimes(NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Overload: true, ForgetOnMove: true})
}

// MasqueradeRandom is what Linux does with the flags random or fully-random.
func MasqueradeRandom() NAT {
	n := Masquerade()
	n.Ports = RandomPort
	return n
}

// linuxTimes gives a NAT the times of Linux (net/netfilter/nf_conntrack_proto_udp.c), where what comes in counts as much
// as what leaves.
func linuxTimes(n NAT) NAT {
	n.Lifetime, n.Unanswered, n.Young, n.Refresh = linuxStream, linuxUnreplied, linuxYoung, RefreshBoth
	return n
}

// Open forwards everything: hosts behind it are public.
func Open() NAT { return NAT{} }

// FirewallOnly leaves addresses alone and lets in what answers, as Linux does.
func FirewallOnly() NAT { return linuxTimes(NAT{Filtering: AddressAndPortDependent}) }

// UDPBlocked lets no datagram pass.
func UDPBlocked() NAT { return NAT{Block: true} }

// Preset is a kind of NAT that has a name.
type Preset struct {
	Name string
	NAT  NAT
}

// Presets returns all kinds that have a name, in a fixed order.
func Presets() []Preset {
	return []Preset{
		{"open", Open()},
		{"firewall-only", FirewallOnly()},
		{"full-cone", FullCone()},
		{"restricted-cone", RestrictedCone()},
		{"port-restricted", PortRestricted()},
		{"masquerade", Masquerade()},
		{"symmetric", Symmetric()},
		{"symmetric-random", SymmetricRandom()},
		{"masquerade-random", MasqueradeRandom()},
		{"udp-blocked", UDPBlocked()},
	}
}
