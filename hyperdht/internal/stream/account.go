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

// confinement is the share of a stream in the account; see Confine.
type confinement struct {
	on       bool
	measured int        // bytes in the account
	above    func() int // what the layers above hold, or nil
}

func (c *confinement) memoryAbove() int {
	if c.above == nil {
		return 0
	}
	return c.above()
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
	s.confined.above = above
	if !s.confined.on {
		s.confined.on = true
		s.machine.Confine(confinedReceive)
		if s.table.account.streams == nil {
			s.table.account.streams = make(map[*Stream]struct{})
		}
		s.table.account.streams[s] = struct{}{}
	}
	s.measure()
}

// SendMemory is the memory of all unacknowledged writes, in bytes.
func (s *Stream) SendMemory() int { return s.machine.SendMemory() }

// Trust ends Confine: the peer has proven that it may use what the protocol needs.
func (s *Stream) Trust() {
	if s.confined.on {
		s.release()
		s.machine.Confine(0)
		s.schedule()
	}
}

// release takes the stream out of the account.
func (s *Stream) release() {
	if s.confined.on {
		s.table.account.total -= s.confined.measured
		s.confined = confinement{}
		delete(s.table.account.streams, s)
	}
}

// measure brings the account up to date and ends what is beyond a bound.
func (s *Stream) measure() {
	if !s.confined.on {
		return
	}
	n := streamMemory + s.machine.ReceiveMemory() + s.confined.memoryAbove()
	a := &s.table.account
	a.total += n - s.confined.measured
	s.confined.measured = n
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
		size, most := bits.Len(uint(s.confined.measured)), bits.Len(uint(found.confined.measured))
		if size > most || size == most && s.order < found.order {
			found = s
		}
	}
	return found
}

// most is the memory of the largest stream, in bytes.
func (a *account) most() (n int) {
	for s := range a.streams {
		n = max(n, s.confined.measured)
	}
	return n
}
