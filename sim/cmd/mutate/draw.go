package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// rank is the position of a place in the draw of a seed. It depends on nothing else, so that a draw changes only where the
// code does.
func (p *place) rank(seed uint64) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, p))
	return binary.BigEndian.Uint64(sum[:])
}

// all returns every place of the tree, in the order of a draw.
func (t *tree) all(seed uint64) []*place {
	var all []*place
	for _, s := range t.sources {
		all = append(all, t.places(s)...)
	}
	slices.SortFunc(all, func(a, b *place) int { return cmp.Compare(a.rank(seed), b.rank(seed)) })
	return all
}

// draw returns the first n places of a draw that compile and pass a filter, numbered from 1.
func (t *tree) draw(seed uint64, n int, wanted func(*place) bool) []numbered {
	var drawn []numbered
	for _, p := range t.all(seed) {
		if len(drawn) == n {
			break
		}
		if wanted(p) && t.compiles(p) {
			drawn = append(drawn, numbered{p, len(drawn) + 1})
		}
	}
	return drawn
}
