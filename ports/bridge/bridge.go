// Package bridge lets goroutines call into a host's loop and wait for the result. Every wait ends: with the result, with the
// caller's context, or with the host.
package bridge

import (
	"context"
	"fmt"
	"net"

	"github.com/dhtprom/dhtprom/ports/host"
)

// ErrClosed is returned for a call whose host closed before there was a result. It wraps net.ErrClosed.
var ErrClosed = fmt.Errorf("the host is closed: %w", net.ErrClosed)

// Call runs start on the loop and waits for a result, which start, or an operation that it started, passes to done on the loop.
// Only the first result counts. When ctx ends before that, Call returns ctx.Err(), and the function that start returned, if any,
// runs on the loop to cancel the operation; it also runs when the result came at the same moment and was not returned. start does
// not run once ctx has ended.
func Call[T any](ctx context.Context, loop host.Loop, start func(done func(T)) (cancel func())) (result T, err error) {
	answer := make(chan T, 1)
	var cancel func() // on the loop
	loop.Post(func() {
		if ctx.Err() != nil {
			return
		}
		cancel = start(func(v T) {
			select {
			case answer <- v:
			default:
			}
		})
	})
	select {
	case result = <-answer:
		return result, nil
	case <-ctx.Done():
		loop.Post(func() {
			if cancel != nil {
				cancel()
			}
		})
		return result, ctx.Err()
	case <-loop.Closed():
		select {
		case result = <-answer: // from the last turn
			return result, nil
		default:
			return result, ErrClosed
		}
	}
}

// Do runs f on the loop and returns its result. It returns ctx.Err() if ctx ends first; f may still run then. It must
// not be called on the loop.
func Do[T any](ctx context.Context, loop host.Loop, f func() T) (T, error) {
	return Call(ctx, loop, func(done func(T)) func() {
		done(f())
		return nil
	})
}

// Wait runs start on the loop and waits until it calls done.
func Wait(ctx context.Context, loop host.Loop, start func(done func())) error {
	_, err := Call(ctx, loop, func(done func(struct{})) func() {
		start(func() { done(struct{}{}) })
		return nil
	})
	return err
}
