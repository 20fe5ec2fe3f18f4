package rpc

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
)

// candidates owns the nodes that a query knows of, the order of asking them, and their referrers.
type candidates struct {
	seen      seen
	made      [][]candidate // blocks of candidatesPerBlock, in the order of coming
	pending   []uint16      // their numbers, a stack: the last is asked first
	referrers []addrKey     // those that answered with nodes
}

// candidate is a node that the query knows of.
type candidate struct {
	id        id.NodeID
	addr      addrKey
	depth     uint16 // 1 for a node that was known, one more for each that had to be asked to learn of it
	state     candidateState
	once      bool                 // is asked without repetition
	bootstrap bool                 // is not in the table, and not waited for where others answer
	named     uint8                // by how many
	referrers [maxReferrers]uint16 // the first nodes that named it, as indices into candidates.referrers
}

// candidatesPerBlock is the number of candidates that are allocated together: as many as an answer names.
const candidatesPerBlock = kad.K

func (cs *candidates) number(n int) *candidate {
	return &cs.made[n/candidatesPerBlock][n%candidatesPerBlock]
}

// clear removes all, and keeps their memory.
func (cs *candidates) clear() {
	cs.seen.clear()
	cs.pending, cs.referrers = cs.pending[:0], cs.referrers[:0]
}

// at is the candidate with an address, or nil.
func (cs *candidates) at(key addrKey) *candidate {
	if n, ok := cs.seen.get(key); ok {
		return cs.number(n)
	}
	return nil
}

// add adds a node that is not there yet. It is asked next, or in the order of the distance to nearest, if that is not nil.
func (cs *candidates) add(key addrKey, node id.NodeID, depth uint16, nearest *id.Target) *candidate {
	number := cs.seen.n
	if number/candidatesPerBlock == len(cs.made) {
		cs.made = append(cs.made, make([]candidate, candidatesPerBlock))
	}
	c := cs.number(number)
	*c = candidate{id: node, addr: key, depth: depth}
	cs.seen.put(key, number)
	at := len(cs.pending)
	for nearest != nil && at > 0 && id.Closer(*nearest, cs.number(int(cs.pending[at-1])).id, node) < 0 {
		at--
	}
	cs.pending = slices.Insert(cs.pending, at, uint16(number))
	return c
}

// next takes the one to ask next. There has to be one.
func (cs *candidates) next() *candidate {
	last := len(cs.pending) - 1
	number := cs.pending[last]
	cs.pending = cs.pending[:last]
	return cs.number(int(number))
}

// answered records a node that answers with nodes: it is the referrer of those that follow. There are at most as many as there
// are candidates.
func (cs *candidates) answered(from netip.AddrPort) { cs.referrers = append(cs.referrers, keyOf(from)) }

// referred notes that the last one that answered has named a candidate.
func (cs *candidates) referred(c *candidate) {
	if c.named < maxReferrers {
		c.referrers[c.named] = uint16(len(cs.referrers) - 1)
		c.named++
	}
}

// offer adds a node that referrer named, if it is closer than the known ones and not this node. It
// reports false if it is not closer.
func (q *Query) offer(addr, referrer netip.AddrPort, depth uint16) bool {
	key := keyOf(addr)
	if c := q.candidates.at(key); c != nil {
		switch {
		case !referrer.IsValid():
		case c.state == candidateDown:
			q.e.sendDownHint(referrer, addr, q.cfg.Group)
		case c.state == candidateWaiting:
			q.candidates.referred(c)
		}
		return q.closest.Closer(c.id)
	}
	node := q.e.nodes.idOf(addr)
	if referrer.IsValid() && node == q.e.nodes.table.Self() {
		return true // others name us, too
	}
	c := q.enter(key, node, depth)
	if c == nil {
		return false
	}
	if referrer.IsValid() {
		q.candidates.referred(c)
	}
	return true
}

// offerNew adds a node that was not named by a referrer. It returns nil if it is a candidate already, or not closer.
func (q *Query) offerNew(addr netip.AddrPort) *candidate {
	key := keyOf(addr)
	if q.candidates.at(key) != nil {
		return nil
	}
	return q.enter(key, q.e.nodes.idOf(addr), 1)
}

// enter adds a node that is no candidate yet. It returns nil if it is not closer than the known ones.
func (q *Query) enter(key addrKey, node id.NodeID, depth uint16) *candidate {
	if !q.closest.Closer(node) || q.candidates.seen.n >= maxCandidates {
		return nil
	}
	var nearest *id.Target
	if q.cfg.NearestFirst {
		nearest = &q.cfg.Target
	}
	return q.candidates.add(key, node, depth, nearest)
}

// addrKey is an IPv4 address with its port in few bytes, and cheap as a map key.
type addrKey uint64

func keyOf(addr netip.AddrPort) addrKey {
	a := addr.Addr().As4()
	return addrKey(binary.BigEndian.Uint32(a[:]))<<16 | addrKey(addr.Port())
}

func (k addrKey) addr() netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(k>>16))
	return netip.AddrPortFrom(netip.AddrFrom4(a), uint16(k))
}
