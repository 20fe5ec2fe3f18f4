package hyperdht

import "github.com/dhtprom/dhtprom/ports/host"

// stalls finds a message whose length was changed on the way. The length is in clear, and UDX does not authenticate packets: a forged packet
// that arrives before the true one can lengthen a message by up to 16 MiB, and all that follows is taken for the rest of it.
//
// A sender fills its packets until a message ends, and sends its rest as soon as it may. So a short packet with a pause behind it is the
// end of what was sent, and the message should have ended, too.
type stalls struct {
	short bool         // the last packet did not end the message, and is shorter than one in the middle of it
	last  host.Instant // when it arrived
	n     int          // stalls of this message
}

// resume notes that bytes arrive.
func (s *stalls) resume(now host.Instant) {
	s.n = s.count(now)
}

// count returns the number of stalls of the message that is being received.
func (s *stalls) count(now host.Instant) int {
	if s.short && now.Sub(s.last) >= stallPause {
		return s.n + 1
	}
	return s.n
}

// over notes that a message is complete.
func (s *stalls) over() { *s = stalls{} }

// excuse forgets a pause that this side may have caused.
func (s *stalls) excuse() { s.short = false }

// pause notes that a packet was read, within a message or not. It reports whether the message may still end.
func (s *stalls) pause(now host.Instant, packet []byte, within bool) bool {
	s.short, s.last = within && len(packet) < stallPacket, now
	return s.n < lastStall
}
