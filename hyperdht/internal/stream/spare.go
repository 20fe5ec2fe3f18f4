package stream

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// SpareOwner handles events of a stream that has a spare way. The questions are those that Ask and AskSpare have sent; 0 stands for
// a packet that names none: it may answer any, or none.
type SpareOwner interface {
	// SpareHeard is called for each heartbeat that arrives on the spare way.
	SpareHeard()
	// SpareAnswered is called for each other packet that arrives there, with the question that it answers.
	SpareAnswered(question uint32)
	// MainAnswered is called for each packet that arrives elsewhere and only acknowledges, with the question that it answers.
	MainAnswered(question uint32)
	// Stalled is called at signs that the way in use is dead or bad; see udx.Machine.Stalls.
	Stalled()
}

// spare is a second way of a connected stream. Nothing of the stream leaves on it but heartbeats and their answers, unless
// copies are made.
type spare struct {
	Way
	owner   SpareOwner
	copying bool
	onMain  host.Instant // when the last packet came elsewhere than on the spare way
}

// KeepSpare keeps a second way to the peer, which has to keep it as well: a heartbeat that arrives on it is answered on it.
// A second call replaces the way.
func (s *Stream) KeepSpare(w Way, o SpareOwner) {
	if s.closed {
		return
	}
	if s.spare == nil {
		s.spare = &spare{onMain: s.last.at}
	}
	s.spare.Way, s.spare.owner = w, o
}

// reportStalls reports stalls of this turn.
func (s *Stream) reportStalls() {
	before := s.on.stalls
	if s.on.stalls = s.machine.Stalls(); s.on.stalls == before || s.closed {
		return
	}
	if s.spare != nil {
		s.spare.owner.Stalled()
	}
	if f := s.table.stalled; f != nil {
		f()
	}
}

// DropSpare ends that.
func (s *Stream) DropSpare() { s.spare = nil }

// Ask sends a question on the way in use: a heartbeat with a number that is not 0.
func (s *Stream) Ask(question uint32) { s.machine.Ask(question) }

// AskSpare sends a question on the spare way.
func (s *Stream) AskSpare(question uint32) {
	if s.spare != nil {
		s.sendHeartbeat(s.spare.Way, question)
	}
}

// SetCopyToSpare sets whether the packets of the stream are sent on the spare way as well.
func (s *Stream) SetCopyToSpare(on bool) {
	if s.spare != nil {
		s.spare.copying = on
	}
}

// ViaSpare reports whether the last packet came on the spare way.
func (s *Stream) ViaSpare() bool {
	return s.spare != nil && s.spare.is(s.last.way.Socket, s.last.way.Remote)
}

// HeardOnMain returns the arrival of the last packet that did not come on the spare way.
func (s *Stream) HeardOnMain() host.Instant {
	if s.spare == nil {
		return s.last.at
	}
	return s.spare.onMain
}

// Swap has the stream and the spare way change places. What is in flight is sent again. It fails like ChangeRemote, and with
// ErrNotConnected if there is no spare way.
func (s *Stream) Swap() error {
	if s.spare == nil {
		return ErrNotConnected
	}
	next := s.spare.Way
	before := Way{Socket: s.socket, RemoteID: s.RemoteID(), Remote: s.RemoteAddr()}
	if err := s.machine.Redirect(s.now(), udx.Remote{ID: next.RemoteID, Addr: next.Remote}); err != nil {
		return err
	}
	s.machine.Resend()
	s.socket, s.spare.Way, s.spare.copying, s.spare.onMain = next.Socket, before, false, s.now()
	s.table.host.Trace(Moved{ID: s.id, RemoteID: next.RemoteID, To: next.Remote})
	s.schedule()
	return nil
}

// Suspect is the size of the oldest packet that is not acknowledged if it may be lost for its size; or 0.
func (s *Stream) Suspect() int { return s.machine.Suspect() }

// Narrow has streams to the remote begin with smaller packets than usual if packets of size bytes are lost on the way.
func (s *Stream) Narrow(size int) {
	if (&udx.BlackHoleError{Size: size}).Narrow() {
		s.table.narrow.add(s.RemoteAddr().Addr(), s.now())
	}
}

func (s *spare) is(k host.Socket, from netip.AddrPort) bool { return k == s.Socket && from == s.Remote }

// receiveSpare takes a packet that came on the spare way.
func (s *Stream) receiveSpare(b []byte) {
	o := s.spare.owner
	flags := udx.PeekFlags(b)
	if flags&udx.FlagHeartbeat != 0 {
		s.spare.Socket.Send(s.spare.Remote, host.DefaultTTL, s.machine.Acknowledgement(s.spare.RemoteID, udx.Question(b)))
		o.SpareHeard()
		return
	}
	question := udx.Question(b)
	s.machine.ReceiveFrom(s.now(), netip.AddrPort{}, b)
	s.schedule()
	if !s.closed && s.ViaSpare() { // and has not changed places
		o.SpareAnswered(question)
	}
}

// copyToSpare sends a copy of a packet on the spare way. Padding tries the size of packets on the other way, and a question or its answer
// that way itself.
func (s *Stream) copyToSpare(b []byte) {
	if s.machine.Limited() || udx.Padded(b) || udx.Question(b) != 0 {
		return
	}
	own, _ := udx.PeekStreamID(b)
	udx.PutStreamID(b, s.spare.RemoteID)
	s.spare.Socket.Send(s.spare.Remote, host.DefaultTTL, b)
	udx.PutStreamID(b, own)
}
