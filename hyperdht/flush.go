package hyperdht

import "slices"

// flushCall is a call of Connection.Flush.
type flushCall struct {
	done   func(error) // nil if the call was cancelled
	after  int         // number of queued messages that it waits for, before there is a path
	cancel func()      // stops the wait of the stream; nil before there is one
}

// Flush calls done once, in a later turn, when the peer has acknowledged all messages that were sent before: they are on its machine,
// where its application has read them or will. The argument is nil then, or the reason for the end of the connection, before OnClose, if
// that comes first: what has arrived is not known. Unordered messages are not waited for. cancel makes done not run; it has no effect
// later.
func (c *Connection) Flush(done func(error)) (cancel func()) {
	f := &flushCall{done: done, after: len(c.pending)}
	switch {
	case c.closed:
		c.p.host.Defer(func() { f.end(c.err) }) // nil after the end of both sides: the peer has everything
	case c.started:
		c.begin(f)
	default:
		c.flushes = append(c.flushes, f)
	}
	return func() {
		f.done = nil
		if f.cancel != nil {
			f.cancel()
		}
		c.flushes = slices.DeleteFunc(c.flushes, func(other *flushCall) bool { return other == f })
	}
}

// begin waits for the acknowledgement of what the stream has.
func (c *Connection) begin(f *flushCall) {
	f.cancel = c.raw.Flush(func(err error) {
		if err != nil {
			err = c.reason()
		}
		f.end(err)
	})
}

// beginFlushes begins the waits of calls from before there was a path, once the stream has so many of the messages that were queued.
func (c *Connection) beginFlushes(written int) {
	for len(c.flushes) > 0 && c.flushes[0].after <= written {
		f := c.flushes[0]
		c.flushes = c.flushes[1:]
		c.begin(f)
	}
}

// failFlushes ends calls of a connection that has not found a path.
func (c *Connection) failFlushes() {
	flushes := c.flushes
	c.flushes = nil
	for _, f := range flushes {
		c.p.host.Defer(func() { f.end(c.reason()) })
	}
}

func (f *flushCall) end(err error) {
	if done := f.done; done != nil {
		f.done = nil
		done(err)
	}
}
