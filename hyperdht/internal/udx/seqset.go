package udx

import "math/bits"

// seqSet is a set of numbers that lie close together, such as a part of the packets in flight, as one bit for each.
// What finds the next member looks at 64 numbers in a step: a peer that acknowledges a long run again and again, or
// makes packets lost in any order, costs no more than that.
//
// A number stands for all that are equal modulo the capacity, so the caller keeps its numbers within it; see room.
type seqSet struct {
	words []uint64 // the length is a power of two
	n     int      // members
}

func (ss *seqSet) place(s Seq) (word int, bit uint64) {
	return int(s/64) & (len(ss.words) - 1), 1 << (s % 64)
}

// has reports whether s is a member.
func (ss *seqSet) has(s Seq) bool {
	if ss.n == 0 {
		return false
	}
	word, bit := ss.place(s)
	return ss.words[word]&bit != 0
}

// add makes s a member, which it must not be yet.
func (ss *seqSet) add(s Seq) {
	word, bit := ss.place(s)
	ss.words[word] |= bit
	ss.n++
}

// remove takes s out, if it is a member.
func (ss *seqSet) remove(s Seq) {
	if ss.has(s) {
		word, bit := ss.place(s)
		ss.words[word] &^= bit
		ss.n--
	}
}

// next returns the first member of [from, to), or to if there is none.
func (ss *seqSet) next(from, to Seq) Seq {
	if ss.n == 0 {
		return to
	}
	for from != to {
		word, _ := ss.place(from)
		if rest := ss.words[word] >> (from % 64); rest != 0 {
			if ahead := Seq(bits.TrailingZeros64(rest)); ahead < to-from {
				return from + ahead
			}
			return to
		}
		from += min(64-from%64, to-from)
	}
	return to
}

// room makes place for the numbers [first, next], of which those before next may be members.
func (ss *seqSet) room(first, next Seq) {
	// A word may hold numbers of both ends, so one more is needed.
	if int(next-first) < 64*(len(ss.words)-1) {
		return
	}
	grown := seqSet{words: make([]uint64, max(2, 2*len(ss.words)))}
	for s := ss.next(first, next); s != next; s = ss.next(s+1, next) {
		grown.add(s)
	}
	*ss = grown
}
