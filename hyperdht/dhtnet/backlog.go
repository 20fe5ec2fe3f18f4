package dhtnet

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/dhtprom/dhtprom/ports/host"
)

// maxBacklog bounds the connections that wait for Accept; more are destroyed.
const maxBacklog = 128

// backlog holds connections that wait for Accept.
type backlog[C io.Closer] struct {
	mu      sync.Mutex
	waiting []C
	arrived chan struct{}
	done    chan struct{}
	ended   bool
}

func newBacklog[C io.Closer]() *backlog[C] {
	return &backlog[C]{arrived: make(chan struct{}, 1), done: make(chan struct{})}
}

// add adds a connection. It reports false if there are too many, or the backlog has ended.
func (b *backlog[C]) add(c C) bool {
	b.mu.Lock()
	full := b.ended || len(b.waiting) >= maxBacklog
	if !full {
		b.waiting = append(b.waiting, c)
		b.wake()
	}
	b.mu.Unlock()
	return !full
}

// wake wakes one of the calls that wait. The lock is held.
func (b *backlog[C]) wake() {
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// take waits for the next connection. It returns net.ErrClosed once the backlog or the host has ended, and the error of ctx when that
// ends first.
func (b *backlog[C]) take(ctx context.Context, loop host.Loop) (c C, err error) {
	for {
		b.mu.Lock()
		switch {
		case b.ended:
			b.mu.Unlock()
			return c, net.ErrClosed
		case len(b.waiting) > 0:
			c = b.waiting[0]
			if b.waiting = b.waiting[1:]; len(b.waiting) > 0 {
				b.wake()
			}
			b.mu.Unlock()
			return c, nil
		}
		b.mu.Unlock()
		select {
		case <-b.arrived:
		case <-b.done:
		case <-ctx.Done():
			return c, ctx.Err()
		case <-loop.Closed():
			b.end()
		}
	}
}

// end makes take fail, and closes the connections that wait.
func (b *backlog[C]) end() {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return
	}
	b.ended = true
	waiting := b.waiting
	b.waiting = nil
	close(b.done)
	b.mu.Unlock()
	for _, c := range waiting {
		_ = c.Close() // it is open
	}
}
