package hyperdht

// handlers are the handlers of the application; nil ones are not called.
type handlers struct {
	start, open, drain, end, path func()
	message, unordered            func([]byte)
	close, over                   func(error)
}

// tell runs a handler of a connection that is not over.
func (c *Connection) tell(handler *func()) {
	if f := *handler; f != nil && !c.closed {
		f()
	}
}

// OnStart sets the handler for the first path: HandshakeHash is known, and no packet of the other side has decrypted
// yet.
func (c *Connection) OnStart(f func()) { c.handlers.start = f }

// OnOpen sets the handler for the opening of the connection: a packet of the other side has decrypted.
func (c *Connection) OnOpen(f func()) { c.handlers.open = f }

// OnMessage sets the handler for messages. The slice is borrowed for the call.
func (c *Connection) OnMessage(f func([]byte)) { c.handlers.message = f }

// OnUnordered sets the handler for unordered messages. The slice is borrowed for the call.
func (c *Connection) OnUnordered(f func([]byte)) { c.handlers.unordered = f }

// OnDrain sets the handler that runs when more may be sent after Send has returned false.
func (c *Connection) OnDrain(f func()) { c.handlers.drain = f }

// OnEnd sets the handler for the end of the other side's direction.
func (c *Connection) OnEnd(f func()) { c.handlers.end = f }

// OnPath sets the handler for a change of path, which Path and RemoteAddr describe.
func (c *Connection) OnPath(f func()) { c.handlers.path = f }

// OnClose sets the handler for the end of the connection. Its argument is nil after both sides ended it, the reason otherwise.
func (c *Connection) OnClose(f func(error)) { c.handlers.close = f }

// OnOver sets a second handler for the end of the connection, which runs before that of OnClose: for a package that manages
// connections on behalf of an application, as package swarm does, and leaves OnClose to it.
func (c *Connection) OnOver(f func(error)) { c.handlers.over = f }
