package stream

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// RelayTo makes s one leg of a relay: whatever s receives leaves through to, with to's remote id and
// otherwise untouched, and s itself takes no part in the stream any more. Both legs are relayed into
// each other for both directions. A leg can have one target; a second call changes it. The end of to ends s.
func (s *Stream) RelayTo(to *Stream) {
	if s.closed || s.forward.target == to {
		return
	}
	if to.closed {
		s.Destroy(ErrReset)
		return
	}
	if s.forward.target != nil {
		s.forward.target.forward.removeSource(s)
	}
	s.forward.target = to
	to.forward.sources = append(to.forward.sources, s)
}

// Relayed returns the number of packets that this leg has forwarded.
func (s *Stream) Relayed() uint64 { return s.forward.packets }

// relay passes a packet on. Nothing is queued: what finds the other leg unconnected is lost, and the
// ends repair it (spec/udx.md §13).
func (s *Stream) relay(b []byte) {
	to := s.forward.target
	if to.Connected() {
		buf := append(s.table.relay[:0], b...)
		s.table.relay = buf
		udx.PutStreamID(buf, to.RemoteID())
		s.table.stats.Relayed++
		s.forward.packets++
		to.socket.Send(to.RemoteAddr(), 0, buf)
	} else {
		s.table.stats.RelayDropped++
	}
	if udx.PeekFlags(b)&udx.FlagDestroy != 0 {
		s.machine.Abandon()
		s.finish(ErrReset)
	}
}

// unlink takes a closed stream out of its relay. Legs that relay into it have nowhere to go.
func (s *Stream) unlink(err error) {
	if s.forward.target != nil {
		s.forward.target.forward.removeSource(s)
		s.forward.target = nil
	}
	sources := s.forward.sources
	s.forward.sources = nil
	for _, leg := range sources {
		leg.machine.Abandon()
		leg.forward.target = nil
		if !leg.closed {
			leg.finish(err)
		}
	}
}

// forwarding makes a stream one leg of a relay: what it receives leaves through target, and sources relay into it.
type forwarding struct {
	target  *Stream
	sources []*Stream
	packets uint64 // passed on to target
}

// isLeg reports whether the stream is part of a relay.
func (f *forwarding) isLeg() bool { return f.target != nil || len(f.sources) > 0 }

func (f *forwarding) removeSource(leg *Stream) {
	if i := slices.Index(f.sources, leg); i >= 0 {
		f.sources = slices.Delete(f.sources, i, i+1)
	}
}
