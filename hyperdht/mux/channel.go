package mux

import (
	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// ChannelOptions configure a channel. Callbacks may be nil.
type ChannelOptions struct {
	// Protocol is the name, and ID an optional part of it that tells channels of a protocol apart. A nil ID
	// and an empty one are the same. At most MaxName bytes each.
	Protocol string
	ID       []byte
	// Multiple allows further channels of the same protocol and id. They pair in the order of opening.
	Multiple bool
	// Handshake goes with the open.
	Handshake []byte
	// Messages are the handlers by message type. A payload is borrowed for the call. Messages of other types,
	// and of types with a nil handler, are ignored.
	Messages []func(payload []byte)
	// OnOpen is called when the other side has opened too, before any message. Its handshake is borrowed.
	OnOpen func(handshake []byte)
	// OnClose is called once at the end: inside Close, or when the other side closed or rejected the channel
	// or the pipe closed (remote).
	OnClose func(remote bool)
	// OnDrain is called when sending is welcome again.
	OnDrain func()
}

// Channel is one side of a channel.
type Channel struct {
	mux      *Mux
	opts     ChannelOptions
	identity *identity
	localID  int // 0 once closed
	remoteID int // 0 until paired
	opened   bool
	closed   bool
}

// Open opens a channel: with an open of the other side that waits for it, or as the first. It fails with
// ErrClosed, ErrDuplicate, ErrTooMany or ErrTooLong, and then nothing was sent.
func (m *Mux) Open(opts ChannelOptions) (*Channel, error) {
	switch {
	case m.dead:
		return nil, ErrClosed
	case len(opts.Protocol) > MaxName || len(opts.ID) > MaxName || len(opts.Handshake) > MaxPayload-4*MaxName:
		return nil, ErrTooLong
	case m.live >= MaxChannels || len(m.free) == 0 && len(m.local) >= maxNumbers:
		return nil, ErrTooMany
	}
	info := m.identity(keyOf(opts.Protocol, opts.ID))
	if info.open > 0 && !opts.Multiple {
		return nil, ErrDuplicate
	}
	c := &Channel{mux: m, opts: opts, identity: info}
	m.number(c)
	info.open++
	if len(info.incoming) > 0 {
		c.remoteID = info.incoming[0]
		info.incoming = info.incoming[1:]
		info.taken = append(info.taken, c)
		m.remote[c.remoteID].channel = c
	} else {
		info.outgoing = append(info.outgoing, c.localID)
		m.local[c.localID-1].waiting = info
	}

	head := make([]byte, 0, 16+len(opts.Protocol)+len(opts.ID))
	head = compact.AppendUint(append(head, controlOpen), uint64(c.localID))
	head = compact.AppendString(head, opts.Protocol)
	head = compact.AppendBytes(head, opts.ID)
	m.send(0, head, opts.Handshake)
	return c, nil
}

// number gives a channel the number that became free last, or the next higher one.
func (m *Mux) number(c *Channel) {
	i := len(m.local)
	if n := len(m.free); n > 0 {
		i = m.free[n-1]
		m.free = m.free[:n-1]
	} else {
		m.local = append(m.local, localSlot{})
	}
	m.local[i].channel = c
	m.live++
	c.localID = i + 1
}

// Protocol returns the name of the channel.
func (c *Channel) Protocol() string { return c.opts.Protocol }

// ID returns the id of the channel, empty for none.
func (c *Channel) ID() []byte { return c.opts.ID }

// Mux returns the multiplexer of the channel.
func (c *Channel) Mux() *Mux { return c.mux }

// Opened reports whether the other side has opened the channel too. It stays true when the channel closes.
func (c *Channel) Opened() bool { return c.opened }

// Closed reports whether the channel is closed.
func (c *Channel) Closed() bool { return c.closed }

// Cork is Mux.Cork.
func (c *Channel) Cork() { c.mux.Cork() }

// Uncork is Mux.Uncork.
func (c *Channel) Uncork() { c.mux.Uncork() }

// Send sends a message of a type, with a payload that may be given in parts. They are the caller's again on return. It is false when the channel is
// closed, so that nothing is sent, or when the pipe would rather have no more until OnDrain; while corked it is
// true. A payload above MaxPayload destroys the pipe with ErrTooLong: the other side would miss a message that
// this side believes sent.
func (c *Channel) Send(msgType int, payload ...[]byte) bool {
	if c.closed {
		return false
	}
	if msgType < 0 {
		panic("mux: negative message type")
	}
	if lengthOf(payload) > MaxPayload {
		c.mux.Destroy(ErrTooLong)
		return false
	}
	var head [9]byte
	return c.mux.send(c.localID, compact.AppendUint(head[:0], uint64(msgType)), payload...)
}

// Close closes the channel, and calls OnClose. Closing twice is harmless.
func (c *Channel) Close() {
	if c.closed {
		return
	}
	c.mux.control(controlClose, c.localID)
	c.close(bySelf)
}

// closer is the side that closes a channel.
type closer bool

const (
	bySelf closer = false
	byPeer closer = true
)

// close takes the channel out of everything. Its number is free at once if the other side had opened it too;
// if not, the other side's open or reject is still to come and would hit the number's next user.
func (c *Channel) close(by closer) {
	if c.closed {
		return
	}
	m, i := c.mux, c.localID-1
	c.closed = true
	c.identity.open--
	if c.remoteID > 0 {
		m.dropRemote(c.remoteID)
		m.free = append(m.free, i)
	}
	m.local[i].channel = nil
	m.live--
	c.localID, c.remoteID = 0, 0
	m.collect(c.identity)
	if c.opts.OnClose != nil {
		c.opts.OnClose(by == byPeer)
	}
}

// complete makes a paired channel fully open and delivers what was held for it.
func (c *Channel) complete(handshake []byte) {
	if c.opened || c.closed || c.mux.dead {
		return
	}
	c.opened = true
	end := c.mux.remote[c.remoteID]
	if c.opts.OnOpen != nil {
		c.opts.OnOpen(handshake)
	}
	// Whatever comes in while the held messages are delivered joins their end.
	for len(end.messages) > 0 && !c.closed && !c.mux.dead {
		msg := end.messages[0]
		end.messages = end.messages[1:]
		c.deliver(msg.msgType, msg.payload)
	}
	if end.offered {
		c.mux.release(end)
	}
}

// deliver hands a message to its handler.
func (c *Channel) deliver(msgType uint64, payload []byte) {
	if msgType >= uint64(len(c.opts.Messages)) || c.opts.Messages[msgType] == nil {
		c.mux.stats.UnknownType++
		return
	}
	c.opts.Messages[msgType](payload)
}
