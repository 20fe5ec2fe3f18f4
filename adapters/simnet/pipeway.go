package simnet

import "time"

// Way is the path between two machines as byte pipes see it, which routers do not restrict: packages outside simulate those.
type Way struct {
	// Delay is the constant part of the delay of all links on the path: queues, jitter and losses are a matter of the pipe.
	Delay time.Duration
	// Cut means that nothing arrives: of a block, a partition, or because there is no path.
	Cut bool
}

// WayTo returns the path from a host to another one, in this direction.
func (h *Host) WayTo(to *Host) Way {
	n := h.lane.Net
	if h.m == to.m {
		return Way{Delay: loopbackDelay}
	}
	up, down := h.m.chain(), to.m.chain()
	for i, a := range up {
		for j, b := range down {
			if a.uplink == b.uplink {
				w := n.way(up[:i+1], down[:j+1])
				w.Cut = n.pairs.blocked[pair{&h.m.node, &to.m.node}] ||
					n.cut != cutNone && a.uplink.router == nil && n.cut.between(a.side, b.side)
				return w
			}
		}
	}
	return Way{Cut: true}
}

// Segment returns the segment to which the machine is attached.
func (h *Host) Segment() *Segment { return h.m.uplink }

// chain returns the nodes on the path from a machine to the outside: the machine itself and its routers.
func (m *machine) chain() []*node {
	list := []*node{&m.node}
	for s := m.uplink; s.router != nil; s = s.router.uplink {
		list = append(list, &s.router.node)
	}
	return list
}

// way adds up the links from the first node of up to the first of down. Their last ones are on one segment.
func (n *Net) way(up, down []*node) (w Way) {
	for i := range len(up) - 1 {
		w.Delay += up[i].uplink.constant(up[i], up[i+1])
	}
	from, to := up[len(up)-1], down[len(down)-1]
	w.Delay += n.last(up[0], down[0], from, to, len(down) == 1)
	for i := len(down) - 2; i >= 0; i-- {
		w.Delay += n.last(up[0], down[0], down[i+1], down[i], i == 0)
	}
	return w
}

// last is the constant delay of a crossing. That to the receiver itself may have a link of the pair's own.
func (n *Net) last(sender, receiver, from, to *node, arrives bool) time.Duration {
	if own := n.pairs.link(sender, receiver); own != nil && arrives {
		return own.constant(from, to, to.uplink) + attached(from, to.uplink) + attached(to, to.uplink)
	}
	return to.uplink.constant(from, to)
}

// constant is the constant delay of a crossing of the segment.
func (s *Segment) constant(from, to *node) time.Duration {
	return s.link.constant(from, to, s) + attached(from, s) + attached(to, s)
}

// constant is the part of the delay that cross adds to all datagrams of a pair.
func (l *Link) constant(from, to *node, on *Segment) time.Duration {
	if l.Spread == 0 {
		return l.Delay
	}
	far := dice(on.salt ^ from.salt ^ to.salt)
	return l.Delay + time.Duration(far.below(int64(l.Spread)+1))
}

// attached is the delay of a node's own links to a segment.
func attached(at *node, to *Segment) (d time.Duration) {
	if at.uplink != to {
		return 0
	}
	if at.access != nil {
		d += at.access.Delay
	}
	if at.faulty != nil {
		d += at.faulty.out.Delay
	}
	return d
}
