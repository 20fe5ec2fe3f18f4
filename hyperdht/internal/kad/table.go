package kad

import (
	"bytes"
	"encoding/binary"
	"iter"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const lastBucket = len(id.NodeID{})*8 - 1

// Table is the routing table (npm kademlia-routing-table): 256 buckets that are never split. Bucket i
// holds nodes that share exactly i leading bits with our own id, at most k of them, sorted by id.
type Table struct {
	self    id.NodeID
	k       int
	size    int
	buckets []*bucket             // as many as were needed so far: few, because deep buckets are empty
	first   [firstBuckets]*bucket // room for them
}

// firstBuckets is the number of buckets in a DHT of some ten thousand nodes. A larger one has a few more.
const firstBuckets = 16

// bucket is sorted by id. Most of the time that a busy table takes is waiting for memory, so that what is looked at
// together lies together: the first bytes of all ids, and the addresses, which are what an answer names of a node.
type bucket struct {
	n     int
	quiet Tick       // it is not contested before
	keys  [K]uint32  // the first four bytes of the ids
	addrs [K]address // of the nodes
	nodes [K]*Node
	room  []Node // allocated together, not used yet
	made  int    // so far, of those that were allocated together
}

// NewTable makes an empty table around our own id, with buckets of k nodes, K at most.
func NewTable(self id.NodeID, k int) Table {
	if k > K {
		panic("kad: no bucket is that large")
	}
	return Table{self: self, k: k}
}

// Self is the id that the table is arranged around.
func (t *Table) Self() id.NodeID { return t.self }

// Len is the number of nodes.
func (t *Table) Len() int { return t.size }

// BucketIndex is the number of leading bits that node shares with our id. Our own id belongs to the
// last bucket.
func (t *Table) BucketIndex(node id.NodeID) int {
	return min(id.CommonPrefix(t.self, node), lastBucket)
}

// Bucket lists the nodes of the bucket that node belongs to. The slice is the table's own.
func (t *Table) Bucket(node id.NodeID) []*Node {
	if b := t.bucketOf(node); b != nil {
		return b.nodes[:b.n]
	}
	return nil
}

func (t *Table) bucketOf(node id.NodeID) *bucket {
	if i := t.BucketIndex(node); i < len(t.buckets) {
		return t.buckets[i]
	}
	return nil
}

// reach is the bucket that node belongs to, made if need be.
func (t *Table) reach(node id.NodeID) *bucket {
	if t.buckets == nil {
		t.buckets = t.first[:0]
	}
	i := t.BucketIndex(node)
	for len(t.buckets) <= i {
		t.buckets = append(t.buckets, nil)
	}
	if t.buckets[i] == nil {
		t.buckets[i] = new(bucket)
	}
	return t.buckets[i]
}

// Insert makes a node that is reached at addr, which must be IPv4, and puts it into its bucket. It returns nil if the
// bucket is full or has a node of that id.
func (t *Table) Insert(node id.NodeID, addr netip.AddrPort) *Node {
	b := t.reach(node)
	at, found := b.search(node)
	if found || b.n >= t.k {
		return nil
	}
	n := b.allocate()
	n.ID, n.addr = node, addressOf(addr)
	b.insert(at, n)
	t.size++
	return n
}

// Add puts n into its bucket, replacing a node of the same id. It reports false if the bucket is full.
func (t *Table) Add(n *Node) bool {
	b := t.reach(n.ID)
	at, found := b.search(n.ID)
	if found {
		b.addrs[at], b.nodes[at] = n.addr, n
		return true
	}
	if b.n >= t.k {
		return false
	}
	b.insert(at, n)
	t.size++
	return true
}

// Remove takes a node out and reports whether it was there.
func (t *Table) Remove(node id.NodeID) bool {
	b := t.bucketOf(node)
	if b == nil {
		return false
	}
	at, found := b.search(node)
	if !found {
		return false
	}
	b.n--
	copy(b.keys[at:b.n], b.keys[at+1:])
	copy(b.addrs[at:b.n], b.addrs[at+1:])
	copy(b.nodes[at:b.n], b.nodes[at+1:])
	b.nodes[b.n] = nil
	t.size--
	return true
}

// Quiet is until when the bucket that node belongs to is left alone, as its nodes have proved to be there.
func (t *Table) Quiet(node id.NodeID) Tick {
	if b := t.bucketOf(node); b != nil {
		return b.quiet
	}
	return 0
}

// SetQuiet sets what Quiet returns, if there is such a bucket.
func (t *Table) SetQuiet(node id.NodeID, until Tick) {
	if b := t.bucketOf(node); b != nil {
		b.quiet = until
	}
}

// HasRoom reports whether a node of that id is in the table or would find a place there.
func (t *Table) HasRoom(node id.NodeID) bool {
	b := t.bucketOf(node)
	if b == nil || b.n < t.k {
		return true
	}
	_, found := b.search(node)
	return found
}

// Get is the node of that id, nil if it is not in the table.
func (t *Table) Get(node id.NodeID) *Node {
	if b := t.bucketOf(node); b != nil {
		if at, found := b.search(node); found {
			return b.nodes[at]
		}
	}
	return nil
}

// At is the n-th node in bucket order, for n in [0, Len()). Drawing n gives a random node.
func (t *Table) At(n int) *Node {
	for _, b := range t.buckets {
		if b == nil {
			continue
		}
		if n < b.n {
			return b.nodes[n]
		}
		n -= b.n
	}
	return nil
}

// AppendClosest appends up to n nodes in the order in which they go onto the wire: the target's
// bucket and downwards to bucket 0, then the buckets behind the target's. That is not exact XOR
// order, and peers rely on nothing better.
func (t *Table) AppendClosest(dst []*Node, target id.Target, n int) []*Node {
	end := len(dst) + n
	for b := range t.outwards(target) {
		if len(dst) >= end {
			break
		}
		dst = append(dst, b.nodes[:min(b.n, end-len(dst))]...)
	}
	return dst
}

// AppendAddrs appends the addresses of the nodes that AppendClosest appends. It does not look at the nodes themselves.
func (t *Table) AppendAddrs(dst []netip.AddrPort, target id.Target, n int) []netip.AddrPort {
	end := len(dst) + n
	for b := range t.outwards(target) {
		if len(dst) >= end {
			break
		}
		for _, a := range b.addrs[:min(b.n, end-len(dst))] {
			dst = append(dst, a.addrPort())
		}
	}
	return dst
}

// outwards yields the buckets that there are, in the order of AppendClosest.
func (t *Table) outwards(target id.Target) iter.Seq[*bucket] {
	return func(yield func(*bucket) bool) {
		d := t.BucketIndex(id.NodeID(target))
		for i := min(d, len(t.buckets)-1); i >= 0; i-- {
			if b := t.buckets[i]; b != nil && !yield(b) {
				return
			}
		}
		for i := d + 1; i < len(t.buckets); i++ {
			if b := t.buckets[i]; b != nil && !yield(b) {
				return
			}
		}
	}
}

// All lists every node, nearest bucket first.
func (t *Table) All() []*Node {
	return t.AppendClosest(make([]*Node, 0, t.size), id.Target(t.self), t.size)
}

// search finds the place of node.
func (b *bucket) search(node id.NodeID) (at int, found bool) {
	key := keyOf(node)
	for at < b.n && b.keys[at] < key {
		at++
	}
	for ; at < b.n && b.keys[at] == key; at++ {
		if c := bytes.Compare(node[:], b.nodes[at].ID[:]); c <= 0 {
			return at, c == 0
		}
	}
	return at, false
}

func keyOf(node id.NodeID) uint32 { return binary.BigEndian.Uint32(node[:]) }

func (b *bucket) insert(at int, n *Node) {
	copy(b.keys[at+1:], b.keys[at:b.n])
	copy(b.addrs[at+1:], b.addrs[at:b.n])
	copy(b.nodes[at+1:], b.nodes[at:b.n])
	b.keys[at], b.addrs[at], b.nodes[at] = keyOf(n.ID), n.addr, n
	b.n++
}

// allocate returns a new node. The first ones are adjacent in memory; replacements are allocated singly, because
// the old ones may still be referenced.
func (b *bucket) allocate() *Node {
	if len(b.room) == 0 {
		switch b.made {
		case 0:
			b.room = make([]Node, fewNodes)
		case fewNodes:
			b.room = make([]Node, K-fewNodes)
		default:
			return new(Node)
		}
	}
	n := &b.room[0]
	b.room = b.room[1:]
	b.made++
	return n
}

// fewNodes is the number of nodes of a bucket that are allocated first: most buckets are full or almost empty.
const fewNodes = 4
