package stream

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// flushes are the calls of Flush that wait, by stream, the earliest first: few streams have any at a time.
type flushes map[*Stream][]*flushWait

// flushWait is a call of Flush.
type flushWait struct {
	upTo udx.Seq
	done func(error)
}

// Flush calls done once, at the end of a turn: with nil when the peer has acknowledged all bytes written before, and with the
// reason of the end of the stream, or ErrClosed, if that comes first. cancel makes done not run; it has no effect later.
func (s *Stream) Flush(done func(error)) (cancel func()) {
	w := &flushWait{s.machine.Written(), done}
	s.table.flushes[s] = append(s.table.flushes[s], w)
	s.schedule()
	return func() {
		if at := slices.Index(s.table.flushes[s], w); at >= 0 {
			s.table.flushes.remove(s, at)
		}
	}
}

// remove removes a wait.
func (f flushes) remove(s *Stream, at int) {
	if f[s] = slices.Delete(f[s], at, at+1); len(f[s]) == 0 {
		delete(f, s)
	}
}

// reportAcknowledged ends the waits for bytes that the peer has acknowledged.
func (s *Stream) reportAcknowledged() {
	if len(s.table.flushes) == 0 {
		return
	}
	acked := s.machine.Acknowledged()
	for waits := s.table.flushes[s]; len(waits) > 0 && !acked.Before(waits[0].upTo); waits = s.table.flushes[s] {
		done := waits[0].done
		s.table.flushes.remove(s, 0)
		done(nil)
	}
}

// failFlushes ends all waits of a stream that is over.
func (s *Stream) failFlushes(err error) {
	waits := s.table.flushes[s]
	delete(s.table.flushes, s)
	for _, w := range waits {
		w.done(err)
	}
}
