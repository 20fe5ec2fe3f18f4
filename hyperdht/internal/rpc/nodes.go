package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// learn takes note of a persistent node that was heard from and of the address it sees us at
// (dht-rpc index.js, _addNodeFromNetwork). Sample is false for what arrives on another than the main
// socket: that says nothing new about the main socket's address.
func (e *Endpoint) learn(sample bool, node id.NodeID, from, to netip.AddrPort) {
	if !e.admits(from) {
		return
	}
	n := e.table.Get(node)
	if n == nil {
		if !e.addNode(node, from, to) {
			e.bucketFull(node, from, to)
		}
		return
	}
	if sample && (n.Sampled == 0 || e.tick-n.Sampled >= oldNode) {
		n.Sampled = e.tick
		e.sample(to, from)
	}
	n.Pinged, n.Seen = e.tick, e.tick
	e.nodes.Touch(n)
}

// sampleUnnamed takes the address that an answerer without id sees us at. Bootstrap nodes may be such;
// nobody checks that, but no more are heard than there are bootstrap nodes.
func (e *Endpoint) sampleUnnamed(from, to netip.AddrPort) {
	if len(e.unnamed) >= max(1, len(e.cfg.Bootstrap)) || !e.admits(from) || slices.Contains(e.unnamed, from) {
		return
	}
	if !e.counted(from) {
		e.sample(to, from)
	}
	e.unnamed = append(e.unnamed, from)
}

func (e *Endpoint) admits(addr netip.AddrPort) bool {
	return e.cfg.FilterNode == nil || e.cfg.FilterNode(addr)
}

// sample feeds our address, as from sees it, into the sampler.
func (e *Endpoint) sample(to, from netip.AddrPort) {
	before := e.nat.Addr()
	e.nat.AddFrom(to, from)
	e.addressChanged(before)
}

func (e *Endpoint) addressChanged(before netip.AddrPort) {
	now := e.nat.Addr()
	if now.Addr().IsValid() {
		e.knownHost = now.Addr()
	}
	if now == before {
		return
	}
	e.h.Trace(Event{Kind: EventAddress, Addr: now})
	if e.cfg.OnAddress != nil {
		e.cfg.OnAddress(now)
	}
}

// addNode adds a node and reports whether it is in the table now or will never be: false means that its bucket is full. To
// is our address as it sees it, if it told us.
func (e *Endpoint) addNode(node id.NodeID, addr, to netip.AddrPort) bool {
	if node == e.table.Self() {
		return true
	}
	n := e.table.Insert(node, addr)
	if n == nil {
		return e.table.Get(node) != nil
	}
	n.Added, n.Pinged, n.Seen = e.tick, e.tick, e.tick
	e.nodes.Touch(n)
	if to.IsValid() {
		n.Sampled = e.tick
		if !e.counted(addr) {
			e.sample(to, addr)
		}
	}
	return true
}

func (e *Endpoint) removeNode(n *kad.Node) {
	if e.nodes.Remove(n) {
		e.table.Remove(n.ID)
		e.gone(n.Addr())
	}
}

// bucketFull pings the node of a full bucket that we have not dealt with for longest, and gives its
// place to the newcomer if it does not answer (dht-rpc index.js, _onfullrow).
//
// If it answers, the bucket is left alone for a minute. In the original each stranger that we meet in a lookup, or who
// asks us in one, costs us a ping, and most strangers belong into the same one or two buckets, those of far nodes.
func (e *Endpoint) bucketFull(newcomer id.NodeID, addr, to netip.AddrPort) {
	if !e.bootstrapped || e.suspended || e.swaps >= maxSwaps || e.tick < e.table.Quiet(newcomer) {
		return
	}
	var oldest *kad.Node
	for _, n := range e.table.Bucket(newcomer) {
		if n.Pinged == e.tick {
			continue
		}
		if oldest == nil || n.Pinged < oldest.Pinged || n.Pinged == oldest.Pinged && n.Added < oldest.Added {
			oldest = n
		}
	}
	if oldest == nil {
		return
	}
	if e.tick-oldest.Pinged < recentNode && e.tick-oldest.Added > oldNode {
		return // old and alive: worth more than any newcomer
	}
	e.swaps++
	e.table.SetQuiet(newcomer, e.tick+recentNode)
	e.ping(oldest, func(alive bool) {
		e.swaps--
		if !alive {
			e.table.SetQuiet(newcomer, 0)
			e.removeNode(oldest)
			e.addNode(newcomer, addr, to)
		}
	})
}

// check pings a node and removes it if it is not there, or no longer persistent.
func (e *Endpoint) check(n *kad.Node) {
	e.checks++
	e.ping(n, func(alive bool) {
		e.checks--
		if !alive {
			e.removeNode(n)
		}
	})
}

// ping finds out whether a node is still what it was.
//
// The original asks whether the tick it was last seen in has changed, and so takes a node that was
// already seen in this tick for dead when it answers. Here the answer itself counts too.
func (e *Endpoint) ping(n *kad.Node, done func(alive bool)) {
	n.Pinged = e.tick
	seen := n.Seen
	e.Ping(n.Addr(), nil, nil, func(r Reply, err error) {
		alive := err == nil && (n.Seen != seen || r.HasID && r.ID == n.ID)
		// What we broke off ourselves says nothing about the node.
		done(alive || err == ErrClosed || err == ErrSuspended || err == ErrBusy)
	})
}

// pingSome checks the nodes that were not heard from for longest (dht-rpc index.js, _pingSome).
func (e *Endpoint) pingSome() {
	oldest := e.nodes.Oldest()
	if oldest == nil {
		e.refresh() // a tiny network: ask the bootstrap nodes again
		return
	}
	count := 5
	if e.calls.n > 2 {
		count = 3
	}
	if e.tick-oldest.Pinged < recentNode {
		count = 2
	}
	for ; count > 0 && oldest != nil && oldest.Pinged != e.tick; count-- {
		e.check(oldest)
		oldest = oldest.Newer()
	}
}

// downHint checks a node that somebody says is down (dht-rpc index.js).
func (e *Endpoint) downHint(addr netip.AddrPort) {
	if e.checks >= maxChecks {
		return
	}
	n := e.table.Get(id.NodeIDOf(addr))
	if n != nil && (n.Pinged != e.tick || n.DownHints == 0) {
		n.DownHints++
		e.check(n)
	}
}

// sendDownHint tells a node that one it named is down.
func (e *Endpoint) sendDownHint(to, down netip.AddrPort, s *Session) {
	if e.downHints >= downHintsPerTick {
		return
	}
	e.downHints++
	var value [6]byte
	c := &Call{e: e, node: true}
	err := e.make(c, &Outgoing{To: to, Internal: true, Command: wire.CmdDownHint, Value: wire.DownHint{Node: down}.Append(value[:0]), Session: s})
	if err == nil {
		e.send(c)
	}
}
