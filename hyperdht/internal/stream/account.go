package stream

import (
	"errors"
	"math/bits"
)

// Errors that end confined streams.
var (
	// ErrOverLimit: the peer has made this side hold more than MaxConfined without proving anything.
	ErrOverLimit = errors.New("stream: unproven peer exceeds its memory limit")
	// ErrShed: all unproven peers together hold too much, and this stream was the oldest of the largest.
	ErrShed = errors.New("stream: memory for unproven peers is used up")
)

// account adds up what the streams of unproven peers hold. Each stream is measured at the end of each turn that touched
// it, so a turn may pass the bound by what one datagram brings.
type account struct {
	streams map[*Stream]struct{}
	total   int // bytes
}

// Confine bounds what the stream's peer can make this node hold, until Trust: MaxConfined for this stream, beyond which
// it ends with ErrOverLimit, and a share of a total for all such streams. When that is used up, the oldest of the
// largest ends with ErrShed. above measures what the layers above hold for the stream, in bytes, SendMemory with it where
// the peer decides how much is sent; nil is nothing.
// Call it before the first packet; a second call replaces above.
func (s *Stream) Confine(above func() int) {
	if s.closed {
		return
	}
	s.above = above
	if !s.confined {
		s.confined = true
		s.machine.Confine(confinedReceive)
		if s.table.account.streams == nil {
			s.table.account.streams = make(map[*Stream]struct{})
		}
		s.table.account.streams[s] = struct{}{}
	}
	s.measure()
}

// SendMemory is what everything written takes until it is acknowledged, in bytes.
func (s *Stream) SendMemory() int { return s.machine.SendMemory() }

// Trust ends Confine: the peer has proven that it may use what the protocol needs.
func (s *Stream) Trust() {
	if s.confined {
		s.release()
		s.machine.Confine(0)
		s.schedule()
	}
}

// release takes the stream out of the account.
func (s *Stream) release() {
	if s.confined {
		s.confined, s.above = false, nil
		s.table.account.total -= s.measured
		s.measured = 0
		delete(s.table.account.streams, s)
	}
}

// measure brings the account up to date and ends what is beyond a bound.
func (s *Stream) measure() {
	if !s.confined {
		return
	}
	n := streamMemory + s.machine.ReceiveMemory()
	if s.above != nil {
		n += s.above()
	}
	a := &s.table.account
	a.total += n - s.measured
	s.measured = n
	if n > MaxConfined {
		s.table.stats.OverLimit++
		s.Destroy(ErrOverLimit)
	}
	for a.total > maxConfinedTotal {
		s.table.stats.Shed++
		a.largest().Destroy(ErrShed)
	}
}

// largest is the oldest of the largest streams, by powers of two: a few bytes more must not make a young stream go
// before an old one.
func (a *account) largest() (found *Stream) {
	for s := range a.streams {
		if found == nil {
			found = s
			continue
		}
		size, most := bits.Len(uint(s.measured)), bits.Len(uint(found.measured))
		if size > most || size == most && s.order < found.order {
			found = s
		}
	}
	return found
}

// most is what the largest stream holds, in bytes.
func (a *account) most() (n int) {
	for s := range a.streams {
		n = max(n, s.measured)
	}
	return n
}
