package stream

import (
	"net/netip"
	"slices"
)

// narrowPaths are the hosts to which packets of the usual size got lost: streams to them begin with smaller ones. The one
// that was found first goes first.
type narrowPaths []netip.Addr

func (n narrowPaths) has(a netip.Addr) bool { return slices.Contains(n, a) }

func (n *narrowPaths) add(a netip.Addr) {
	if n.has(a) {
		return
	}
	if len(*n) == maxNarrow {
		*n = (*n)[1:]
	}
	*n = append(*n, a)
}
