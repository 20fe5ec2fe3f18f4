// Package parallel runs the lanes of a simulated internet on all processors.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// patience bounds the looks of a goroutine at what it waits for before it sleeps, to some hundred microseconds. That is longer
// than a stretch of a net with ten thousand machines: waking up takes the kernel so long that the others would do all the work.
const patience = 200_000

// Pool makes calls on several processors. Its goroutines look for work all the time while there is some, so that a Pool is
// for what has no pauses. One goroutine at a time may call Run.
type Pool struct {
	current atomic.Pointer[batch]

	lock   sync.Mutex
	news   sync.Cond // current has changed
	closed bool
}

// batch is one call of Run.
type batch struct {
	do    func(i int)
	calls int64
	begun atomic.Int64
	ended atomic.Int64

	lock    sync.Mutex
	done    sync.Cond // all have ended
	failure *failure
}

// failure is the panic of a call.
type failure struct {
	call  int64
	value any
}

// New returns a pool for as many processors as the program may use. The caller of Run is one of its goroutines.
func New() *Pool {
	p := &Pool{}
	p.news.L = &p.lock
	p.current.Store(&batch{})
	for range runtime.GOMAXPROCS(0) - 1 {
		go p.work()
	}
	return p
}

// Close ends the goroutines of the pool. Run must not be under way; called later, it makes its calls one after the other.
func (p *Pool) Close() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.closed = true
	p.news.Broadcast()
}

// Run calls do with 0 to n-1, on all processors, and returns when all calls have. If some panic, Run does with the value of
// the first of them, in the order of i, after the others have ended; to see its stack, run the net without a pool.
func (p *Pool) Run(n int, do func(i int)) {
	b := &batch{do: do, calls: int64(n)}
	b.done.L = &b.lock
	p.lock.Lock()
	p.current.Store(b)
	p.lock.Unlock()
	p.news.Broadcast()
	b.work()
	b.wait()
	if f := b.failure; f != nil {
		panic(f.value)
	}
}

// work makes calls of one batch after the other.
func (p *Pool) work() {
	b := p.current.Load()
	for {
		b.work()
		next := p.current.Load()
		for i := 0; next == b && i < patience; i++ {
			next = p.current.Load()
		}
		if next == b {
			var ok bool
			if next, ok = p.sleep(b); !ok {
				return
			}
		}
		b = next
	}
}

// sleep waits for another batch than the last. It reports false when the pool is closed.
func (p *Pool) sleep(last *batch) (*batch, bool) {
	p.lock.Lock()
	defer p.lock.Unlock()
	for p.current.Load() == last && !p.closed {
		p.news.Wait()
	}
	return p.current.Load(), !p.closed
}

// work makes calls until all have begun.
func (b *batch) work() {
	for {
		i := b.begun.Add(1) - 1
		if i >= b.calls {
			return
		}
		b.call(i)
	}
}

// call makes one call and keeps its panic. A call that ends its goroutine has ended, too.
func (b *batch) call(i int64) {
	defer func() {
		v := recover()
		b.lock.Lock()
		defer b.lock.Unlock()
		if v != nil && (b.failure == nil || i < b.failure.call) {
			b.failure = &failure{i, v}
		}
		if b.ended.Add(1) == b.calls {
			b.done.Broadcast()
		}
	}()
	b.do(int(i))
}

// wait returns when all calls have ended.
func (b *batch) wait() {
	for i := 0; b.ended.Load() < b.calls; i++ {
		if i == patience {
			b.lock.Lock()
			for b.ended.Load() < b.calls {
				b.done.Wait()
			}
			b.lock.Unlock()
			return
		}
	}
}
