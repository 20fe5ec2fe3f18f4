package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Mode says whether the node may appear in others' routing tables.
type Mode uint8

const (
	// Adaptive nodes become persistent once they proved stable and reachable.
	Adaptive Mode = iota
	// Ephemeral nodes never do.
	Ephemeral
	// Persistent nodes try as soon as they start. One that has nobody to tell it its address stays
	// ephemeral for good, unless PublicAddr presets it.
	Persistent
)

// Config is what an Endpoint is made of. The zero Config is a node of an empty network.
type Config struct {
	// Bootstrap are the nodes to enter the network by.
	Bootstrap []Bootstrap
	// Nodes were known in an earlier run, the one heard from last first. The network is entered by the first MaxKnown of them
	// and by the bootstrap nodes; those that do not answer are forgotten.
	Nodes []netip.AddrPort
	// Listen is where the server socket is bound; the client socket takes the same host and any port. A port is that
	// port or an error. An invalid or zero part means any address, or a port of the endpoint's choice: one of five,
	// or any that is free, but never one of a bootstrap node.
	Listen netip.AddrPort
	Mode   Mode
	// Firewalled false says that the server socket is known to be reachable. Nil means true.
	Firewalled *bool
	// NoQuickFirewall leaves out the firewall probe that is tried while bootstrapping.
	NoQuickFirewall bool
	// PublicAddr presets the address of a dedicated bootstrapper: a persistent node that is not
	// firewalled, bound to exactly that port unless Listen names another.
	PublicAddr netip.AddrPort
	// AdaptiveTimeout lets the timeout of a request follow the round trips to its destination
	// instead of RequestTimeout. hyperdht does not use it.
	AdaptiveTimeout bool
	// FilterNode refuses addresses for the routing table and for lookups. Nil admits all.
	FilterNode func(netip.AddrPort) bool

	// AddressProbe gives samples of our public address besides those of DHT replies: while bootstrapping, with
	// every refresh of the table and when the network has changed. Nil gives none.
	AddressProbe AddressProbe

	// OnDatagram sees each datagram of both sockets that cannot be an RPC message by its first byte, and returns true
	// if it was meant for it.
	OnDatagram func(s host.Socket, from netip.AddrPort, b []byte) bool
	// OwnRequest reports whether a request is for a server of this node. Those are not limited by their sender, which may be a
	// relay of many callers or forged: the application limits them, and what it answers by MayAnswer. Nil reports none.
	OwnRequest func(command uint64, target id.Target) bool
	// OnRequest gets the commands that are not the endpoint's own. Without it they are answered as unknown.
	OnRequest func(*Request)
	// OnReady is called when bootstrapping has ended, well or not.
	OnReady func()
	// OnReachable is called when the server socket turned out not to be firewalled.
	OnReachable func()
	// OnPersistent is called when the node has become persistent, OnEphemeral when it no longer is.
	OnPersistent, OnEphemeral func()
	// OnWakeup is called after a long sleep, when all that was known is old, as soon as a node answers.
	OnWakeup func()
	// OnAddress is called when the public address that others see has changed: host and port as Addr
	// returns them.
	OnAddress func(netip.AddrPort)
	// OnNetworkUpdate is called when the judgement of the network, or the network itself, has changed.
	OnNetworkUpdate func(online, degraded bool)
	// OnReach is called when no DHT node answers, and when one does again.
	OnReach func(answering bool)
	// OnJoined is called when another part of the network has been found, in which most of the nodes near us are.
	OnJoined func()
	// OnNetworkChange is called when this machine's addresses have changed.
	OnNetworkChange func()
}
