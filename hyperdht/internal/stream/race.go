package stream

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Way is one of several on which the packets of a stream may travel: a socket here, an address there, and the stream's
// id at whoever is there.
type Way struct {
	Socket   host.Socket
	RemoteID uint32
	Remote   netip.AddrPort
}

// maxWays bounds the ways of a stream beside the one that it is connected to: a few addresses of a network, a punched
// path and a relay.
const maxWays = 6

// firstFlight is how many packets in flight a way that joins a race gets at once: a header, and a few messages.
const firstFlight = 4

// Race sends what leaves on another way too, beginning with what is in flight, until Settle. The stream must be
// connected. A way that is known already, and one beyond maxWays, changes nothing. What a peer that has not proven its
// address may be sent bounds the copies as well.
func (s *Stream) Race(w Way) {
	if s.closed || !s.Connected() || len(s.race) == maxWays || s.leads(w) {
		return
	}
	s.race = append(s.race, w)
	s.machine.Repeat(w.RemoteID, firstFlight, func(b []byte) { s.copyTo(&w, b) })
}

// leads reports whether the stream sends on a way.
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
func (s *Stream) copyTo(w *Way, b []byte) {
	if !s.machine.Spend(len(b)) {
		return
	}
	own, _ := udx.PeekStreamID(b)
	udx.PutStreamID(b, w.RemoteID)
	w.Socket.Send(w.Remote, host.DefaultTTL, b)
	udx.PutStreamID(b, own)
}

// Settle ends a race: everything goes on the way that won it, what is in flight too.
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

// Via is the way on which the last packet of the stream came; its RemoteID is not set.
func (s *Stream) Via() Way { return s.via }

// LastReceived is when the last packet of the stream came; zero for never.
func (s *Stream) LastReceived() host.Instant { return s.received }

// Persist has the stream go on when its packets are not acknowledged. Whoever sets it gives up in time.
func (s *Stream) Persist(on bool) {
	s.machine.Persist(on)
	s.schedule()
}

// Knock sends one packet to another place than the remote that a peer answers, to find out whether the way there is
// open.
func (s *Stream) Knock(w Way) {
	if !s.closed {
		w.Socket.Send(w.Remote, host.DefaultTTL, s.machine.Heartbeat(w.RemoteID))
	}
}
