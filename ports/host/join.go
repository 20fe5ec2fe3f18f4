package host

// Join calls a function once several operations have ended. It does not wait: the operation that ends last calls the
// function.
type Join struct {
	pending int
	done    func()
}

// NewJoin returns a join without operations.
func NewJoin(done func()) *Join { return &Join{done: done} }

// Add adds an operation and returns the function to call when it has ended; later calls of that function do nothing.
// A caller that adds operations which may end at once adds one of its own first, and ends it after the last.
func (j *Join) Add() (ended func()) {
	j.pending++
	over := false
	return func() {
		if over {
			return
		}
		over = true
		if j.pending--; j.pending == 0 {
			j.done()
		}
	}
}
