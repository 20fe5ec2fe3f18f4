package udp

import "sync"

// mailbox holds the closures that other goroutines post to the loop.
type mailbox struct {
	mu     sync.Mutex // guards what follows, but for taken
	posts  []func()
	busy   bool // the loop's holder will take posts again before it gives the loop back
	closed bool

	taken []func() // by the last take, kept for its memory; the loop's
}

// add appends a closure, and reports whether the loop has to be woken for it. A closed mailbox drops it.
func (m *mailbox) add(f func()) (wake bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.posts = append(m.posts, f)
	return !m.busy && len(m.posts) == 1
}

// hold notes that the loop is taken: what is added from now on needs no wake-up.
func (m *mailbox) hold() {
	m.mu.Lock()
	m.busy = true
	m.mu.Unlock()
}

// take removes all closures. They are the caller's until the next call.
func (m *mailbox) take() []func() {
	m.mu.Lock()
	m.taken, m.posts = m.posts, m.taken[:0]
	m.mu.Unlock()
	return m.taken
}

// release notes that the loop is about to be given back, and reports whether something was added since the last take.
func (m *mailbox) release() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = false
	return len(m.posts) > 0
}

// close drops what is added from now on.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
}
