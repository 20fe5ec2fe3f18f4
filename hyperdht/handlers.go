package hyperdht

// handlers are those that the application has set; nil ones are not called.
type handlers struct {
	start, open, drain, end, path func()
	message, unordered            func([]byte)
	close                         func(error)
}

// tell runs a handler of a connection that is not over.
func (c *Connection) tell(handler *func()) {
	if f := *handler; f != nil && !c.closed {
		f()
	}
}

// OnStart sets what runs once there is a path, when HandshakeHash is known and before anything has come from the
// other side, which may not even be there.
func (c *Connection) OnStart(f func()) { c.handlers.start = f }

// OnOpen sets what runs once the other side has proven that it is there.
func (c *Connection) OnOpen(f func()) { c.handlers.open = f }

// OnMessage sets what gets each message. The slice is borrowed for the call.
func (c *Connection) OnMessage(f func([]byte)) { c.handlers.message = f }

// OnUnordered sets what gets each unordered message. The slice is borrowed for the call.
func (c *Connection) OnUnordered(f func([]byte)) { c.handlers.unordered = f }

// OnDrain sets what runs when the connection takes more after Send has returned false.
func (c *Connection) OnDrain(f func()) { c.handlers.drain = f }

// OnEnd sets what runs when the other side has ended its direction.
func (c *Connection) OnEnd(f func()) { c.handlers.end = f }

// OnPath sets what runs when packets to the other side begin to take another path, which Path and RemoteAddr describe.
func (c *Connection) OnPath(f func()) { c.handlers.path = f }

// OnClose sets what runs when the connection is over: nil after both sides ended it, the reason otherwise.
func (c *Connection) OnClose(f func(error)) { c.handlers.close = f }
