// Package part has the lifecycles of what runs on a node, for the packages of the roles.
//
// # States
//
// A part closes by its own Close, by the end of the context that it was started with, or with its node, whichever comes first.
//
// Part:
//
//	made     -       ──▶ running, closed
//	         (no limit: until it is started, or closed by itself or with its node)
//	running  -       ──▶ closed
//	         (no limit: until it is closed, its context ends, or its node closes)
//	closed   -
package part

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Host is the host of a node, with the parts that run on it.
type Host struct {
	host.Host
	timeout time.Duration

	mu     sync.Mutex
	closed bool
	parts  []*Part // in the order of creation
}

// NewHost returns a host without parts. timeout bounds every Close.
func NewHost(h host.Host, timeout time.Duration) *Host { return &Host{Host: h, timeout: timeout} }

// Close closes the parts, the latest first, and waits for all of them. It takes the timeout at most: a part that uses up its share does not
// prevent the close of the next. Only the first call closes them, which first reports.
func (h *Host) Close(ctx context.Context) (first bool, err error) {
	h.mu.Lock()
	first = !h.closed
	h.closed = true
	parts := slices.Clone(h.parts)
	h.mu.Unlock()
	if !first {
		return false, nil
	}
	share := h.timeout / time.Duration(len(parts)+1)
	results := make(chan error, len(parts))
	for _, p := range slices.Backward(parts) {
		go func() { results <- p.close(ctx) }()
		used := time.NewTimer(share)
		select {
		case <-p.done:
		case <-used.C:
		}
		used.Stop()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-results)
	}
	return true, errors.Join(errs...)
}

// forget removes a closed part from the list.
func (h *Host) forget(p *Part) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts = slices.DeleteFunc(h.parts, func(q *Part) bool { return q == p })
}

// Part is the lifecycle of something on a node: it is started once, and closed once.
type Part struct {
	host *Host
	what string
	end  func(done func()) // on the loop
	last func()            // after end; may be nil

	mu     sync.Mutex
	cancel func() bool // detaches from the context; nil before Start

	once sync.Once
	done chan struct{}
	err  error // of Close, once done
}

// New adds a part to a node, by its Node.Host. what is its name in errors. end, on the loop, closes it and calls done; then last, if not
// nil, runs on the closing goroutine, also if the loop had no time for end. New fails on a closed node.
func New(node host.Host, what string, end func(done func()), last func()) (*Part, error) {
	h := node.(*Host)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, domain.ErrClosed
	}
	p := &Part{host: h, what: what, end: end, last: last, done: make(chan struct{})}
	h.parts = append(h.parts, p)
	return p, nil
}

// Start runs start on the loop and waits until it calls done, or ctx ends. If that fails, the part is closed. From then on it
// closes with ctx. On a closed part it returns domain.ErrClosed.
func (p *Part) Start(ctx context.Context, start func(done func(error))) error {
	select {
	case <-p.done:
		return domain.ErrClosed
	default:
	}
	err := Outcome(bridge.Call(ctx, p.host, func(done func(error)) func() {
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

// Close closes the part and waits, for the timeout of the host at most. Later calls wait for the first and return the same error.
func (p *Part) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), p.host.timeout)
	defer stop()
	return p.close(ctx)
}

func (p *Part) close(ctx context.Context) error {
	p.once.Do(func() {
		p.err = End(ctx, p.host, p.what, p.end)
		if p.last != nil {
			p.last()
		}
		p.host.forget(p)
		p.mu.Lock()
		if p.cancel != nil {
			p.cancel()
		}
		p.mu.Unlock()
		close(p.done)
	})
	return p.err
}

// End runs end on a loop and waits until it calls done, or ctx ends, which is an error that names what did not close. On a closed
// host it does nothing.
func End(ctx context.Context, loop host.Loop, what string, end func(done func())) error {
	if err := bridge.Wait(ctx, loop, end); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not close in time", what)
	}
	return nil
}

// Outcome merges the errors of a call into a node's loop by package bridge: that of the call itself, and the returned one.
func Outcome(returned, err error) error {
	switch {
	case err == nil && errors.Is(returned, hyperdht.ErrKeyPairInUse):
		//lint:ignore ST1005 begins with the name of a field
		return fmt.Errorf("Seed: another client or scraper of this node has it: %w", returned)
	case errors.Is(err, bridge.ErrClosed):
		return domain.ErrClosed
	case err != nil:
		return err
	}
	return returned
}
