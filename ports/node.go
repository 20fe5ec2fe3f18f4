package ports

import (
	"net/netip"
	"time"
)

// Node is the DHT node below a transport, as seen by clients and scrapers.
type Node interface {
	// OnMoved adds a listener for changes of this machine's reachability. cancel removes it.
	OnMoved(f func(Move)) (cancel func())
	// OnNetwork adds a listener that is called when no DHT node answers, and when one does again. If none answers already, it is
	// called in a later turn. It is not called while DHT nodes answer from the start. cancel removes it.
	OnNetwork(f func(Network)) (cancel func())
	// Status returns a snapshot of the node.
	Status() NodeStatus
	// Close unannounces all servers, closes all connections, and closes the sockets. Pending callbacks come before done; nothing
	// is called after it. Closing twice calls both dones.
	Close(done func())
}

// Move is a kind of change of this machine's reachability.
type Move uint8

const (
	// MoveElsewhere means that existing connections may be dead: the machine has another public address, its NAT another mapping,
	// the network is back, or it has resumed from a sleep.
	MoveElsewhere Move = iota
	// MoveIntoReach means that there is no firewall after all: connections go on, and peers that could not connect before now
	// can.
	MoveIntoReach
	// MoveOver means that connections made from now on take another way than those before, which still work. They end when their
	// requests have ended, and should be replaced before.
	MoveOver
)

// Network reports whether DHT nodes answer, and the known causes if not.
type Network struct {
	Answering      bool
	Nodes          int              // known ones
	BootstrapNodes int              // tried
	Own            []netip.AddrPort // of their addresses that are this node's own
	NoIPv4         bool             // this machine has no IPv4 address
	TURN           error            // why no TURN server relays; nil without one
}

// NodeStatus is a snapshot of the DHT node.
type NodeStatus struct {
	Uplink     string           // of a node that may use TURN servers: "udp", or "turn" while one carries the datagrams; else empty
	State      string           // "starting", "online", "degraded", "offline", "closed"
	Local      netip.AddrPort   // of the bound socket; invalid without one
	Addrs      []netip.AddrPort // this machine's own view
	PublicAddr netip.AddrPort   // as seen by others; invalid while unknown
	Known      netip.AddrPort   // the public address that is configured, at which clients reach the node without the DHT; invalid if there is none
	Mapping    PortMapping
	Firewalled bool
	Ephemeral  bool
	NAT        string // "unknown", "open", "consistent", "random"
	Nodes      int    // in the routing table
	Announced  int    // DHT nodes that hold the server's record; the minimum over several servers
	Streams    int
	// InReserve is the number of working relays that are kept beside the direct paths of connections.
	InReserve int
	Counters  []Counter
}

// PortMapping is the mapping of the node's port at the router of its network.
type PortMapping struct {
	State    string         // "" if none is wanted so far, "asking", "verifying", "active", "failed"
	Protocol string         // "PCP" or "NAT-PMP"; empty before the router has answered
	Router   netip.Addr     // invalid if it is not known
	External netip.AddrPort // that the router has mapped; invalid if there is none
	Problem  string         // that the mapping failed for
}

// Counter is a metric that counts since the node started.
type Counter struct {
	Name  string // without prefix and without _total: "dht_queries", "holepunch_attempts"
	Help  string
	Value uint64
	// Labels distinguish counters of the same name: names and values from fixed sets, all with the same names.
	Labels []Label
}

// Label is one of a counter's labels.
type Label struct{ Name, Value string }

// NodeCache keeps the addresses of DHT nodes over restarts, so that a start needs no bootstrap node and fewer round trips.
type NodeCache interface {
	// Save replaces the saved nodes, the most recently active first. It does not wait. Lost nodes only make the next start
	// slower.
	Save(nodes []netip.AddrPort)
	// Flush calls done, on any goroutine, once earlier saves are written or have failed.
	Flush(done func())
}

// Clock is wall time. It may jump, and it goes on while the program is down; so it is for displayed times and for restarts. While
// a program runs, timers use steady time (host.Host).
type Clock interface {
	Now() time.Time
}
