package hyperdht

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Path says how the packets of a connection travel.
type Path uint8

// The paths of a connection.
const (
	PathNone    Path = iota // not connected yet
	PathDirect              // to an address that is open to everybody
	PathLAN                 // within one network
	PathPunched             // through NATs that both sides opened
	PathRelayed             // over a blind relay
)

func (p Path) String() string {
	switch p {
	case PathNone:
		return "none"
	case PathDirect:
		return "direct"
	case PathLAN:
		return "lan"
	case PathPunched:
		return "punched"
	case PathRelayed:
		return "relayed"
	}
	return "unknown"
}

// PathRule limits the paths that a connection may take. It exists only on paths that both sides allow.
type PathRule uint8

// The rules.
const (
	AnyPath    PathRule = iota
	DirectOnly          // no relay, whoever names one
	RelayOnly           // nothing but a relay that one of the sides names
)

// Connection is an encrypted, ordered, message-preserving stream between two keys, with unordered messages
// beside it. It lives on its node's loop: methods and handlers run there.
//
//	connecting ──path found──▶ started ──remote's header──▶ open ──End both ways──▶ closed(nil)
//	    └──────────────┴───────────────┴──── Destroy, failure, reset, time-out ──▶ closed(err)
//
// Messages may be sent in any of the first three states; before a path is found they wait. OnOpen fires when
// the other side has proven that it is there. OnClose fires exactly once, last.
type Connection struct {
	p         *peering
	trail     trail
	initiator bool
	local     id.PublicKey
	remote    id.PublicKey
	hash      [64]byte

	raw     *stream.Stream
	sec     *secret.Stream
	started bool
	open    bool
	// answered means that the other side has answered our handshake.
	answered bool
	// wasHeard means that something has come from the other side.
	wasHeard bool
	ending   bool
	// lingering means that timer is the end of our patience, no longer the keep-alive.
	lingering bool
	closed    bool
	held      bool // the application has not seen this connection yet
	trusted   bool // see Trust
	// unproven means that an open connection is not trusted yet.
	unproven bool
	paused   bool
	link     bool // it is to a relay, for others
	err      error
	path     Path

	pending   [][]byte // messages sent before there was a path
	buf       []byte   // scratch for frames
	keepAlive time.Duration
	lastWrite host.Instant
	openedAt  host.Instant
	timer     host.Timer
	release   func() // gives the pool socket back

	onStart     func()
	onOpen      func()
	onMessage   func([]byte)
	onUnordered func([]byte)
	onDrain     func()
	onEnd       func()
	onPath      func()
	onClose     func(error)

	onProof   func()     // runs when the first packet has decrypted, before anybody else hears of it
	onTraffic func()     // sees that something came from the peer, while a change of path is not proven
	cancel    func()     // stops the search for a path, or for a better one
	ways      *wayLog    // of a connection that was dialled; nil once it has a direct path
	second    *secondWay // a relay kept beside a direct path; nil before there was one
	caller    *session   // of a connection that came in
}

// PublicKey is our key on this connection.
func (c *Connection) PublicKey() id.PublicKey { return c.local }

// RemotePublicKey is the key the other side has proven to hold.
func (c *Connection) RemotePublicKey() id.PublicKey { return c.remote }

// HandshakeHash identifies this connection to both sides and to nobody else; zero before there is a path.
func (c *Connection) HandshakeHash() [64]byte { return c.hash }

// IsInitiator reports whether our side dialled.
func (c *Connection) IsInitiator() bool { return c.initiator }

// Opened reports whether the other side has proven that it is there.
func (c *Connection) Opened() bool { return c.open }

// Answered reports whether the other side has answered the handshake, which may be long before there is a path.
func (c *Connection) Answered() bool { return c.answered || c.started }

// Closed reports whether the connection has ended; its OnClose may still be about to run.
func (c *Connection) Closed() bool { return c.closed }

// RemoteAddr is where our packets go; invalid before there is a path.
func (c *Connection) RemoteAddr() netip.AddrPort {
	if c.raw == nil || !c.started {
		return netip.AddrPort{}
	}
	return c.raw.RemoteAddr()
}

// LocalAddr is the address of the socket that carries the connection; invalid before there is a path.
func (c *Connection) LocalAddr() netip.AddrPort {
	if c.raw == nil || !c.started || c.raw.Socket() == nil {
		return netip.AddrPort{}
	}
	return c.raw.Socket().LocalAddr()
}

// answersFrom reports whether the other side has shown that it receives what is sent to a host. A relay in between has not:
// its address is not the other side's.
func (c *Connection) answersFrom(host netip.Addr) bool {
	return c.started && c.path != PathRelayed && c.raw.RemoteAddr().Addr() == host && !c.raw.Limited()
}

// Path is how the packets travel now; a connection over a relay may move to a better path.
func (c *Connection) Path() Path { return c.path }

// DirectSilence returns for how long nothing has come on the direct path of a connection that a relay has taken over. It is 0
// where none has.
func (c *Connection) DirectSilence() time.Duration {
	if c.second == nil || c.closed {
		return 0
	}
	return c.second.silence()
}

// OnStart sets what runs once there is a path, when HandshakeHash is known and before anything has come from the
// other side, which may not even be there.
func (c *Connection) OnStart(f func()) { c.onStart = f }

// OnOpen sets what runs once the other side has proven that it is there.
func (c *Connection) OnOpen(f func()) { c.onOpen = f }

// OnMessage sets what gets each message. The slice is borrowed for the call.
func (c *Connection) OnMessage(f func([]byte)) { c.onMessage = f }

// OnUnordered sets what gets each unordered message. The slice is borrowed for the call.
func (c *Connection) OnUnordered(f func([]byte)) { c.onUnordered = f }

// OnDrain sets what runs when the connection takes more after Send has returned false.
func (c *Connection) OnDrain(f func()) { c.onDrain = f }

// OnEnd sets what runs when the other side has ended its direction.
func (c *Connection) OnEnd(f func()) { c.onEnd = f }

// OnPath sets what runs when packets to the other side begin to take another path, which Path and RemoteAddr describe.
func (c *Connection) OnPath(f func()) { c.onPath = f }

// OnClose sets what runs when the connection is over: nil after both sides ended it, the reason otherwise.
func (c *Connection) OnClose(f func(error)) { c.onClose = f }

// Trust lifts the limits on what the other side can make this node hold, because it has proven that it may: 64 kB in all,
// and messages of maxUnprovenMessage bytes. A connection is trusted when it opens, unless its server says
// KeepLimited. Trusting twice is harmless.
func (c *Connection) Trust() {
	if c.trusted {
		return
	}
	c.trusted = true
	if c.started && !c.closed {
		c.sec.LimitReceive(secret.MaxMessage)
		c.raw.Trust()
	}
}

// Unsent is what the messages take that were sent and that the other side has not acknowledged, in bytes of memory.
func (c *Connection) Unsent() int {
	if c.raw == nil || c.closed {
		return 0
	}
	return c.raw.SendMemory()
}

// memory is what the connection holds above its raw stream, in bytes. What is sent is the application's choice where the
// peer cannot ask for anything yet: before the connection opens, and on the side that dialled.
func (c *Connection) memory() int {
	n := connectionMemory + c.sec.Held()
	if c.unproven && !c.initiator {
		n += c.raw.SendMemory() + cap(c.buf)
	}
	return n
}

// SetKeepAlive changes how long the connection may be silent before an empty message goes out; 0 is never.
func (c *Connection) SetKeepAlive(d time.Duration) {
	c.keepAlive = d
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if c.started {
		c.armKeepAlive()
	}
}

// Send sends one message; the slice is the caller's again on return. It returns false when the caller should wait for OnDrain before
// it sends more; the message is taken all the same. What is sent after End or Destroy is dropped.
func (c *Connection) Send(msg []byte) bool {
	if c.closed || c.ending {
		return false
	}
	if len(msg) > secret.MaxMessage {
		c.Destroy(ErrMessageTooLarge)
		return false
	}
	if !c.started {
		if len(c.pending) >= maxPendingSends {
			c.Destroy(errTooManyPending)
			return false
		}
		c.pending = append(c.pending, append([]byte(nil), msg...))
		return false
	}
	return c.write(msg)
}

func (c *Connection) write(msg []byte) bool {
	frame, err := c.sec.Append(c.buf[:0], msg)
	if err != nil {
		c.Destroy(err)
		return false
	}
	c.lastWrite = c.p.host.Now()
	more := c.raw.Write(frame)
	if cap(frame) <= maxScratch {
		c.buf = frame[:0]
	}
	return more
}

// maxScratch bounds the frame buffer that a connection keeps between messages.
const maxScratch = 64 << 10

// SendUnordered sends a message that may arrive late, twice or not at all. It must fit one datagram; what is
// sent before there is a path is lost.
func (c *Connection) SendUnordered(msg []byte) {
	if c.started && !c.closed {
		c.raw.SendMessage(c.sec.SealMessage(msg))
	}
}

// End ends our direction once everything sent has gone out.
func (c *Connection) End() {
	if c.closed || c.ending {
		return
	}
	c.ending = true
	if c.started {
		c.stopKeepAlive()
		c.raw.End()
	}
}

// Close ends our direction and makes sure that the connection is over soon: if the other side has not ended
// its own within ten seconds, it is cut off.
func (c *Connection) Close() {
	if c.closed || c.lingering {
		return
	}
	c.lingering = true
	if !c.started {
		c.Destroy(nil)
		return
	}
	c.End()
	c.stopKeepAlive()
	c.timer = c.p.host.AfterFunc(closeLinger, func() { c.Destroy(nil) })
}

// Pause stops the delivery of messages; what arrives meanwhile closes the receive window.
func (c *Connection) Pause() {
	c.paused = true
	if c.raw != nil && !c.closed {
		c.raw.Pause()
	}
}

// Resume undoes Pause.
func (c *Connection) Resume() {
	c.paused = false
	if c.raw != nil && !c.closed && !c.held {
		c.raw.Resume()
	}
}

// Destroy ends the connection at once, in both directions. err is what OnClose gets.
func (c *Connection) Destroy(err error) {
	if c.closed {
		return
	}
	if err == nil {
		err = ErrConnectionClosed
	}
	c.close(err)
}

// start puts the connection on a raw stream that is connected, with the keys of the handshake.
func (c *Connection) start(raw *stream.Stream, keys noise.Result, path Path) {
	c.raw = raw
	c.path = path
	c.remote, c.hash = keys.RemotePublicKey, keys.Hash
	c.sec = secret.New(c.initiator, keys, c.p.host.Rand())
	c.started = true
	switch {
	case c.trusted:
		raw.Trust()
	case c.unproven:
		c.sec.LimitReceive(maxUnprovenMessage)
		fallthrough
	default: // before it opens, nothing but a header is accepted
		raw.Confine(c.memory)
	}
	c.release = c.p.pool.ref(raw.Socket())
	c.p.stats.ConnectionsOpened++
	c.trail.key = c.remote
	c.notePath()

	raw.OnData(c.receive)
	raw.OnMessage(c.receiveMessage)
	raw.OnDrain(func() {
		if c.onDrain != nil && !c.closed {
			c.onDrain()
		}
	})
	raw.OnEnd(func() {
		if c.onEnd != nil && !c.closed {
			c.onEnd()
		}
	})
	raw.OnClose(func(err error) {
		if !c.closed {
			switch {
			case err == nil && !c.open:
				err = ErrConnectionClosed
			case err == stream.ErrTimeout:
				err = ErrPeerSilent
			}
			c.close(err)
		}
	})
	if c.paused || c.held {
		raw.Pause()
	}
	c.lastWrite = c.p.host.Now()
	raw.Write(c.sec.AppendHeader(c.buf[:0]))
	pending := c.pending
	c.pending = nil
	more := true
	for _, msg := range pending {
		more = c.write(msg)
	}
	c.p.host.Defer(func() {
		if c.onStart != nil && !c.closed {
			c.onStart()
		}
	})
	c.armKeepAlive()
	if c.ending {
		c.stopKeepAlive()
		raw.End()
		return
	}
	if more && len(pending) > 0 && c.onDrain != nil {
		c.p.host.Defer(c.onDrainLater)
	}
}

func (c *Connection) onDrainLater() {
	if c.onDrain != nil && !c.closed {
		c.onDrain()
	}
}

// hand gives a connection that came in to the application; nothing is delivered before.
func (c *Connection) hand(to func(*Connection)) {
	c.held = true
	c.p.host.Defer(func() {
		c.held = false
		to(c)
		if c.closed {
			return
		}
		if !c.paused {
			c.raw.Resume()
		}
	})
}

// moved is told that the raw stream has gone over to another socket.
func (c *Connection) moved(sock host.Socket, path Path) {
	if c.closed {
		return
	}
	if path != c.path && c.open && c.openedAt.Before(c.p.host.Now()) { // before, it was a guess
		c.p.stats.PathChanges++
	}
	old := c.release
	c.release = c.p.pool.ref(sock)
	c.path = path
	c.notePath()
	old()
	c.p.host.Defer(func() {
		if c.onPath != nil && !c.closed {
			c.onPath()
		}
	})
}

func (c *Connection) notePath() {
	c.trail.note(AttemptEvent{Step: AttemptPath, Path: c.path, Addr: c.raw.RemoteAddr()})
}

func (c *Connection) receive(chunk []byte) {
	c.hear()
	if c.onTraffic != nil {
		c.onTraffic()
	}
	err := c.sec.Receive(chunk, c.deliver)
	if err != nil && !c.closed {
		c.p.stats.ConnectionsBroken++
		if err == secret.ErrTooLong {
			c.p.stats.UnprovenTooLong++
		}
		c.Destroy(err)
		return
	}
	if !c.open && !c.closed && c.sec.Opened() {
		c.opened()
	}
}

// hear notes the first sign of life.
func (c *Connection) hear() {
	if !c.wasHeard {
		c.wasHeard = true
		c.trail.note(AttemptEvent{Step: AttemptFirstPacket, Path: c.path, Addr: c.raw.RemoteAddr()})
	}
}

func (c *Connection) opened() {
	c.open, c.openedAt = true, c.p.host.Now()
	if prove := c.onProof; prove != nil {
		c.onProof = nil
		if prove(); c.closed {
			return
		}
	}
	if !c.unproven {
		c.Trust()
	}
	c.trail.note(AttemptEvent{Step: AttemptOpen, Path: c.path})
	if c.caller != nil {
		c.caller.connectionOpened()
	}
	if c.onOpen != nil {
		c.onOpen()
	}
}

func (c *Connection) deliver(msg []byte) {
	if c.closed {
		return
	}
	if !c.open {
		c.opened()
	}
	if c.second != nil {
		c.second.proved()
	}
	// An empty message is the other side's keep-alive.
	if c.closed || c.onMessage == nil || (len(msg) == 0 && c.keepAlive > 0) {
		return
	}
	c.onMessage(msg)
}

func (c *Connection) receiveMessage(b []byte) {
	c.hear()
	if c.onTraffic != nil {
		c.onTraffic()
	}
	if len(b) == 0 && c.second != nil {
		c.second.rp.called()
	}
	if c.closed || len(b) == 0 || c.onUnordered == nil {
		return
	}
	if msg, ok := c.sec.OpenMessage(b); ok {
		c.onUnordered(msg)
	}
}

func (c *Connection) armKeepAlive() {
	if c.keepAlive == 0 || c.closed || c.ending {
		return
	}
	c.timer = c.p.host.AfterFunc(c.keepAlive, c.keepAliveDue)
}

// keepAliveDue sends an empty message if nothing was written for the whole interval, and otherwise comes
// back when that may be so: one timer per interval instead of one per write. The peer acknowledges whatever
// we send, so one that is not heard of for three intervals is not well.
func (c *Connection) keepAliveDue() {
	if c.closed || c.ending {
		return
	}
	now := c.p.host.Now()
	next := c.keepAlive
	if c.open { // before, the transport gives up
		left := silentIntervals*c.keepAlive - now.Sub(max(c.raw.LastReceived(), c.openedAt))
		if left <= 0 {
			c.Destroy(ErrPeerSilent)
			return
		}
		next = min(next, left)
	}
	idle := now.Sub(c.lastWrite)
	if idle >= c.keepAlive {
		c.write(nil)
		idle = 0
	}
	c.timer.Reset(min(next, c.keepAlive-idle))
}

func (c *Connection) stopKeepAlive() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *Connection) noteEnd() {
	c.ways.lost()
	c.ways = nil
	e := AttemptEvent{Step: AttemptClosed, Path: c.path, Err: c.err}
	if c.raw != nil {
		s := c.raw.Stats()
		e.PacketsSent, e.PacketsReceived = s.PacketsSent, s.PacketsReceived
	}
	c.trail.note(e)
}

// close is the only way into the last state.
func (c *Connection) close(err error) {
	c.closed = true
	c.err = err
	c.noteEnd()
	c.pending = nil
	c.stopKeepAlive()
	if c.raw != nil {
		c.raw.Destroy(nil) // before a relay is closed that passes it on
	}
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
	if c.caller != nil {
		c.caller.connectionOver()
	}
	if c.release != nil {
		c.release()
		c.release = nil
	}
	if c.started {
		c.p.stats.ConnectionsClosed++
		if r, ok := c.p.routes[c.remote]; ok && err != nil && r.sock == c.raw.Socket() {
			delete(c.p.routes, c.remote)
		}
	}
	c.p.connections.remove(c)
	c.p.host.Defer(func() {
		if c.onClose != nil {
			c.onClose(err)
		}
	})
}
