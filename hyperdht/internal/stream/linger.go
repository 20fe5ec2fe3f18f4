package stream

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// lingering remembers streams that closed cleanly, in the order they closed. The peer of one whose last
// acknowledgement was lost repeats its END for 13 s and would then report a failure although everything
// arrived. It runs no timer: entries that are too old are dropped when the table is next touched.
type lingering struct {
	byID  map[uint32]*closedStream
	queue []*closedStream
}

type closedStream struct {
	id     uint32
	socket host.Socket
	addr   netip.AddrPort
	ack    [udx.HeaderSize]byte
	until  host.Instant
}

func (l *lingering) add(c *closedStream) {
	l.drop(func(old *closedStream) bool { return len(l.queue) >= maxLingering })
	if l.byID == nil {
		l.byID = make(map[uint32]*closedStream)
	}
	l.byID[c.id] = c
	l.queue = append(l.queue, c)
}

func (l *lingering) find(id uint32, now host.Instant) *closedStream {
	l.drop(func(old *closedStream) bool { return !now.Before(old.until) })
	return l.byID[id]
}

// drop removes from the old end while the condition holds.
func (l *lingering) drop(while func(*closedStream) bool) {
	for len(l.queue) > 0 && while(l.queue[0]) {
		delete(l.byID, l.queue[0].id)
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	if len(l.queue) == 0 {
		l.queue, l.byID = nil, nil
	}
}
