package udp

import (
	"runtime"
	"sync"
)

// workers run computations, on goroutines that end when nothing is left to do.
type workers struct {
	mu      sync.Mutex // guards what follows
	waiting []func()
	running int
	closed  bool
}

// add queues a computation. It reports whether a worker has to be started for it, since fewer than most run.
func (w *workers) add(f func(), most int) (start bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.waiting = append(w.waiting, f)
	if w.running >= most {
		return false
	}
	w.running++
	return true
}

// next removes and returns the computation that has waited longest. For nil, the worker ends.
func (w *workers) next() func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.running--
		return nil
	}
	f := w.waiting[0]
	w.waiting[0] = nil
	w.waiting = w.waiting[1:]
	return f
}

// close drops what waits, and what is added from now on.
func (w *workers) close() {
	w.mu.Lock()
	w.waiting, w.closed = nil, true
	w.mu.Unlock()
}

// run computes until nothing waits.
func (w *workers) run() {
	for f := w.next(); f != nil; f = w.next() {
		f()
	}
}

// Compute implements host.Host. One processor is left to the loop. A program that has one only computes at once: a worker would
// take it all the same, and wake-ups in addition.
func (h *Host) Compute(work, done func()) {
	if h.down {
		return
	}
	spare := runtime.GOMAXPROCS(0) - 1
	if spare == 0 {
		work()
		h.Post(done)
		return
	}
	if h.work.add(func() { work(); h.finish(done) }, spare) {
		h.tasks.Go(h.work.run)
	}
}

// finish posts done. The worker runs it if the loop is free, and what done computes next: that takes no wake-up.
func (h *Host) finish(done func()) {
	switch {
	case !h.posts.add(done): // the holder of the loop, or the driver, runs it
	case !h.loop.TryLock():
		h.wake()
	case h.entered():
		h.leave()
	}
}
