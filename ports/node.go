package ports

import (
	"net/netip"
	"time"
)

// Node is the DHT node below a transport, as clients and scrapers alike see it.
type Node interface {
	// OnMoved adds what runs when this machine may be reachable in another way than before. The result takes f out
	// again.
	OnMoved(f func(Move)) (cancel func())
	// OnNetwork adds what runs when no DHT node answers, and when one does again. If that is so already, f runs in a later
	// turn. It does not run while all is well from the start. The result takes f out again.
	OnNetwork(f func(Network)) (cancel func())
	// Status is a snapshot of the node below.
	Status() NodeStatus
	// Close unannounces all servers, tells all peers, and lets go of the sockets. Callbacks of things that were
	// still open come before done; nothing is called after it. Closing twice calls both dones.
	Close(done func())
}

// Move is how this machine has become reachable in another way.
type Move uint8

const (
	// MoveElsewhere means that connections from before may lead nowhere: the machine has another public address, its NAT
	// another mapping, the network is back, or it has woken from a sleep.
	MoveElsewhere Move = iota
	// MoveIntoReach means that there is no firewall after all: connections go on, and peers that could not connect now can.
	MoveIntoReach
)

// Network is whether DHT nodes answer, and what is known of why not.
type Network struct {
	Answering      bool
	Nodes          int              // known ones
	BootstrapNodes int              // tried
	Own            []netip.AddrPort // of their addresses that are this node's own
	NoIPv4         bool             // this machine has no IPv4 address
}

// NodeStatus is a snapshot of the DHT node.
type NodeStatus struct {
	State      string           // "starting", "online", "degraded", "offline", "closed"
	Local      netip.AddrPort   // where the socket is bound; invalid while it is not
	Addrs      []netip.AddrPort // under which this machine is known to itself
	PublicAddr netip.AddrPort   // as others see us; invalid while unknown
	Firewalled bool
	Ephemeral  bool
	NAT        string // "unknown", "open", "consistent", "random"
	Nodes      int    // in the routing table
	Announced  int    // DHT nodes that hold the record of the server; of the one that the fewest hold, with several
	Streams    int
	// InReserve is how many relays are kept beside the direct paths of connections, and answer.
	InReserve int
	Counters  []Counter
}

// Counter is a count since the node started that is worth a metric.
type Counter struct {
	Name  string // without prefix and without _total: "dht_queries", "holepunch_attempts"
	Help  string
	Value uint64
	// Labels tell counters of the same name apart: names and values from fixed sets, all with the same names.
	Labels []Label
}

// Label is one of a counter's labels.
type Label struct{ Name, Value string }

// NodeCache keeps the addresses of DHT nodes over restarts, so that a start needs no bootstrap node and fewer round trips.
type NodeCache interface {
	// Save puts nodes in the place of those from before, the one heard from last first. It does not wait. What is not saved costs
	// the next start some time.
	Save(nodes []netip.AddrPort)
	// Flush calls done, on any goroutine, once what was saved before is written or has failed.
	Flush(done func())
}

// Clock is wall time. It may jump, and it goes on while the program is down; so it is for times that are shown and for
// bridging restarts. While a program runs, steady time (host.Host) judges what is due.
type Clock interface {
	Now() time.Time
}
