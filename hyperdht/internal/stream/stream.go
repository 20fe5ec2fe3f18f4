package stream

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Stats describes one stream.
type Stats = udx.Stats

// Stream is one end of a UDX stream: bytes in order both ways, and messages without order. All methods
// are for the loop. After the end every method is harmless.
type Stream struct {
	table     *Table
	id        uint32
	paused    bool
	closed    bool
	order     uint64
	machine   udx.Machine
	socket    host.Socket
	admission admission
	timer     deadline
	turn      turnEnd
	on        handlers
	last      arrival
	race      []racer // see Race
	spare     *spare  // see KeepSpare
	move      migration
	confined  confinement
	forward   forwarding
	err       error
}

// ID is the local id: what the peer puts into its packets.
func (s *Stream) ID() uint32 { return s.id }

// Connected reports whether the stream has a remote. It stays true after the end.
func (s *Stream) Connected() bool { return s.machine.Connected() }

// Closed reports whether the stream is over.
func (s *Stream) Closed() bool { return s.closed }

// Socket returns the socket that sends packets; nil before Connect.
func (s *Stream) Socket() host.Socket { return s.socket }

// RemoteAddr returns the destination of packets; invalid before Connect.
func (s *Stream) RemoteAddr() netip.AddrPort { return s.machine.Remote().Addr }

// RemoteID is the peer's id of the stream.
func (s *Stream) RemoteID() uint32 { return s.machine.Remote().ID }

// Expect sets the first bytes of the peer, in one packet. A first packet that begins otherwise is rejected: any host that has seen the
// stream's id could end the stream by it.
func (s *Stream) Expect(opening []byte) { s.admission.opening = opening }

// First reports, to the firewall, whether the packet is the first one, and begins as expected.
func (s *Stream) First() bool { return s.admission.first }

// Connect gives the stream its remote. Nothing is sent but what waited for it: written data and the
// acknowledgement of data that the firewall let in early. It fails with ErrConnected, ErrClosed or
// ErrBadRemote.
func (s *Stream) Connect(k host.Socket, remoteID uint32, to netip.AddrPort) error {
	if k == nil {
		return ErrBadRemote
	}
	if err := s.machine.Connect(s.now(), udx.Remote{ID: remoteID, Addr: to}); err != nil {
		return err
	}
	s.socket = k
	s.table.host.Trace(Connected{ID: s.id, RemoteID: remoteID, To: to})
	s.schedule()
	return nil
}

// Limit has what is sent to the remote keep to an allowance until it has answered, after Connect or ChangeRemote to an address
// that has not been seen to receive anything.
func (s *Stream) Limit(a *udx.Allowance) { s.machine.Limit(a) }

// Limited reports whether the remote has yet to answer.
func (s *Stream) Limited() bool { return s.machine.Limited() }

// GuessRTT sets the expected round trip before the first measurement. Call it before Connect.
func (s *Stream) GuessRTT(d time.Duration) { s.machine.GuessRTT(d) }

// WatchRemote has the firewall asked about packets from other addresses than the remote's, which otherwise only those
// on foreign sockets are: for a stream whose way may change without a change of socket. The reference never asks
// (libudx), and loses connections of open servers that a relay has paired before the client's first packet came.
func (s *Stream) WatchRemote() { s.admission.watching = true }

// ChangeRemote moves the stream, from a relay to a direct path for example; the peer is not notified.
// What was written before still travels the old way until it is acknowledged; done, which may be nil,
// is called once nothing does any more, and only then may the old path be torn down. It is not called
// if the stream closes before. ErrNotConnected, ErrClosed, ErrBadRemote, and ErrChanging while an
// earlier change is not done.
func (s *Stream) ChangeRemote(k host.Socket, remoteID uint32, to netip.AddrPort, done func()) error {
	if k == nil {
		return ErrBadRemote
	}
	if s.move.owed {
		return ErrChanging
	}
	complete, err := s.machine.ChangeRemote(s.now(), udx.Remote{ID: remoteID, Addr: to})
	if err != nil {
		return err
	}
	s.socket = k
	s.move = migration{done, complete}
	s.table.host.Trace(Moved{ID: s.id, RemoteID: remoteID, To: to})
	s.schedule()
	return nil
}

// Write queues a copy of b. It reports false when enough is queued and OnDrain will tell to go on; b is
// queued all the same. After End or the close it does nothing and reports false.
func (s *Stream) Write(b []byte) bool {
	ok := s.machine.Write(b)
	s.schedule()
	return ok
}

// SendMessage sends one unordered message, without acknowledgement or repetition. It reports false if
// it cannot leave: before Connect, after the close, or beyond what a datagram holds. Messages above the
// path's MTU are lost like any datagram.
func (s *Stream) SendMessage(b []byte) bool { return s.machine.SendMessage(b) }

// MaxMessage is the longest message that SendMessage takes.
const MaxMessage = udx.MaxMessage

// Idle reports whether the peer has acknowledged all that was written, and nothing that it has sent waits here for a pause or a gap to end.
func (s *Stream) Idle() bool {
	return s.machine.Acknowledged() == s.machine.Written() && s.machine.ReceiveMemory() == 0
}

// End ends the stream's own direction once everything written has left. The peer may go on; the stream
// closes when both directions have ended.
func (s *Stream) End() {
	s.machine.End()
	s.schedule()
}

// Destroy aborts the stream: the peer is notified once, nothing more is delivered, and OnClose is called
// with err at the end of the turn. A relay's leg sends nothing and closes those that
// relay into it.
func (s *Stream) Destroy(err error) {
	if s.closed {
		return
	}
	if s.forward.isLeg() {
		s.machine.Abandon()
	} else {
		s.machine.Destroy()
	}
	s.finish(err)
}

// OnData sets the handler of the bytes of the stream, borrowed for the call. Until then they are held, and so
// is the peer's end, as during a pause.
func (s *Stream) OnData(f func(b []byte)) {
	s.on.data = f
	s.updatePause()
}

// OnEnd sets the end-of-stream handler. It runs even if the peer ended before the call.
func (s *Stream) OnEnd(f func()) {
	s.on.end = f
	s.schedule()
}

// OnMessage sets the handler of unordered messages, borrowed for the call; without one they are dropped.
func (s *Stream) OnMessage(f func(b []byte)) { s.on.message = f }

// OnDrain sets the handler that runs when Write has room again after it reported false.
func (s *Stream) OnDrain(f func()) { s.on.drain = f }

// OnClose sets the handler that runs exactly once when the stream is over: nil after both directions ended,
// ErrReset, ErrTimeout, or what Destroy was given. It runs even if the stream was over before the call.
func (s *Stream) OnClose(f func(err error)) {
	s.on.close = f
	s.schedule()
}

// Pause holds received data back. The window that the peer sees shrinks by what is held.
func (s *Stream) Pause() {
	s.paused = true
	s.updatePause()
}

// Resume ends a pause. What was held is handed over at the end of the turn.
func (s *Stream) Resume() {
	s.paused = false
	s.updatePause()
}

func (s *Stream) updatePause() {
	if s.paused || s.on.data == nil {
		s.machine.Pause()
		return
	}
	s.machine.Resume()
	s.schedule()
}

// SetKeepalive sends a heartbeat whenever nothing was in flight for d, to keep NAT mappings; 0, the
// default, sends none. A peer that does not answer is not noticed.
func (s *Stream) SetKeepalive(d time.Duration) {
	s.machine.SetKeepalive(s.now(), d)
	s.schedule()
}

// Stats describes the stream now.
func (s *Stream) Stats() Stats { return s.machine.Stats() }

func (s *Stream) now() host.Instant { return s.table.host.Now() }

// receive takes a packet for this stream.
func (s *Stream) receive(k host.Socket, from netip.AddrPort, b []byte) {
	s.last = arrival{s.now(), Way{Socket: k, Remote: from}}
	if !s.admission.begins(b) {
		s.table.stats.Refused++
		return
	}
	if s.spare != nil {
		if s.spare.is(k, from) {
			s.receiveSpare(b)
			return
		}
		s.spare.onMain = s.last.at
		if udx.PeekFlags(b)&^udx.FlagSACK == 0 {
			s.spare.owner.MainAnswered(udx.Question(b))
		}
	}
	if k != s.socket || s.admission.watching && from != s.RemoteAddr() { // unconnected, a foreign socket or address
		if !s.admission.admits(k, from) {
			s.table.stats.Refused++
			return
		}
		if s.closed {
			return
		}
	}
	if s.forward.target != nil {
		s.relay(b)
		return
	}
	if k != s.socket {
		from = netip.AddrPort{} // the same address on another socket is another path
	}
	s.machine.ReceiveFrom(s.now(), from, b)
	s.schedule()
}

// schedule has endTurn run at the end of this turn.
func (s *Stream) schedule() { s.turn.schedule(s.table.host) }

// endTurn hands over what was held, sends what may leave, tells what is owed and sets the timer.
func (s *Stream) endTurn() {
	s.turn.scheduled = false
	if !s.closed {
		s.machine.Deliver()
		s.reportStalls()
		s.machine.Flush(s.now())
	}
	if s.move.owed && !s.closed {
		s.move.finish()
	}
	if !s.closed {
		s.on.reportOwedEnd()
	}
	s.measure()
	s.reportAcknowledged()
	if s.closed {
		s.announceClose()
		s.failFlushes(cmp.Or(s.err, ErrClosed))
	}
	s.timer.set()
}

// announceClose calls OnClose once, and drops all handlers.
func (s *Stream) announceClose() {
	f := s.on.takeClose()
	if f == nil {
		return
	}
	s.move.done = nil
	s.spare = nil
	s.admission.firewall = nil
	f(s.err)
}

// finish cleans up after the machine has closed, from within or from outside.
func (s *Stream) finish(err error) {
	s.closed, s.err = true, err
	if _, hole := errors.AsType[*udx.BlackHoleError](err); !hole { // which has the details
		s.learnWidth()
	}
	s.release()
	s.table.forget(s)
	s.unlink(err)
	s.table.host.Trace(Closed{ID: s.id, Err: err})
	s.schedule()
}

// turnEnd runs endTurn at the end of a turn that touched the stream.
type turnEnd struct {
	run       func() // endTurn, made once
	scheduled bool
}

func (t *turnEnd) schedule(h host.Host) {
	if !t.scheduled {
		t.scheduled = true
		h.Defer(t.run)
	}
}

// migration is the last change of remote.
type migration struct {
	done func() // or nil
	owed bool   // the change is complete, and done was not called yet
}

// finish reports that a change of remote is complete.
func (m *migration) finish() {
	f := m.done
	*m = migration{}
	if f != nil {
		f()
	}
}

// owner is the face of a Stream towards its machine.
type owner Stream

func (o *owner) Transmit(to netip.AddrPort, b []byte) {
	o.socket.Send(to, 0, b)
	for i := range o.race {
		(*Stream)(o).copyTo(&o.race[i], b)
	}
	if o.spare != nil && o.spare.copying {
		(*Stream)(o).copyToSpare(b)
	}
}

func (o *owner) Data(b []byte) {
	o.admission.begun()
	o.on.data(b)
}

func (o *owner) Ended() { o.on.reportEnd() }

func (o *owner) Message(b []byte) {
	if o.on.message != nil {
		o.on.message(b)
	}
}

func (o *owner) Drain() {
	if o.on.drain != nil {
		o.on.drain()
	}
}

func (o *owner) RemoteChanged() { o.move.finish() }

func (o *owner) Closed(err error) {
	s := (*Stream)(o)
	if err == nil {
		s.remember()
	}
	if hole, ok := errors.AsType[*udx.BlackHoleError](err); ok {
		s.table.stats.BlackHoles++
		if hole.Narrow() {
			s.table.narrow.add(s.RemoteAddr().Addr(), s.now())
		}
	}
	s.finish(err)
}

// remember keeps the last acknowledgement for a while.
func (s *Stream) remember() {
	seq, ack := s.machine.LastAck()
	c := &closedStream{id: s.id, socket: s.socket, addr: s.RemoteAddr(), until: s.now().Add(lingerTime)}
	h := udx.Header{StreamID: s.RemoteID(), Window: udx.DefaultWindow, Seq: seq, Ack: ack}
	h.Append(c.ack[:0])
	s.table.linger.add(c)
}

// deadline is the one host timer of a stream. Deadlines mostly move away, with every acknowledgement;
// then the timer is left to fire early and is set again.
type deadline struct {
	stream *Stream
	timer  host.Timer
	at     host.Instant
	armed  bool
}

func (d *deadline) set() {
	s := d.stream
	at, ok := s.machine.NextDeadline()
	switch {
	case !ok:
		if d.armed {
			d.timer.Stop()
			d.armed = false
		}
		return
	case d.armed && d.at <= at:
		return
	}
	wait := max(at.Sub(s.now()), 0)
	if d.timer == nil {
		d.timer = s.table.host.AfterFunc(wait, d.fire)
	} else {
		d.timer.Reset(wait)
	}
	d.armed, d.at = true, at
}

func (d *deadline) fire() {
	d.armed = false
	s := d.stream
	s.machine.Advance(s.now())
	s.schedule()
}
