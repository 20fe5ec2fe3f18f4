package rpc

import (
	"sync"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
)

// workspace is the memory that a query needs until it ends. Then a later one uses it, perhaps of another node: waiting for fresh
// memory takes longer than much of what a lookup does with it.
type workspace struct {
	candidates candidates
	closest    kad.Nearest[Reply]
	spare      []*Call // have ended, and nothing refers to them: the next visits use their memory
}

// workspaces are those of all queries that have ended, as long as the garbage collector leaves them. What a query does does not
// depend on which one it gets.
var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// keptCandidates bounds the candidates of a workspace that is used again: hostile nodes make a query remember many more.
const keptCandidates = 512

// workspaceFor returns an empty workspace for a lookup of a target.
func workspaceFor(target id.Target) *workspace {
	w := workspaces.Get().(*workspace)
	w.closest.Reset(target, kad.K)
	return w
}

// release makes w the workspace of a later query.
func (w *workspace) release() {
	if w.candidates.seen.n <= keptCandidates {
		w.candidates.clear()
		w.closest.Reset(id.Target{}, 0) // it refers to nothing meanwhile
		workspaces.Put(w)
	}
}

// call returns memory for a call.
func (w *workspace) call() *Call {
	last := len(w.spare) - 1
	if last < 0 {
		return new(Call)
	}
	c := w.spare[last]
	w.spare[last] = nil // it may outlive the query, and then refers to its node
	w.spare = w.spare[:last]
	return c
}

// reuse takes the memory of a call that nothing else refers to.
func (w *workspace) reuse(c *Call) {
	c.calls, c.visit, c.socket = nil, visit{}, nil // of a node that may be gone long before the memory is
	w.spare = append(w.spare, c)
}
