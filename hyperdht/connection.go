package hyperdht

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/secret"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Connection is an encrypted, ordered, message-preserving stream between two keys, with unordered messages
// beside it. It lives on its node's loop: methods and handlers run there. Its states are in internals.go.
//
// Messages may be sent until it is closed; before a path is found they wait. OnOpen fires when the first packet of the other side
// has decrypted. OnClose fires exactly once, last: with nil after both sides have ended, otherwise with the reason.
type Connection struct {
	p            *peering
	attemptTrace attemptTrace
	link         bool // it is to a relay, for others
	ends
	progress
	carrier
	trust
	delivery
	hidden hiddenFrames
	outbox
	keepAlive keepAlive
	handlers  handlers

	onProof   func()     // runs when the first packet has decrypted, before any handler
	onTraffic func()     // sees that something came from the peer, while a change of path is not proven
	onGone    func()     // runs in the turn of the end, before OnClose
	cancel    func()     // stops the search for a path, or for a better one
	ways      *wayLog    // of a connection that was dialled; nil once it has a direct path
	second    *secondWay // a relay kept beside a direct path; nil before there was one
	caller    *incoming  // of a connection that came in
}

// PublicKey returns our public key on this connection.
func (c *Connection) PublicKey() id.PublicKey { return c.local }

// RemotePublicKey returns the public key that the other side has proven to hold.
func (c *Connection) RemotePublicKey() id.PublicKey { return c.remote }

// HandshakeHash returns a secret that identifies this connection to its two sides alone; zero before there is a path.
func (c *Connection) HandshakeHash() [64]byte { return c.hash }

// IsInitiator reports whether our side dialled.
func (c *Connection) IsInitiator() bool { return c.initiator }

// Opened reports whether a packet of the other side has decrypted.
func (c *Connection) Opened() bool { return c.open }

// Answered reports whether the other side has answered the handshake, which may be long before there is a path.
func (c *Connection) Answered() bool { return c.answered || c.started }

// Closed reports whether the connection has ended; its OnClose may still be about to run.
func (c *Connection) Closed() bool { return c.closed }

// RemoteAddr returns the destination of our packets; invalid before there is a path.
func (c *Connection) RemoteAddr() netip.AddrPort { return c.remoteAddr() }

// LocalAddr returns the address of the socket that carries the connection; invalid before there is a path.
func (c *Connection) LocalAddr() netip.AddrPort { return c.localAddr() }

// answersFrom reports whether the other side has shown that it receives what is sent to a host. A relay in between has not:
// its address is not the other side's.
func (c *Connection) answersFrom(host netip.Addr) bool {
	return c.started && c.path != PathRelayed && c.raw.RemoteAddr().Addr() == host && !c.raw.Limited()
}

// Path returns the current path of the packets; a relayed connection may move to a better one.
func (c *Connection) Path() Path { return c.path }

// DirectSilence returns the time since the last packet on the direct path of a connection that a relay has taken over; 0 if no
// relay has.
func (c *Connection) DirectSilence() time.Duration {
	if c.second == nil || c.closed {
		return 0
	}
	return c.second.silence()
}

// Trust lifts the limits on the memory that the other side can make this node hold: 64 kB in all,
// and messages of 16 KiB each. A connection is trusted when it opens, unless its server sets
// KeepLimited. Repeated calls have no effect.
func (c *Connection) Trust() {
	if c.trusted {
		return
	}
	c.trusted = true
	if c.usable() {
		c.carrier.lift()
	}
}

// Unsent returns the memory of the messages that were sent and not yet acknowledged, in bytes.
func (c *Connection) Unsent() int {
	if c.raw == nil || c.closed {
		return 0
	}
	return c.raw.SendMemory()
}

// Idle reports whether nothing is under way: the other side has acknowledged all that was sent, and no message of it has arrived in part.
// A message that seems to have other ones in it does not count: its rest does not come.
func (c *Connection) Idle() bool {
	return c.usable() && c.raw.Idle() && (!c.sec.Receiving() || c.hidden.seen())
}

// ConnectionStats are measurements of a connection.
type ConnectionStats struct {
	// RTT is the smoothed round-trip time; 0 before the first measurement.
	RTT time.Duration
	// Sent is the number of packets with data that this side has sent, Resent that of the repetitions among them: of packets that were
	// taken for lost. Acknowledgements are not repeated, and not counted.
	Sent, Resent uint64
}

// Stats returns the measurements so far; zero before there is a path, and after the close. They go on when the path changes.
func (c *Connection) Stats() ConnectionStats {
	if !c.usable() {
		return ConnectionStats{}
	}
	s := c.raw.Stats()
	return ConnectionStats{RTT: s.RTT, Sent: s.DataSent, Resent: s.Retransmits}
}

// memory returns what the connection holds above its raw stream, in bytes. What is sent is the application's choice where the
// peer cannot ask for anything yet: before the connection opens, and on the side that dialled.
func (c *Connection) memory() int {
	n := connectionMemory + c.sec.Held()
	if c.unproven && !c.initiator {
		n += c.raw.SendMemory() + cap(c.frame)
	}
	return n
}

// Send sends one message, which may be given in parts, and does not keep the slices. It returns false when the caller should wait for
// OnDrain before it sends more; the message is sent nevertheless. Messages after End or Destroy are dropped. A message of 16 MiB or more
// ends the connection with ErrMessageTooLarge, and so do more than 1,024 messages before there is a path, with another error.
func (c *Connection) Send(msg ...[]byte) bool {
	if !c.writable() {
		return false
	}
	if c.started {
		return c.write(msg...)
	}
	switch whole := bytes.Join(msg, nil); {
	case len(whole) > secret.MaxMessage:
		c.Destroy(ErrMessageTooLarge)
	case !c.queue(whole):
		c.Destroy(errTooManyPending)
	}
	return false
}

func (c *Connection) write(msg ...[]byte) bool {
	frame, err := c.sec.Append(c.scratch(), msg...)
	if err != nil {
		c.Destroy(ErrMessageTooLarge)
		return false
	}
	c.keepAlive.lastWrite = c.p.host.Now()
	more := c.raw.Write(frame[secret.Headroom:])
	c.reuse(frame)
	return more
}

// SendUnordered sends a message that may arrive late, twice or not at all. Up to 1,128 bytes fit a datagram on every path;
// above 2,004 bytes, and before there is a path, it is dropped.
func (c *Connection) SendUnordered(msg []byte) {
	if c.usable() {
		c.raw.SendMessage(c.sec.SealMessage(msg))
	}
}

// End ends our direction after all messages sent before.
func (c *Connection) End() {
	if !c.writable() {
		return
	}
	c.ending = true
	if c.started {
		c.keepAlive.stop()
		c.raw.End()
	}
}

// Pause stops the delivery of messages; what arrives meanwhile closes the receive window. Pause from OnOpen on: an incoming connection
// that is not read before it opens ends after 15 seconds, since only its first packet proves the peer.
func (c *Connection) Pause() {
	c.paused = true
	if c.usable() {
		c.raw.Pause()
	}
}

// Resume undoes Pause.
func (c *Connection) Resume() {
	c.paused = false
	if c.usable() && !c.undelivered {
		c.raw.Resume()
	}
}

// Destroy ends the connection at once, in both directions. OnClose gets err.
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
	c.prove(keys)
	c.carrier = carrier{raw: raw, sec: secret.New(secret.Role(c.initiator), keys, c.p.host.Rand()), path: path}
	c.started = true
	c.apply(&c.carrier, c.memory)
	c.release = c.p.pool.ref(raw.Socket())
	c.p.stats.ConnectionsOpened++
	c.attemptTrace.key = c.remote
	c.notePath()

	raw.OnData(c.receive)
	raw.OnMessage(c.receiveMessage)
	raw.OnDrain(c.drain)
	raw.OnEnd(func() { c.tell(&c.handlers.end) })
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
	if !c.flows() {
		raw.Pause()
	}
	c.keepAlive.lastWrite = c.p.host.Now()
	raw.Write(c.sec.AppendHeader(c.frame[:0]))
	pending := c.unqueue()
	more := true
	c.beginFlushes(0)
	for i, msg := range pending {
		more = c.write(msg)
		c.beginFlushes(i + 1)
	}
	c.p.host.Defer(func() { c.tell(&c.handlers.start) })
	c.armKeepAlive()
	if c.ending {
		c.keepAlive.stop()
		raw.End()
		return
	}
	if more && len(pending) > 0 && c.handlers.drain != nil {
		c.p.host.Defer(c.drain)
	}
}

func (c *Connection) drain() { c.tell(&c.handlers.drain) }

// deliverLater passes an incoming connection to the application at the end of the turn; no message is delivered before.
func (c *Connection) deliverLater(to func(*Connection)) {
	c.undelivered = true
	c.p.host.Defer(func() {
		c.undelivered = false
		to(c)
		if c.closed {
			return
		}
		if !c.paused {
			c.raw.Resume()
		}
	})
}

// moved is called when the raw stream has moved to another socket.
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
	c.p.host.Defer(func() { c.tell(&c.handlers.path) })
}

func (c *Connection) notePath() {
	c.attemptTrace.note(AttemptEvent{Step: AttemptPath, Path: c.path, Addr: c.raw.RemoteAddr()})
}

func (c *Connection) receive(chunk []byte) {
	c.noteFirstPacket()
	if c.onTraffic != nil {
		c.onTraffic()
	}
	c.hidden.begin(c.sec.Receiving())
	err := c.sec.Receive(chunk, c.deliver)
	if !c.hidden.end(chunk) {
		err = ErrUnendedMessage
	}
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

// noteFirstPacket records the first packet of the other side.
func (c *Connection) noteFirstPacket() {
	if !c.heard {
		c.heard = true
		c.attemptTrace.note(AttemptEvent{Step: AttemptFirstPacket, Path: c.path, Addr: c.raw.RemoteAddr()})
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
	c.attemptTrace.note(AttemptEvent{Step: AttemptOpen, Path: c.path})
	if c.caller != nil {
		c.caller.connectionOpened()
	}
	if c.handlers.open != nil {
		c.handlers.open()
	}
}

func (c *Connection) deliver(msg []byte) {
	if c.closed {
		return
	}
	c.hidden.over()
	if !c.open {
		c.opened()
	}
	if c.second != nil {
		c.second.proved()
	}
	switch {
	case c.closed:
	case len(msg) == 0 && c.keepAlive.interval > 0:
		c.keepAliveReceived()
	case c.handlers.message != nil:
		c.handlers.message(msg)
	}
}

func (c *Connection) receiveMessage(b []byte) {
	c.noteFirstPacket()
	if c.onTraffic != nil {
		c.onTraffic()
	}
	if len(b) == 0 && c.second != nil {
		c.second.rp.called()
	}
	if c.closed || len(b) == 0 || c.handlers.unordered == nil {
		return
	}
	if msg, ok := c.sec.OpenMessage(b); ok {
		c.handlers.unordered(msg)
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
	c.attemptTrace.note(e)
}

// close is the only way into the last state.
func (c *Connection) close(err error) {
	c.closed = true
	c.err = err
	c.noteEnd()
	c.unqueue()
	c.failFlushes()
	c.keepAlive.stop()
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
	c.drop()
	if c.started {
		c.p.stats.ConnectionsClosed++
		if r, ok := c.p.routes[c.remote]; ok && err != nil && r.sock == c.raw.Socket() {
			delete(c.p.routes, c.remote)
		}
	}
	c.p.connections.remove(c)
	call(c.onGone)
	c.p.host.Defer(func() {
		for _, f := range []func(error){c.handlers.over, c.handlers.close} {
			if f != nil {
				f(err)
			}
		}
	})
}
