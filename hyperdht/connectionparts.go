package hyperdht

import (
	"cmp"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// The parts of a Connection.

// side is one of the two of a connection or of a punch.
type side bool

const (
	initiator side = true // dials
	responder side = false
)

// ends describes the two sides of a connection.
type ends struct {
	initiator     bool // our side dialled
	local, remote id.PublicKey
	hash          [64]byte // of the handshake
}

// prove sets the remote key and the hash, which the handshake has proven.
func (e *ends) prove(keys noise.Result) { e.remote, e.hash = keys.RemotePublicKey, keys.Hash }

// progress is the state of a connection, see Connection.
type progress struct {
	answered bool // the other side has answered our handshake
	started  bool // there is a path
	heard    bool // something has come from the other side
	open     bool
	openedAt host.Instant
	ending   bool // our direction has ended
	closed   bool
	err      error // why
}

// reason returns why the connection has ended.
func (p *progress) reason() error { return cmp.Or(p.err, ErrConnectionClosed) }

// usable reports whether packets may leave.
func (p *progress) usable() bool { return p.started && !p.closed }

// writable reports whether the application may send.
func (p *progress) writable() bool { return !p.ending && !p.closed }

// carrier is the transport of a connection: a stream, the encryption on it, and the path that the stream takes.
type carrier struct {
	raw     *stream.Stream // nil before there is a path
	sec     *secret.Stream
	path    Path
	release func() // releases the pool socket
}

func (c *carrier) remoteAddr() netip.AddrPort {
	if c.raw == nil {
		return netip.AddrPort{}
	}
	return c.raw.RemoteAddr()
}

func (c *carrier) localAddr() netip.AddrPort {
	if c.raw == nil || c.raw.Socket() == nil {
		return netip.AddrPort{}
	}
	return c.raw.Socket().LocalAddr()
}

// lift removes the limits on what the other side can make this node hold.
func (c *carrier) lift() {
	c.sec.LimitReceive(secret.MaxMessage)
	c.raw.Trust()
}

// drop releases the pool socket, once.
func (c *carrier) drop() {
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

// trust selects the limits on what the other side can make this node hold.
type trust struct {
	trusted  bool // none, see Connection.Trust
	unproven bool // they hold on after the connection has opened
}

// apply sets the limits of a connection that has just got its stream. memory is what it holds above that.
func (t trust) apply(k *carrier, memory func() int) {
	switch {
	case t.trusted:
		k.raw.Trust()
	case t.unproven:
		k.sec.LimitReceive(maxUnprovenMessage)
		fallthrough
	default: // before it opens, nothing but a header is accepted
		k.raw.Confine(memory)
	}
}

// delivery holds back messages to the application.
type delivery struct {
	undelivered bool // the application has not seen this connection yet
	paused      bool // by the application
}

func (d delivery) flows() bool { return !d.undelivered && !d.paused }

// outbox holds messages that were sent before there was a path, the calls that wait for their acknowledgement, and the buffer in which
// they are encrypted.
type outbox struct {
	pending [][]byte
	flushes []*flushCall
	frame   []byte
}

// queue keeps a message. It reports false if there are too many.
func (o *outbox) queue(msg []byte) bool {
	if len(o.pending) >= maxPendingSends {
		return false
	}
	o.pending = append(o.pending, msg)
	return true
}

// unqueue returns what has been queued, and forgets it.
func (o *outbox) unqueue() [][]byte {
	pending := o.pending
	o.pending = nil
	return pending
}

// scratch returns the buffer for a frame, with the headroom in which it is encrypted.
func (o *outbox) scratch() []byte {
	var headroom [secret.Headroom]byte
	return append(o.frame[:0], headroom[:]...)
}

// reuse keeps the buffer of a frame for the next one.
func (o *outbox) reuse(frame []byte) {
	if cap(frame) <= maxScratch {
		o.frame = frame[:0]
	}
}

// maxScratch bounds the frame buffer that a connection keeps between messages.
const maxScratch = 64 << 10
