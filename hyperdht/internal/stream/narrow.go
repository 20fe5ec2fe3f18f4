package stream

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// narrowPaths lists the hosts to which packets of the usual size got lost: streams to them begin with smaller ones, and search
// upwards. An entry ends narrowTime after a stream has found the path narrow, or with a stream that has found it wide. The entry
// that was confirmed first is the first.
type narrowPaths []narrowPath

type narrowPath struct {
	host netip.Addr
	seen host.Instant
}

// has reports whether the path to a host is narrow.
func (n narrowPaths) has(a netip.Addr, now host.Instant) bool {
	return slices.ContainsFunc(n, func(p narrowPath) bool { return p.host == a && now.Sub(p.seen) < narrowTime })
}

// add notes that the path to a host is narrow now.
func (n *narrowPaths) add(a netip.Addr, now host.Instant) {
	n.remove(a)
	if len(*n) == maxNarrow {
		*n = (*n)[1:]
	}
	*n = append(*n, narrowPath{a, now})
}

func (n *narrowPaths) remove(a netip.Addr) {
	*n = slices.DeleteFunc(*n, func(p narrowPath) bool { return p.host == a })
}

// learnWidth notes what a stream has found out that began with small packets.
func (s *Stream) learnWidth() {
	switch a := s.RemoteAddr().Addr(); s.machine.Width() {
	case udx.Wide:
		s.table.narrow.remove(a)
	case udx.Narrow:
		s.table.narrow.add(a, s.now())
	}
}
