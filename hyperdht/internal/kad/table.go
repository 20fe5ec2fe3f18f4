package kad

import (
	"bytes"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const lastBucket = len(id.NodeID{})*8 - 1

// Table is the routing table (npm kademlia-routing-table): 256 buckets that are never split. Bucket i
// holds nodes that share exactly i leading bits with our own id, at most k of them, sorted by id.
type Table struct {
	self    id.NodeID
	k       int
	size    int
	buckets [][]*Node // as many as were needed so far: few, because deep buckets are empty
}

// NewTable makes an empty table around our own id, with buckets of k nodes.
func NewTable(self id.NodeID, k int) *Table {
	return &Table{self: self, k: k}
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

// Bucket is the bucket that node belongs to. The slice is the table's own.
func (t *Table) Bucket(node id.NodeID) []*Node {
	if i := t.BucketIndex(node); i < len(t.buckets) {
		return t.buckets[i]
	}
	return nil
}

// Add puts n into its bucket, replacing a node of the same id. It reports false if the bucket is full.
func (t *Table) Add(n *Node) bool {
	i := t.BucketIndex(n.ID)
	for len(t.buckets) <= i {
		t.buckets = append(t.buckets, nil)
	}
	b := t.buckets[i]
	at, found := search(b, n.ID)
	if found {
		b[at] = n
		return true
	}
	if len(b) >= t.k {
		return false
	}
	b = append(b, nil)
	copy(b[at+1:], b[at:])
	b[at] = n
	t.buckets[i] = b
	t.size++
	return true
}

// Remove takes a node out and reports whether it was there.
func (t *Table) Remove(node id.NodeID) bool {
	i := t.BucketIndex(node)
	if i >= len(t.buckets) {
		return false
	}
	b := t.buckets[i]
	at, found := search(b, node)
	if !found {
		return false
	}
	copy(b[at:], b[at+1:])
	b[len(b)-1] = nil
	t.buckets[i] = b[:len(b)-1]
	t.size--
	return true
}

// Get is the node of that id, nil if it is not in the table.
func (t *Table) Get(node id.NodeID) *Node {
	b := t.Bucket(node)
	if at, found := search(b, node); found {
		return b[at]
	}
	return nil
}

// At is the n-th node in bucket order, for n in [0, Len()). Drawing n gives a random node.
func (t *Table) At(n int) *Node {
	for _, b := range t.buckets {
		if n < len(b) {
			return b[n]
		}
		n -= len(b)
	}
	return nil
}

// AppendClosest appends up to n nodes in the order in which they go onto the wire: the target's
// bucket and downwards to bucket 0, then the buckets behind the target's. That is not exact XOR
// order, and peers rely on nothing better.
func (t *Table) AppendClosest(dst []*Node, target id.Target, n int) []*Node {
	d := t.BucketIndex(id.NodeID(target))
	end := len(dst) + n
	for i := min(d, len(t.buckets)-1); i >= 0 && len(dst) < end; i-- {
		dst = appendUpTo(dst, t.buckets[i], end)
	}
	for i := d + 1; i < len(t.buckets) && len(dst) < end; i++ {
		dst = appendUpTo(dst, t.buckets[i], end)
	}
	return dst
}

// All lists every node, nearest bucket first.
func (t *Table) All() []*Node {
	return t.AppendClosest(make([]*Node, 0, t.size), id.Target(t.self), t.size)
}

func appendUpTo(dst, bucket []*Node, end int) []*Node {
	return append(dst, bucket[:min(len(bucket), end-len(dst))]...)
}

// search finds the place of node in a sorted bucket.
func search(b []*Node, node id.NodeID) (at int, found bool) {
	lo, hi := 0, len(b)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := bytes.Compare(node[:], b[mid].ID[:]); {
		case c == 0:
			return mid, true
		case c < 0:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return lo, false
}
