package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// population owns the nodes that are known: the routing table, the order in which they were heard from, the checks of those
// that may be gone, and the addresses of nodes that are not in the table any more, not yet or never.
type population struct {
	tick   kad.Tick                  // of maintenance, the clock of the table
	swaps  int32                     // full buckets that are being checked
	checks int                       // nodes being checked
	filter func(netip.AddrPort) bool // refuses addresses; nil admits all
	idOf   func(netip.AddrPort) id.NodeID
	list   kad.List // those heard from last first
	table  kad.Table
	self   []netip.AddrPort // that were asked and turned out to be our own
	known  []netip.AddrPort // of an earlier run, until bootstrapped
	former []netip.AddrPort // that stopped answering, the longest gone first
}

func (p *population) admits(addr netip.AddrPort) bool { return p.filter == nil || p.filter(addr) }

// at is the node of the table with the id that an address leads to, or nil.
func (p *population) at(addr netip.AddrPort) *kad.Node { return p.table.Get(p.idOf(addr)) }

// verify is the id of a sender: what it claims, if that fits its address.
func (p *population) verify(claimed *id.NodeID, from netip.AddrPort) (node id.NodeID, ok bool) {
	if claimed == nil {
		return node, false
	}
	n := p.table.Get(*claimed)
	if n != nil && n.Addr() == from || p.idOf(from) == *claimed { // hashing takes longer than looking
		return *claimed, true
	}
	return node, false
}

// touch notes that a node was heard from.
func (p *population) touch(n *kad.Node) {
	n.Pinged, n.Seen = p.tick, p.tick
	p.list.Touch(n)
}

// add adds a node and returns it if it was not in the table before. Full means that its bucket has no room.
func (p *population) add(node id.NodeID, addr netip.AddrPort) (added *kad.Node, full bool) {
	if node == p.table.Self() {
		return nil, false
	}
	n := p.table.Insert(node, addr)
	if n == nil {
		return nil, p.table.Get(node) == nil
	}
	n.Added = p.tick
	p.touch(n)
	return n, false
}

func (p *population) remove(n *kad.Node) {
	if p.list.Remove(n) {
		p.table.Remove(n.ID)
		p.gone(n.Addr())
	}
}

// gone notes a node that has stopped answering.
func (p *population) gone(addr netip.AddrPort) {
	if slices.Contains(p.former, addr) || p.at(addr) != nil {
		return
	}
	if len(p.former) >= maxFormer {
		p.former = slices.Delete(p.former, 0, 1)
	}
	p.former = append(p.former, addr)
}

// metSelf notes an address that turned out to be our own, which must count neither as a bootstrap node nor as a node of the
// table.
func (p *population) metSelf(addr netip.AddrPort) {
	if !slices.Contains(p.self, addr) && len(p.self) < maxSelf {
		p.self = append(p.self, addr)
	}
	if n := p.at(addr); n != nil && p.list.Remove(n) {
		p.table.Remove(n.ID)
	}
}

// notSelf notes that an address leads to another node.
func (p *population) notSelf(addr netip.AddrPort) {
	if len(p.self) > 0 {
		p.self = slices.DeleteFunc(p.self, func(a netip.AddrPort) bool { return a == addr })
	}
}

// setKnown takes the nodes of an earlier run that are no bootstrap nodes.
func (p *population) setKnown(nodes []netip.AddrPort, bootstrap []Bootstrap) {
	for _, addr := range nodes {
		entry := slices.ContainsFunc(bootstrap, func(b Bootstrap) bool { return netip.AddrPortFrom(b.Addr, b.Port) == addr })
		if isUsable(addr) && !entry && len(p.known) < MaxKnown {
			p.known = append(p.known, addr)
		}
	}
}

// sampleDue reports whether a sample of our address by a node counts, and notes that it came.
func (p *population) sampleDue(n *kad.Node) bool {
	due := n.Sampled == 0 || p.tick-n.Sampled >= oldNode
	if due {
		n.Sampled = p.tick
	}
	return due
}

// contested is the node of a newcomer's full bucket that has to show that it is alive: the one not dealt with for longest.
// Nil means that the newcomer gets no place now.
//
// If it answers, the bucket is left alone for a minute. In the reference implementation each stranger that we meet in a lookup,
// or that asks us in one, costs us a ping, and most strangers belong into the same one or two buckets, those of far nodes.
func (p *population) contested(newcomer id.NodeID) *kad.Node {
	if p.swaps >= maxSwaps || p.tick < p.table.Quiet(newcomer) {
		return nil
	}
	var oldest *kad.Node
	for _, n := range p.table.Bucket(newcomer) {
		if n.Pinged == p.tick {
			continue
		}
		if oldest == nil || n.Pinged < oldest.Pinged || n.Pinged == oldest.Pinged && n.Added < oldest.Added {
			oldest = n
		}
	}
	if oldest != nil && p.tick-oldest.Pinged < recentNode && p.tick-oldest.Added > oldNode {
		return nil // old and alive: worth more than any newcomer
	}
	return oldest
}

// hinted is the node to check because another one reports it down; nil for none.
func (p *population) hinted(addr netip.AddrPort) *kad.Node {
	if p.checks >= maxChecks {
		return nil
	}
	n := p.at(addr)
	if n == nil || n.Pinged == p.tick && n.DownHints > 0 {
		return nil
	}
	n.DownHints++
	return n
}

// news reports whether there is a node among those named that the table lacks and has room for.
func (p *population) news(named []netip.AddrPort) bool {
	return slices.ContainsFunc(named, func(addr netip.AddrPort) bool {
		if !isUsable(addr) || !p.admits(addr) {
			return false
		}
		node := p.idOf(addr)
		return node != p.table.Self() && p.table.Get(node) == nil && p.table.HasRoom(node)
	})
}

// renumber arranges the table around another id. It reports false if that was its id before.
func (p *population) renumber(self id.NodeID) bool {
	if p.table.Self() == self {
		return false
	}
	old := p.table.All()
	p.table = kad.NewTable(self, kad.K)
	for _, n := range old {
		if n.ID == self || !p.table.Add(n) {
			p.list.Remove(n)
		}
	}
	return true
}

// some is the id of a random known node, or our own without any. Draw returns a number below its argument.
func (p *population) some(draw func(n int) int) id.NodeID {
	if n := p.table.Len(); n > 0 {
		return p.table.At(draw(n)).ID
	}
	return p.table.Self()
}

// addrs lists the known nodes, those heard from last first.
func (p *population) addrs() []netip.AddrPort {
	list := make([]netip.AddrPort, 0, p.list.Len())
	for n := p.list.Latest(); n != nil; n = n.Older() {
		list = append(list, n.Addr())
	}
	return list
}

// learn takes note of a persistent node that was heard from and of the address it sees us at
// (dht-rpc index.js, _addNodeFromNetwork). Sample is false for what arrives on another than the main
// socket: that says nothing new about the main socket's address.
func (e *Endpoint) learn(sample bool, node id.NodeID, from, to netip.AddrPort) {
	if !e.nodes.admits(from) {
		return
	}
	n := e.nodes.table.Get(node)
	if n == nil {
		e.meet(node, from, to)
		return
	}
	if sample && e.nodes.sampleDue(n) {
		e.sample(to, from)
	}
	e.nodes.touch(n)
}

// meet adds a node, or contests a place in its bucket for it. To is our address as it sees it, if it told us.
func (e *Endpoint) meet(node id.NodeID, addr, to netip.AddrPort) {
	if e.addNode(node, addr, to) {
		e.contest(node, addr, to)
	}
}

// addNode adds a node, and takes its sample of our address. It reports whether its bucket is full.
func (e *Endpoint) addNode(node id.NodeID, addr, to netip.AddrPort) (full bool) {
	n, full := e.nodes.add(node, addr)
	if n != nil && to.IsValid() {
		n.Sampled = e.nodes.tick
		if !e.address.counted(addr, e.nodes.tick) {
			e.sample(to, addr)
		}
	}
	return full
}

// contest pings a node of a full bucket, and gives its place to the newcomer if it does not answer (dht-rpc index.js,
// _onfullrow).
func (e *Endpoint) contest(newcomer id.NodeID, addr, to netip.AddrPort) {
	if !e.bootstrapped || !e.running() {
		return
	}
	p := &e.nodes
	oldest := p.contested(newcomer)
	if oldest == nil {
		return
	}
	p.swaps++
	p.table.SetQuiet(newcomer, p.tick+recentNode)
	e.ping(oldest, func(alive bool) {
		p.swaps--
		if !alive {
			p.table.SetQuiet(newcomer, 0)
			p.remove(oldest)
			e.addNode(newcomer, addr, to)
		}
	})
}

// check pings a node and removes it if it is not there, or no longer persistent.
func (e *Endpoint) check(n *kad.Node) {
	e.nodes.checks++
	e.ping(n, func(alive bool) {
		e.nodes.checks--
		if !alive {
			e.nodes.remove(n)
		}
	})
}

// ping finds out whether a node is still what it was.
//
// The reference implementation asks whether the tick it was last seen in has changed, and so takes a node that was
// already seen in this tick for dead when it answers. Here the answer itself counts too.
func (e *Endpoint) ping(n *kad.Node, done func(alive bool)) {
	n.Pinged = e.nodes.tick
	seen := n.Seen
	e.Ping(n.Addr(), nil, nil, func(r Reply, err error) {
		alive := err == nil && (n.Seen != seen || r.HasID && r.ID == n.ID)
		// What we broke off ourselves says nothing about the node.
		done(alive || err == ErrClosed || err == ErrSuspended || err == ErrBusy)
	})
}

// pingSome checks the nodes that were not heard from for longest (dht-rpc index.js, _pingSome).
func (e *Endpoint) pingSome() {
	tick, oldest := e.nodes.tick, e.nodes.list.Oldest()
	if oldest == nil {
		e.refresh() // a tiny network: ask the bootstrap nodes again
		return
	}
	count := 5
	if e.calls.table.n > 2 {
		count = 3
	}
	if tick-oldest.Pinged < recentNode {
		count = 2
	}
	for ; count > 0 && oldest != nil && oldest.Pinged != tick; count-- {
		e.check(oldest)
		oldest = oldest.Newer()
	}
}

// nodeLost removes the node that a call went to, which has not answered at all.
func (e *Endpoint) nodeLost(c *Call) {
	if n := e.nodes.at(c.to); n != nil {
		e.nodes.remove(n)
	}
}

// sendDownHint reports to a node that one it named is down.
func (e *Endpoint) sendDownHint(to, down netip.AddrPort, s *CallGroup) {
	if !e.upkeep.mayHint() {
		return
	}
	var value [6]byte
	c := &Call{transmission: transmission{node: true}}
	e.request(c, &RequestOptions{To: to, Internal: true, Command: wire.CmdDownHint, Value: wire.DownHint{Node: down}.Append(value[:0]), Group: s})
}
