package dhtprom

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/dhtprom/dhtprom/ports/bridge"
)

// Part is the life of something that runs on a node: it is started once, and ends once, by its own Close, with the context
// that it was started with, or with its node, whichever comes first.
//
//	made ──Start──▶ running ──Close, its context, its node──▶ closed
//	  └──────────────────────Close, its node───────────────────▲
type Part struct {
	node *Node
	what string
	end  func(done func()) // on the loop
	last func()            // after that; may be nil

	mu     sync.Mutex
	cancel func() bool // lets go of the context; nil before Start

	once sync.Once
	done chan struct{}
	err  error // of Close, once done
}

// NewPart adds a part to the node. what is its name in errors. end, on the loop, ends it and calls done; then last, if there
// is one, runs on whatever goroutine closes it, also where the loop had no time for end. It fails on a closed node.
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

// Start runs start on the loop and waits until it calls done, or ctx ends. Where that fails, the part is closed. From then
// on it ends with ctx. On a closed part it returns ErrClosed.
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

// Done is closed when the part is.
func (p *Part) Done() <-chan struct{} { return p.done }

// Close ends the part and waits, for CloseTimeout at most. Later calls wait for the first and return the same.
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

// forget takes a part that is closed off the node's list.
func (n *Node) forget(p *Part) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts = slices.DeleteFunc(n.parts, func(q *Part) bool { return q == p })
}
