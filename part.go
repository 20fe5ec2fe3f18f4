package dhtprom

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/dhtprom/dhtprom/ports/bridge"
)

// Part is the lifecycle of something on a node: it is started once, and closed once, by its own Close, by the end of the context
// that it was started with, or by its node, whichever comes first.
//
//	made ──Start──▶ running ──Close, its context, its node──▶ closed
//	  └──────────────────────Close, its node───────────────────▲
type Part struct {
	node *Node
	what string
	end  func(done func()) // on the loop
	last func()            // after end; may be nil

	mu     sync.Mutex
	cancel func() bool // detaches from the context; nil before Start

	once sync.Once
	done chan struct{}
	err  error // of Close, once done
}

// NewPart adds a part to the node. what is its name in errors. end, on the loop, closes it and calls done; then last, if not nil,
// runs on the closing goroutine, also if the loop had no time for end. NewPart fails on a closed node.
func (n *Node) NewPart(what string, end func(done func()), last func()) (*Part, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	p := &Part{node: n, what: what, end: end, last: last, done: make(chan struct{})}
	n.parts = append(n.parts, p)
	return p, nil
}

// Start runs start on the loop and waits until it calls done, or ctx ends. If that fails, the part is closed. From then on it
// closes with ctx. On a closed part it returns ErrClosed.
func (p *Part) Start(ctx context.Context, start func(done func(error))) error {
	select {
	case <-p.done:
		return ErrClosed
	default:
	}
	err := Outcome(bridge.Call(ctx, p.node.host, func(done func(error)) func() {
		start(done)
		return nil
	}))
	if err != nil {
		return errors.Join(err, p.Close())
	}
	cancel := context.AfterFunc(ctx, func() { _ = p.Close() })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = cancel
	select {
	case <-p.done: // it was closed meanwhile
		cancel()
	default:
	}
	return nil
}

// Done returns a channel that is closed with the part.
func (p *Part) Done() <-chan struct{} { return p.done }

// Close closes the part and waits, for CloseTimeout at most. Later calls wait for the first and return the same error.
func (p *Part) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), CloseTimeout)
	defer stop()
	return p.close(ctx)
}

func (p *Part) close(ctx context.Context) error {
	p.once.Do(func() {
		p.err = End(ctx, p.node.host, p.what, p.end)
		if p.last != nil {
			p.last()
		}
		p.node.forget(p)
		p.mu.Lock()
		if p.cancel != nil {
			p.cancel()
		}
		p.mu.Unlock()
		close(p.done)
	})
	return p.err
}

// forget removes a closed part from the node's list.
func (n *Node) forget(p *Part) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts = slices.DeleteFunc(n.parts, func(q *Part) bool { return q == p })
}
