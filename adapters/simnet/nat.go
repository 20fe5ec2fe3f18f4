package simnet

import (
	"fmt"
	"time"
)

// Dependence names the part of the remote end that a behaviour depends on (RFC 4787, sections 4.1 and 5).
type Dependence uint8

const (
	// Never, as a mapping, leaves addresses as they are: a firewall. As a filter it lets everything in.
	Never Dependence = iota
	// EndpointIndependent depends on the inside end alone.
	EndpointIndependent
	// AddressDependent depends on the remote address as well.
	AddressDependent
	// AddressAndPortDependent depends on the remote address and port as well.
	AddressAndPortDependent
)

var dependenceNames = [...]string{"never", "endpoint-independent", "address-dependent", "address-and-port-dependent"}

// String returns the name that RFC 4787 uses.
func (d Dependence) String() string { return dependenceNames[d] }

// PortChoice is a method of picking the public port of a new mapping.
type PortChoice uint8

const (
	// PreservePort takes the inside port, or the next free one above where it is taken.
	PreservePort PortChoice = iota
	// NextPort counts up from a start drawn at boot.
	NextPort
	// RandomPort draws each port at random.
	RandomPort
)

// Refresh names the datagrams that keep a session alive.
type Refresh uint8

const (
	// RefreshOutbound: only outbound datagrams (RFC 4787, REQ-6).
	RefreshOutbound Refresh = iota
	// RefreshBoth: inbound datagrams that pass the filter as well.
	RefreshBoth
)

// WhenFull is the treatment of a new session when the table is full.
type WhenFull uint8

const (
	// RefuseNew drops the datagram that asks for one.
	RefuseNew WhenFull = iota
	// EvictOldest forgets the session that was not refreshed for the longest time.
	EvictOldest
)

// NAT is a kind of router, as one value on each of several independent axes. The zero NAT forwards everything. AddRouter
// rejects combinations in which an axis would have no effect, so that a scenario cannot test less than it states.
type NAT struct {
	// Block drops all datagrams, in both directions: a network that lets only TCP out. It needs no other axis.
	Block bool

	// OnlyPort lets out datagrams to this remote port only; 0 means all. It needs a filter, which keeps others out.
	OnlyPort uint16

	// Mapping decides which sessions of an inside socket share a public port; Never is a firewall.
	Mapping Dependence
	// Filtering decides which remote ends may send datagrams in. A NAT cannot have Never: a datagram without a mapping has
	// no destination.
	Filtering Dependence

	// Ports picks the public port of a mapping, between FirstPort and LastPort (both 0: 1024 and 65535).
	Ports               PortChoice
	FirstPort, LastPort uint16
	// Overload lets mappings to different remote ends share a public port, as Linux does: only the pair of ends is unique.
	// It needs a Mapping that depends on the remote end, and a Filtering that does so no less.
	Overload bool

	// Drift is the time after which a mapping changes its port, without its sessions; 0 means never.
	Drift time.Duration
	// Shared bounds the sessions of a mapping that does not depend on the remote end; further ones get mappings of their
	// own, as where ports are scarce. 0 means no bound.
	Shared int

	// Lifetime is the time that a session lives without refresh; 0 means 2 minutes.
	Lifetime time.Duration
	// Unanswered is the lifetime before the first inbound datagram, Lifetime at most; 0 means Lifetime. With the next refresh
	// after an answer the session lives for the whole Lifetime, unless it is no older than Young then, counted from its
	// beginning: a few requests with one answer each are not a stream.
	Unanswered, Young time.Duration
	Refresh           Refresh
	// Hairpin lets inside hosts reach each other by their public addresses. The receiver sees the sender's public address
	// (RFC 4787, REQ-9).
	Hairpin bool
	// ForgetOnMove ends all sessions when the public address changes. Otherwise they and their ports live on.
	ForgetOnMove bool

	// Size bounds the sessions; 0 means 65536. A session is a mapping together with one remote end that its filter admits.
	Size int
	Full WhenFull
}

// check panics if an axis is set that would have no effect.
func (n *NAT) check() {
	translates, tracks := n.Mapping != Never, n.Filtering != Never
	refuse := func(bad bool, why string) {
		if bad {
			panic(fmt.Sprintf("simnet: %s: %+v", why, *n))
		}
	}
	refuse(n.Block && *n != NAT{Block: true}, "Block with another axis")
	refuse(n.OnlyPort != 0 && !tracks, "OnlyPort without a filter")
	refuse(translates && !tracks, "a NAT without a filter")
	refuse(!translates && (n.Ports != 0 || n.FirstPort != 0 || n.LastPort != 0), "a firewall with a choice of ports")
	refuse(!translates && n.Hairpin, "a firewall with Hairpin")
	refuse(!translates && n.ForgetOnMove, "a firewall with ForgetOnMove")
	refuse(!tracks && (n.Lifetime != 0 || n.Unanswered != 0 || n.Young != 0 || n.Refresh != 0 || n.Size != 0 || n.Full != 0), "session settings without a filter")
	refuse(n.Overload && (n.Mapping <= EndpointIndependent || n.Filtering < n.Mapping), "mappings that share a port must differ in their remote ends")
	refuse(!translates && n.Drift != 0, "a firewall with Drift")
	refuse(n.Drift != 0 && n.Ports == PreservePort, "Drift with preserved ports")
	refuse(n.Shared != 0 && n.Mapping != EndpointIndependent, "Shared with mappings that depend on the remote end")
	refuse(n.Drift < 0 || n.Shared < 0, "negative Drift or Shared")
	refuse(n.FirstPort > n.LastPort || n.FirstPort == 0 && n.LastPort != 0, "invalid range of ports")
	refuse(n.Lifetime < 0 || n.Unanswered < 0 || n.Young < 0 || n.Size < 0, "negative lifetime or size")
	refuse(n.Unanswered > n.withDefaults().Lifetime, "Unanswered exceeds Lifetime")
	refuse(n.Young != 0 && n.Unanswered == 0, "Young without Unanswered")
}

// withDefaults fills in the defaults.
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

// SymmetricRandom is a NAT with a mapping for each remote end, whose ports cannot be guessed: carriers.
func SymmetricRandom() NAT {
	return NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPort}
}

// Masquerade is Linux's MASQUERADE: a mapping for each remote end which has the port of the inside socket unless another
// inside socket has it towards the same end. The sessions end when the address changes.
func Masquerade() NAT {
	return linuxTimes(NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Overload: true, ForgetOnMove: true})
}

// MasqueradeRandom is MASQUERADE with the flags random or fully-random.
func MasqueradeRandom() NAT {
	n := Masquerade()
	n.Ports = RandomPort
	return n
}

// linuxTimes gives a NAT the timeouts of Linux (net/netfilter/nf_conntrack_proto_udp.c), where inbound datagrams refresh as
// well.
func linuxTimes(n NAT) NAT {
	n.Lifetime, n.Unanswered, n.Young, n.Refresh = linuxStream, linuxUnreplied, linuxYoung, RefreshBoth
	return n
}

// Open forwards everything: hosts behind it are public.
func Open() NAT { return NAT{} }

// FirewallOnly keeps addresses and lets in answers, as Linux does.
func FirewallOnly() NAT { return linuxTimes(NAT{Filtering: AddressAndPortDependent}) }

// UDPBlocked lets no datagram pass.
func UDPBlocked() NAT { return NAT{Block: true} }

// OnePort returns a NAT with its datagrams restricted to one remote port, as in networks that let out what web browsers need.
func OnePort(nat NAT, port uint16) NAT {
	nat.OnlyPort = port
	return nat
}

// Preset is a named kind of NAT.
type Preset struct {
	Name string
	NAT  NAT
}

// Presets returns all named kinds, in a fixed order.
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
