package mux

import (
	"errors"
	"fmt"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// Errors of Open, and of pipes that a Mux destroyed.
var (
	// ErrClosed means that the pipe is closed or about to be.
	ErrClosed = errors.New("mux: closed")
	// ErrDuplicate means that a channel of this protocol and id is open already.
	ErrDuplicate = errors.New("mux: channel exists")
	// ErrTooMany means that there are MaxChannels channels.
	ErrTooMany = errors.New("mux: too many channels")
	// ErrTooLong means a protocol name, id, handshake or payload beyond the limits.
	ErrTooLong = errors.New("mux: too long")
	// ErrProtocol means that the other side broke the protocol, which destroys the pipe.
	ErrProtocol = errors.New("mux: protocol violation")
)

// Stats counts ignored and rejected frames.
type Stats struct {
	Rejected       uint64 // opens that no handler accepted, or above a limit
	UnknownChannel uint64 // messages and closes for channels that are not open; normal after a close
	UnknownType    uint64 // messages without handler
	UnknownControl uint64 // control frames of unknown type
}

// Mux is the multiplexer of one side. Create it with New.
type Mux struct {
	pipe    Pipe
	dead    bool // the pipe is closed, or destroyed by this side
	drained bool
	onClose func(error)
	stats   Stats

	local   []localSlot        // by number - 1
	free    []int              // indexes of local to use again, the last freed last
	remote  map[int]*remoteEnd // by number: rejected opens, which any peer can send, leave no entry
	numbers int                // the highest number that the other side has used
	live    int                // channels in local

	identities map[identityKey]*identity
	handlers   map[identityKey]func(*Offer)
	offers     int // opens that wait for their handlers
	held       int // cost of the messages in them
	paused     bool

	corked    int
	batch     []byte   // the frame being collected while corked
	batchLast int      // channel of its last item
	scratch   []byte   // the number of the channel and the head of an item
	parts     [][]byte // of the frame that is sent
}

// localSlot is a channel number of this side. It is in use while a channel has it or while an open is unanswered, which can
// outlive the channel.
type localSlot struct {
	channel *Channel
	waiting *identity // whose outgoing list has this number
}

// remoteEnd is a number of the other side.
type remoteEnd struct {
	channel   *Channel  // nil while offered
	identity  *identity // set while offered
	offered   bool      // waiting for the handler: messages are held
	handshake []byte    // of the open, while offered
	messages  []heldMessage
	cost      int
}

type heldMessage struct {
	msgType uint64
	payload []byte
}

// New puts a multiplexer on a pipe. Register handlers and open channels in the same turn: opens of the other
// side that meet neither are rejected.
func New(p Pipe) *Mux {
	m := &Mux{
		pipe:       p,
		drained:    true,
		remote:     make(map[int]*remoteEnd),
		identities: make(map[identityKey]*identity),
		handlers:   make(map[identityKey]func(*Offer)),
	}
	p.OnMessage(m.receive)
	p.OnDrain(m.drain)
	// Channels need both directions.
	p.OnEnd(p.End)
	p.OnClose(m.shutdown)
	return m
}

// OnClose sets the handler that runs when the pipe has closed, after all channels.
func (m *Mux) OnClose(f func(err error)) { m.onClose = f }

// Closed reports whether the pipe is closed or about to be.
func (m *Mux) Closed() bool { return m.dead }

// Drained reports whether the pipe is ready for more. It stays false from a Send that returned false to OnDrain.
func (m *Mux) Drained() bool { return m.drained }

// Idle reports whether no channel is open or opening.
func (m *Mux) Idle() bool { return len(m.local) == len(m.free) }

// Stats returns the counters.
func (m *Mux) Stats() Stats { return m.stats }

// Pipe returns the pipe.
func (m *Mux) Pipe() Pipe { return m.pipe }

// End ends the pipe. Channels close when the other side has ended too.
func (m *Mux) End() {
	if !m.dead {
		m.pipe.End()
	}
}

// Destroy destroys the pipe. Channels close when the pipe reports that it has closed.
func (m *Mux) Destroy(err error) {
	if m.dead {
		return
	}
	m.dead = true
	m.pipe.Destroy(err)
}

// violated destroys the pipe after a protocol violation of the other side.
func (m *Mux) violated(format string, args ...any) {
	m.Destroy(fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...)))
}

// shutdown closes all channels behind a closed pipe.
func (m *Mux) shutdown(err error) {
	m.dead = true
	for i := 0; i < len(m.local); i++ {
		if c := m.local[i].channel; c != nil {
			c.close(byPeer)
		}
	}
	clear(m.remote)
	m.batch, m.scratch, m.parts = nil, nil, nil
	if m.onClose != nil {
		m.onClose(err)
	}
}

// drain runs the OnDrain handlers of all channels.
func (m *Mux) drain() {
	m.drained = true
	for i := 0; i < len(m.local) && !m.dead; i++ {
		if c := m.local[i].channel; c != nil && c.opts.OnDrain != nil {
			c.opts.OnDrain()
		}
	}
}

// Cork collects all frames until the matching Uncork and sends them as one, but for those of more than 8 KiB, before which it sends what it
// has collected. Calls nest.
func (m *Mux) Cork() {
	m.corked++
}

// Uncork ends a Cork. One too many is a bug and panics.
func (m *Mux) Uncork() {
	if m.corked == 0 {
		panic("mux: Uncork without Cork")
	}
	m.corked--
	if m.corked == 0 {
		m.flush()
	}
}

// flush sends the collected batch.
func (m *Mux) flush() {
	if len(m.batch) == 0 {
		return
	}
	b := m.batch
	m.batch = nil
	m.write(append(m.parts[:0], b))
	if cap(b) <= keepBatch {
		m.batch = b[:0]
	}
}

// write sends a frame on the pipe.
func (m *Mux) write(frame [][]byte) {
	if !m.dead {
		m.drained = m.pipe.Send(frame...)
	}
	clear(frame)
	m.parts = frame
}

// lengthOf is the length of what is given in parts.
func lengthOf(parts [][]byte) (n int) {
	for _, part := range parts {
		n += len(part)
	}
	return n
}

// send sends one item, which is a type with its payload: as a frame, or into the batch while corked. It
// reports whether more may be sent.
func (m *Mux) send(channel int, head []byte, payload ...[]byte) bool {
	size := len(head) + lengthOf(payload)
	switch {
	case m.dead:
		return false
	case m.corked > 0 && size <= aloneFrom:
		m.addToBatch(channel, size, head, payload)
		return true
	}
	m.flush()
	m.scratch = append(compact.AppendUint(m.scratch[:0], uint64(channel)), head...)
	m.write(append(append(m.parts[:0], m.scratch), payload...))
	return m.drained || m.corked > 0
}

// addToBatch adds an item to the batch.
func (m *Mux) addToBatch(channel, size int, head []byte, payload [][]byte) {
	if len(m.batch) >= batchAt {
		m.flush()
	}
	b := m.batch
	switch {
	case len(b) == 0:
		b = compact.AppendUint(append(b, 0, controlBatch), uint64(channel))
	case m.batchLast != channel:
		b = compact.AppendUint(append(b, 0), uint64(channel))
	}
	m.batchLast = channel
	b = append(compact.AppendUint(b, uint64(size)), head...)
	for _, part := range payload {
		b = append(b, part...)
	}
	m.batch = b
}

// control sends a control frame that holds one number.
func (m *Mux) control(kind byte, number int) {
	var buf [10]byte
	m.send(0, compact.AppendUint(append(buf[:0], kind), uint64(number)), nil)
}
