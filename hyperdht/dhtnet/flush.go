package dhtnet

import (
	"context"
	"net"
	"slices"

	"github.com/dhtprom/dhtprom/ports/bridge"
)

// flushes are the calls of Flush that wait until the connection has all bytes that they are for.
type flushes struct {
	written uint64 // bytes that Write has taken; under the lock of the Conn

	// on the loop only
	passed  uint64 // of them, bytes that the connection has
	waiting []*flushWait
}

// flushWait is a call of Flush.
type flushWait struct {
	upTo  uint64
	begin func() // runs on the loop, once the connection has so many bytes
}

// pass counts bytes that the connection has, and begins the waits for their acknowledgement.
func (f *flushes) pass(n int) {
	f.passed += uint64(n)
	for len(f.waiting) > 0 && f.waiting[0].upTo <= f.passed {
		begin := f.waiting[0].begin
		f.waiting = slices.Delete(f.waiting, 0, 1)
		begin()
	}
}

// add begins a wait at once if the connection has the bytes, or is over, and returns a function that ends the wait before.
func (f *flushes) add(w *flushWait, over bool) (remove func()) {
	if over || w.upTo <= f.passed {
		w.begin()
		return func() {}
	}
	at := len(f.waiting)
	for at > 0 && f.waiting[at-1].upTo > w.upTo {
		at--
	}
	f.waiting = slices.Insert(f.waiting, at, w)
	return func() {
		f.waiting = slices.DeleteFunc(f.waiting, func(other *flushWait) bool { return other == w })
	}
}

// over begins all waits of a connection that has ended, which end at once.
func (f *flushes) over() {
	waiting := f.waiting
	f.waiting = nil
	for _, w := range waiting {
		w.begin()
	}
}

// Flush waits until the peer has acknowledged all that was written before: it is on the peer's machine, where the program has read it or
// will. Write does not wait for that, so a program that exits after Write, or after Close, may lose the last bytes. Flush returns the
// error of ctx when that ends, and otherwise fails with the reason for the end of the connection, if that comes first, and what has arrived
// is not known then. After Close it returns net.ErrClosed; after CloseWrite it waits as before. Deadlines have no effect on it, and
// unordered messages are not waited for.
func (c *Conn) Flush(ctx context.Context) error {
	c.mu.Lock()
	closed, upTo := c.closed, c.flushes.written
	c.mu.Unlock()
	if closed {
		return c.opError("flush", net.ErrClosed)
	}
	failure, err := bridge.Call(ctx, c.loop, func(done func(error)) func() {
		cancel := func() {}
		remove := c.flushes.add(&flushWait{upTo, func() { cancel = c.conn.Flush(done) }}, c.conn.Closed())
		return func() {
			remove()
			cancel()
		}
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return c.opError("flush", err)
	}
	return nil
}
