package stream

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// RelayTo makes s one leg of a relay: whatever s receives leaves through to, with to's remote id and
// otherwise untouched, and s itself takes no part in the stream any more. Both legs are relayed into
// each other for both directions. A leg can have one target; a second call changes it. The end of to ends s.
func (s *Stream) RelayTo(to *Stream) {
	if s.closed || s.target == to {
		return
	}
	if to.closed {
		s.Destroy(ErrReset)
		return
	}
	if s.target != nil {
		s.target.removeSource(s)
	}
	s.target = to
	to.sources = append(to.sources, s)
}

// Relayed is how many packets this leg has passed on.
func (s *Stream) Relayed() uint64 { return s.relayed }

// relay passes a packet on. Nothing is queued: what finds the other leg unconnected is lost, and the
// ends repair it (spec/udx.md §13).
func (s *Stream) relay(b []byte) {
	to := s.target
	if to.Connected() {
		buf := append(s.table.relay[:0], b...)
		s.table.relay = buf
		udx.PutStreamID(buf, to.RemoteID())
		s.table.stats.Relayed++
		s.relayed++
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
	if s.target != nil {
		s.target.removeSource(s)
		s.target = nil
	}
	sources := s.sources
	s.sources = nil
	for _, leg := range sources {
		leg.machine.Abandon()
		leg.target = nil
		if !leg.closed {
			leg.finish(err)
		}
	}
}

func (s *Stream) removeSource(leg *Stream) {
	if i := slices.Index(s.sources, leg); i >= 0 {
		s.sources = slices.Delete(s.sources, i, i+1)
	}
}
