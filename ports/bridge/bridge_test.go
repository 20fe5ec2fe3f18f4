package bridge_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom/ports/bridge"
)

// loop runs posted functions on demand.
type loop struct {
	mu     sync.Mutex
	posts  []func()
	closed chan struct{}
}

func newLoop() *loop { return &loop{closed: make(chan struct{})} }

func (l *loop) Post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posts = append(l.posts, f)
}

func (l *loop) Closed() <-chan struct{} { return l.closed }

func (l *loop) run() {
	l.mu.Lock()
	posts := l.posts
	l.posts = nil
	l.mu.Unlock()
	for _, f := range posts {
		f()
	}
}

type outcome struct {
	value int
	err   error
}

// call begins a call in the bubble and returns the channel of its outcome.
func call(ctx context.Context, l *loop, start func(done func(int)) func()) <-chan outcome {
	c := make(chan outcome, 1)
	go func() {
		v, err := bridge.Call(ctx, l, start)
		c <- outcome{v, err}
	}()
	synctest.Wait()
	return c
}

func TestCallReturnsTheFirstResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop()
		var give func(int)
		canceled := false
		c := call(t.Context(), l, func(done func(int)) func() { give = done; return func() { canceled = true } })
		l.run()
		give(7)
		give(8)
		if got := <-c; got != (outcome{7, nil}) {
			t.Errorf("%+v", got)
		}
		l.run()
		if canceled {
			t.Error("canceled with a result")
		}
	})
}

func TestCallEndsWithItsContextAndCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		started, canceled := 0, 0
		c := call(ctx, l, func(func(int)) func() { started++; return func() { canceled++ } })
		l.run()
		if got := <-c; !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("%+v", got)
		}
		l.run()
		if started != 1 || canceled != 1 {
			t.Errorf("started %d times, canceled %d times", started, canceled)
		}
		c = call(ctx, l, func(func(int)) func() { started++; return nil })
		l.run()
		if got := <-c; got.err == nil || started != 1 {
			t.Errorf("after the end of the context: %+v, started %d times", got, started)
		}
	})
}

func TestCallEndsWithTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop()
		pending := call(t.Context(), l, func(func(int)) func() { return nil })
		l.run()
		close(l.closed)
		if got := <-pending; !errors.Is(got.err, bridge.ErrClosed) || !errors.Is(got.err, net.ErrClosed) {
			t.Errorf("a call that waits: %+v", got)
		}
		if got := <-call(t.Context(), l, func(func(int)) func() { return nil }); !errors.Is(got.err, bridge.ErrClosed) {
			t.Errorf("a call on a closed host: %+v", got)
		}
	})
}

func TestResultOfTheLastTurnCounts(t *testing.T) {
	for range 100 { // the choice between two channels is random
		synctest.Test(t, func(t *testing.T) {
			l := newLoop()
			c := call(t.Context(), l, func(done func(int)) func() { done(3); return nil })
			l.run()
			close(l.closed)
			if got := <-c; got != (outcome{3, nil}) {
				t.Fatalf("%+v", got)
			}
		})
	}
}

func TestDoReturnsWhatTheFunctionReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop()
		c := make(chan string, 1)
		go func() {
			v, err := bridge.Do(t.Context(), l, func() string { return "from the loop" })
			if err != nil {
				t.Error(err)
			}
			c <- v
		}()
		synctest.Wait()
		l.run()
		if got := <-c; got != "from the loop" {
			t.Errorf("%q", got)
		}
	})
}
