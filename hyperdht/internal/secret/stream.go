package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
)

// Errors that end a stream, and ErrTooLong also for messages that cannot be sent.
var (
	// ErrHeader means that the first frame is not the header of the other role.
	ErrHeader = errors.New("secret: invalid header")
	// ErrShort means that a frame is too short to hold a message.
	ErrShort = errors.New("secret: frame too short")
	// ErrTooLong means that a message is longer than the format or the receive limit allows.
	ErrTooLong = errors.New("secret: message too long")
	// ErrForged means that a message does not authenticate.
	ErrForged = errors.New("secret: message does not authenticate")
	// ErrClosed means that the stream was closed.
	ErrClosed = errors.New("secret: closed")
)

// Stream is one side of an encrypted connection: frames in both directions and unordered messages. It holds
// keys and prints without them.
type Stream struct {
	send, recv state
	header     [nonceLen]byte
	localID    [idLen]byte
	remoteID   [idLen]byte
	rx         [keyLen]byte // key of recv, which starts with the other side's header
	opened     bool         // the other side's header has arrived
	limit      int          // longest message to receive
	err        error        // why nothing is received any more

	// The frame being received. Its body is collected in buf from bodyAt on, where it can be decrypted
	// in place.
	length [lengthLen]byte
	have   int // bytes of length, then of length and body
	buf    []byte

	unordered unordered
}

// bodyAt is the offset of a body in the receive buffer: its tag byte lies just before the headroom's end.
const bodyAt = headroom - tagLen

// Role is a side of the handshake that a stream follows.
type Role bool

// The roles.
const (
	Initiator Role = true
	Responder Role = false
)

// New starts a stream with the keys of a finished handshake. rand is read for the header and the counter of
// unordered messages; a source that fails is a broken machine and panics.
func New(role Role, r noise.Result, rand io.Reader) *Stream {
	s := &Stream{rx: r.Rx, limit: MaxMessage}
	local, remote := id.NSInitiator, id.NSResponder
	if role == Responder {
		local, remote = remote, local
	}
	s.localID = id.KeyedHash(r.Hash[:], local[:])
	s.remoteID = id.KeyedHash(r.Hash[:], remote[:])
	mustRead(rand, s.header[:])
	s.send = newState(&r.Tx, &s.header)
	s.unordered.sendKey = id.KeyedHash(r.Hash[:], local[:], id.NSSend[:])
	s.unordered.recvKey = id.KeyedHash(r.Hash[:], remote[:], id.NSSend[:])
	mustRead(rand, s.unordered.counter[:])
	s.unordered.first = s.unordered.counter
	return s
}

// Opening returns the first bytes of a side's stream; only the two sides of the handshake can compute it.
func Opening(of Role, r noise.Result) []byte {
	side := id.NSResponder
	if of == Initiator {
		side = id.NSInitiator
	}
	own := id.KeyedHash(r.Hash[:], side[:])
	return append(appendLength(nil, idLen+nonceLen), own[:]...)
}

func mustRead(rand io.Reader, b []byte) {
	if _, err := io.ReadFull(rand, b); err != nil {
		panic(fmt.Sprintf("secret: no randomness: %v", err))
	}
}

// Format prints no keys, whatever the verb.
func (s *Stream) Format(f fmt.State, _ rune) { io.WriteString(f, "secret.Stream") }

// Opened reports whether the other side's header has arrived, which proves that it is there.
func (s *Stream) Opened() bool { return s.opened }

// LimitReceive sets the longest message that Receive accepts, in bytes of plain text; MaxMessage at most. A longer one
// fails with ErrTooLong once its length has arrived.
func (s *Stream) LimitReceive(n int) { s.limit = min(n, MaxMessage) }

// Held returns the memory of the frame that is being received, in bytes.
func (s *Stream) Held() int { return len(s.buf) }

// Receiving reports whether a part of a message has arrived, and its rest has not.
func (s *Stream) Receiving() bool { return s.have > 0 }

// FrameSize returns the size of the frame that begins with b, of which there may be more or less; 0 if none begins so.
func FrameSize(b []byte) int {
	if len(b) < lengthLen {
		return 0
	}
	n := bodyLen([lengthLen]byte(b))
	if n < tagLen+macLen {
		return 0
	}
	return lengthLen + n
}

// AppendHeader appends the header message, which must be the first thing that is sent.
func (s *Stream) AppendHeader(dst []byte) []byte {
	dst = appendLength(dst, idLen+nonceLen)
	dst = append(dst, s.localID[:]...)
	return append(dst, s.header[:]...)
}

// Append appends the frame of one message, which is given in parts: its length and Overhead. The message may be empty; it must not
// overlap the capacity of dst. Messages above MaxMessage fail with ErrTooLong and append nothing. A dst with room to spare (about 100 bytes
// more than the frame) is not reallocated, and behind Headroom bytes or more, the message is encrypted where it belongs.
func (s *Stream) Append(dst []byte, message ...[]byte) ([]byte, error) {
	n := 0
	for _, part := range message {
		n += len(part)
	}
	if n > MaxMessage {
		return dst, ErrTooLong
	}
	dst = slices.Grow(dst, lengthLen+headroom+n+tailroom)
	end := len(dst)
	at := end + lengthLen // of the sealing buffer
	var covered [Headroom]byte
	if end >= Headroom {
		at = end - Headroom
		copy(covered[:], dst[at:])
	}
	body := dst[at : at+headroom+n+tailroom]
	free := body[headroom:]
	for _, part := range message {
		free = free[copy(free, part):]
	}
	mac := s.send.seal(body, n, 0)
	tag := body[0]
	if end >= Headroom {
		copy(dst[at:], covered[:])
	} else {
		copy(body[tagLen:], body[headroom:headroom+n])
	}
	dst = append(appendLength(dst, tagLen+n+macLen), tag)
	return append(dst[:len(dst)+n], mac[:]...), nil
}

func appendLength(dst []byte, n int) []byte {
	return append(dst, byte(n), byte(n>>8), byte(n>>16))
}

// Receive takes the next bytes of the transport and calls emit for each message they complete, in order. A
// message is borrowed: it is valid during the call. Empty messages are emitted too; they are what keep alive
// sends. emit may use the stream, but must not call Receive. The first error is final and comes back from all
// later calls.
func (s *Stream) Receive(chunk []byte, emit func(msg []byte)) error {
	for len(chunk) > 0 && s.err == nil {
		if s.have < lengthLen {
			n := copy(s.length[s.have:], chunk)
			chunk = chunk[n:]
			s.have += n
			if s.have == lengthLen {
				s.err = s.checkLength(s.bodyLen())
			}
			continue
		}
		got, want := s.have-lengthLen, s.bodyLen()
		n := min(want-got, len(chunk))
		s.reserve(got+n, want)
		copy(s.buf[bodyAt+got:], chunk[:n])
		chunk = chunk[n:]
		s.have += n
		if got+n < want {
			break
		}
		s.have = 0
		s.err = s.body(want, emit)
	}
	if s.err != nil || (s.have <= lengthLen && cap(s.buf) > keepScratch) {
		s.buf = nil
	}
	return s.err
}

// Close ends receiving, also from within emit: the messages behind the current one are not emitted.
func (s *Stream) Close() {
	if s.err == nil {
		s.err = ErrClosed
	}
}

func (s *Stream) bodyLen() int { return bodyLen(s.length) }

func bodyLen(length [lengthLen]byte) int {
	return int(length[0]) | int(length[1])<<8 | int(length[2])<<16
}

// checkLength refuses a frame by its length, before anything of it is kept.
func (s *Stream) checkLength(n int) error {
	switch {
	case !s.opened && n != idLen+nonceLen:
		return ErrHeader
	case s.opened && n < tagLen+macLen:
		return ErrShort
	case s.opened && n > s.limit+tagLen+macLen:
		return ErrTooLong
	}
	return nil
}

// reserve makes room for got bytes of a body of which want will come.
func (s *Stream) reserve(got, want int) {
	full := bodyAt + want + tailroom
	need := full
	if got < want {
		need = min(full, max(bodyAt+got, growScratch))
	}
	if need > len(s.buf) {
		old := s.buf
		s.buf = make([]byte, min(max(need, 2*len(old)), max(full, growScratch)))
		if s.have > lengthLen {
			copy(s.buf, old)
		}
	}
}

// body handles a complete body of n bytes.
func (s *Stream) body(n int, emit func(msg []byte)) error {
	body := s.buf[bodyAt : bodyAt+n]
	if !s.opened {
		if subtle.ConstantTimeCompare(body[:idLen], s.remoteID[:]) != 1 {
			return ErrHeader
		}
		s.recv = newState(&s.rx, (*[nonceLen]byte)(body[idLen:]))
		s.opened = true
		return nil
	}
	plain := n - tagLen - macLen
	mac := [macLen]byte(body[n-macLen:])
	s.buf[0] = body[0]
	if !s.recv.open(s.buf[:headroom+plain+tailroom], plain, &mac) {
		return ErrForged
	}
	emit(s.buf[headroom : headroom+plain : headroom+plain])
	return s.err
}
