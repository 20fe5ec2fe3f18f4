package udx

import (
	"math/rand/v2"
	"testing"
)

// A set that moves along the numbers, over their wrap, holds what a map holds.
func TestSetOfNumbersMovesAndGrows(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var x seqSet
		members := map[Seq]bool{}
		first := Seq(1<<32 - 1000)
		next := first
		for range 3000 {
			switch r.IntN(4) {
			case 0, 1:
				x.room(first, next)
				x.add(next)
				members[next] = true
				next++
			case 2:
				if s := first + Seq(r.Uint32N(uint32(next-first)+1)); s != next {
					x.remove(s)
					delete(members, s)
				}
			case 3:
				for first != next && r.IntN(3) > 0 {
					x.remove(first)
					delete(members, first)
					first++
				}
			}
			from := first + Seq(r.Uint32N(uint32(next-first)+1))
			want := from
			for want != next && !members[want] {
				want++
			}
			if got := x.next(from, next); got != want || x.n != len(members) {
				t.Fatalf("seed %d: after %d comes %d, want %d; %d members, want %d", seed, from, got, want, x.n, len(members))
			}
		}
	}
}
