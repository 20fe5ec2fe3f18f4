package stream

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Way is a path of a stream's packets: a socket here, the remote address, and the id of the stream at the remote.
type Way struct {
	Socket   host.Socket
	RemoteID uint32
	Remote   netip.AddrPort
}

// maxWays bounds the ways of a stream beside the one that it is connected to: a few addresses of a network, a punched
// path and a relay.
const maxWays = 6

const (
	// firstFlight is the number of packets in flight that are sent at once on a way that joins a race: a header, and a few messages.
	firstFlight = 4
	// maxWayBytes bounds what is sent on a way of a race, in bytes: the first flight, and its header some dozen times. The
	// address of a way may be forged.
	maxWayBytes = 8 << 10
)

// racer is a way of a race.
type racer struct {
	Way
	left int // bytes that may still be sent on it
}

// Race duplicates outgoing packets on another way, packets in flight first, until Settle. The stream must be connected.
// Race ignores duplicates of a way and ways beyond maxWays. Copies count against the allowance of Limit.
func (s *Stream) Race(w Way) {
	if s.closed || !s.Connected() || len(s.race) == maxWays || s.leads(w) {
		return
	}
	s.race = append(s.race, racer{w, maxWayBytes})
	r := &s.race[len(s.race)-1]
	s.machine.Repeat(w.RemoteID, firstFlight, func(b []byte) { s.copyTo(r, b) })
}

// leads reports whether the stream sends on way w.
func (s *Stream) leads(w Way) bool {
	if s.socket == w.Socket && s.RemoteAddr() == w.Remote {
		return true
	}
	for _, known := range s.race {
		if known.Socket == w.Socket && known.Remote == w.Remote {
			return true
		}
	}
	return false
}

// copyTo sends a copy of a packet on a way of the race.
func (s *Stream) copyTo(w *racer, b []byte) {
	if len(b) > w.left || !s.machine.Spend(len(b)) {
		return
	}
	w.left -= len(b)
	own, _ := udx.PeekStreamID(b)
	udx.PutStreamID(b, w.RemoteID)
	w.Socket.Send(w.Remote, host.DefaultTTL, b)
	udx.PutStreamID(b, own)
}

// Settle ends a race and moves the stream, packets in flight included, to way w.
func (s *Stream) Settle(w Way) error {
	s.race = nil
	if s.leads(w) {
		return nil
	}
	if err := s.machine.Redirect(s.now(), udx.Remote{ID: w.RemoteID, Addr: w.Remote}); err != nil {
		return err
	}
	s.socket = w.Socket
	s.table.host.Trace(Moved{ID: s.id, RemoteID: w.RemoteID, To: w.Remote})
	s.schedule()
	return nil
}

// arrival is the last packet of a stream.
type arrival struct {
	at  host.Instant // zero before the first
	way Way          // on which it came; its id is not known
}

// Via returns the way on which the last packet of the stream arrived. RemoteID is not set.
func (s *Stream) Via() Way { return s.last.way }

// LastReceived returns the arrival time of the last packet, zero before the first.
func (s *Stream) LastReceived() host.Instant { return s.last.at }

// SetPersistent disables the retransmission limit of the stream. The caller bounds its life then.
func (s *Stream) SetPersistent(on bool) {
	s.machine.SetPersistent(on)
	s.schedule()
}

// SendHeartbeat sends a heartbeat, which the peer acknowledges, on another way than the stream's own.
func (s *Stream) SendHeartbeat(w Way) { s.sendHeartbeat(w, 0) }

func (s *Stream) sendHeartbeat(w Way, question uint32) {
	if !s.closed {
		w.Socket.Send(w.Remote, host.DefaultTTL, s.machine.Heartbeat(w.RemoteID, question))
	}
}
