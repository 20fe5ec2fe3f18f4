package rpc

import "math/bits"

// seen finds a candidate of a query by its address, in one block of memory without pointers: a lookup asks for twenty addresses
// with each answer, and most of them it has met.
//
// A slot holds an address and, behind it, the number of its candidate plus one; zero is free. An address whose slot is taken has
// the next one. At most three of four slots are taken, and a query has at most maxCandidates, so that addresses chosen to share a
// slot cost a bounded search.
type seen struct {
	slots []uint64 // a power of two
	n     int
}

const (
	minSeen     = 128 // slots at first: most lookups among ten thousand nodes meet fewer than a hundred
	addrKeyBits = 48
)

// get returns the number of the candidate with an address.
func (s *seen) get(key addrKey) (number int, ok bool) {
	if s.n == 0 {
		return 0, false
	}
	slot := s.slots[s.find(key)]
	return int(slot>>addrKeyBits) - 1, slot != 0
}

// put adds an address that is not there yet.
func (s *seen) put(key addrKey, number int) {
	if 4*s.n >= 3*len(s.slots) {
		s.grow()
	}
	s.slots[s.find(key)] = uint64(number+1)<<addrKeyBits | uint64(key)
	s.n++
}

// clear removes all addresses.
func (s *seen) clear() {
	clear(s.slots)
	s.n = 0
}

// find returns the slot of an address, or the one where it would be.
func (s *seen) find(key addrKey) int {
	mask := len(s.slots) - 1
	at := int(uint64(key) * spread >> (64 - bits.Len(uint(mask))))
	for ; s.slots[at] != 0 && addrKey(s.slots[at]&(1<<addrKeyBits-1)) != key; at = (at + 1) & mask {
	}
	return at
}

// spread is 2^64 divided by the golden ratio: neighbouring addresses get distant slots.
const spread = 0x9e3779b97f4a7c15

func (s *seen) grow() {
	old := s.slots
	s.slots = make([]uint64, max(minSeen, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			s.slots[s.find(addrKey(slot&(1<<addrKeyBits-1)))] = slot
		}
	}
}
