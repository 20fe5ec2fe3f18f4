package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Mode determines whether the node may appear in the routing tables of other nodes.
type Mode uint8

const (
	// Adaptive nodes become persistent once they proved stable and reachable.
	Adaptive Mode = iota
	// Ephemeral nodes never do.
	Ephemeral
	// Persistent nodes try as soon as they start. One without other nodes to learn its address from stays
	// ephemeral, unless PublicAddr presets it.
	Persistent
)

// Config is the configuration of an Endpoint. The zero Config is a node of an empty network.
type Config struct {
	// Bootstrap are the nodes to enter the network by.
	Bootstrap []Bootstrap
	// Nodes were known in an earlier run, the one heard from last first. The network is entered by the first MaxKnown of them
	// and by the bootstrap nodes; those that do not answer are forgotten.
	Nodes []netip.AddrPort
	// Listen is the address of the server socket; the client socket is bound to the same host and any port. An explicit port is
	// bound or New fails. An invalid or zero part means any address, or a port of the endpoint's choice: one of five,
	// or any free port, but never one of a bootstrap node.
	Listen netip.AddrPort
	Mode   Mode
	// Firewalled false says that the server socket is known to be reachable. Nil means true.
	Firewalled *bool
	// NoQuickFirewall leaves out the firewall probe that is tried while bootstrapping.
	NoQuickFirewall bool
	// Doubts makes Doubt ask; without it, that does nothing.
	Doubts bool
	// PublicAddr presets the address of a dedicated bootstrapper: a persistent node that is not
	// firewalled, bound to exactly that port unless Listen names another.
	PublicAddr netip.AddrPort
	// AdaptiveTimeout lets the timeout of a request follow the round trips to its destination
	// instead of RequestTimeout. hyperdht does not use it.
	AdaptiveTimeout bool
	// FilterNode reports whether an address may enter the routing table and lookups. Nil admits all.
	FilterNode func(netip.AddrPort) bool
	// NodeID is id.NodeIDOf, or has the same results. Nil means id.NodeIDOf.
	NodeID func(netip.AddrPort) id.NodeID

	// AddressProbe gives samples of our public address besides those of DHT replies: while bootstrapping, with
	// every refresh of the table and when the network has changed. Nil gives none.
	AddressProbe AddressProbe

	// App is the application of the node. Nil is an application without commands.
	App Application
}

// Application is an application on an endpoint.
type Application interface {
	// Attach is called with each socket that the endpoint has opened. It receives what arrives there, and hands the endpoint
	// what its methods ReceiveRequest, ReceiveResponse and Drop are for.
	Attach(e *Endpoint, s host.Socket)
	// OwnRequest reports whether a request is for a server of this node. Those are not limited by their sender, which may be a
	// relay of many callers or forged: the application limits them, and what it answers by MayAnswer.
	OwnRequest(command uint64, target id.Target) bool
	// Request gets the commands that are not the endpoint's own.
	Request(*Request)
	// Event is called when something has happened to the endpoint.
	Event(Event)
}

// noApplication knows no command.
type noApplication struct{}

func (noApplication) Attach(e *Endpoint, s host.Socket) {
	s.OnReceive(func(from netip.AddrPort, b []byte) { e.Receive(s, from, b) })
}
func (noApplication) OwnRequest(uint64, id.Target) bool { return false }
func (noApplication) Request(r *Request)                { r.Unknown() }
func (noApplication) Event(Event)                       {}
