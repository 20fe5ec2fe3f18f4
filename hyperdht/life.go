package hyperdht

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// closeGrace bounds the wait of Close and Suspend for unannouncing.
const closeGrace = 3 * time.Second

// life is the life cycle of a node. Suspend begins suspending, which ends when all servers are
// unannounced or closeGrace has passed: the node is suspended then, or runs again if Resume was the last call.
// Resume ends suspended once the sockets are bound. Close ends each state but the last, and closing as suspending ends.
type life struct {
	state  lifeState
	resume bool // Resume was called while suspending
	grace  host.Timer
	onDone []func() // of Suspend or Close
}

type lifeState uint8

const (
	lifeRunning lifeState = iota
	lifeSuspending
	lifeSuspended
	lifeClosing
	lifeClosed
)

var lifeTable = &table[lifeState]{Name: "node", States: []rule[lifeState]{
	lifeRunning:    {Name: "running", Why: "until the application suspends or closes the node", Next: []lifeState{lifeSuspending, lifeClosing}},
	lifeSuspending: {Name: "suspending", Limit: closeGrace, Next: []lifeState{lifeSuspended, lifeRunning, lifeClosing}},
	lifeSuspended:  {Name: "suspended", Why: "until the application resumes or closes the node", Next: []lifeState{lifeRunning, lifeClosing}},
	lifeClosing:    {Name: "closing", Limit: closeGrace, Next: []lifeState{lifeClosed}},
	lifeClosed:     {Name: "closed"},
}}

func (s lifeState) String() string { return lifeTable.States[s].Name }

func (l *life) become(next lifeState) {
	if !lifeTable.Allows(l.state, next) {
		panic(fmt.Sprintf("hyperdht: node is %v and cannot become %v", l.state, next))
	}
	l.state = next
	if l.grace != nil {
		l.grace.Stop()
		l.grace = nil
	}
}

func (l *life) ending() bool { return l.state == lifeClosing || l.state == lifeClosed }

// Suspend makes the node silent: servers are unannounced, for three seconds at most, connections ended and sockets
// closed. Then done runs; it may be nil. Suspend and Resume may be called in any order and number, even while the other is
// in progress: the last call determines the final state. If that is Resume, done runs without the node having been silent.
func (n *Node) Suspend(done func()) {
	if done == nil {
		done = func() {}
	}
	l := &n.life
	switch l.state {
	case lifeRunning:
		l.become(lifeSuspending)
		l.resume = false
		l.onDone = append(l.onDone, done)
		l.grace = n.host.AfterFunc(closeGrace, n.suspended)
		n.peers.suspend(n.suspended)
	case lifeSuspending:
		l.resume = false
		l.onDone = append(l.onDone, done)
	default:
		n.host.Defer(done)
	}
}

// suspended ends suspending, once.
func (n *Node) suspended() {
	l := &n.life
	if l.state != lifeSuspending {
		return
	}
	if l.resume {
		l.become(lifeRunning)
		n.peers.resume()
	} else {
		l.become(lifeSuspended)
		n.rpc.Suspend()
	}
	n.finish()
}

// finish runs the done functions of Suspend and Close.
func (n *Node) finish() {
	done := n.life.onDone
	n.life.onDone = nil
	for _, f := range done {
		n.host.Defer(f)
	}
}

// Resume undoes Suspend: the sockets are bound to their previous ports, and servers announced. If that fails, because
// the address or an explicit port is not available, it returns the error, the node stays suspended, and Resume can be called
// again. It fails with ErrClosed on a closed node, and does nothing on a running one.
func (n *Node) Resume() error {
	l := &n.life
	switch l.state {
	case lifeSuspending:
		l.resume = true
	case lifeSuspended:
		if err := n.rpc.Resume(); err != nil {
			return fmt.Errorf("hyperdht: resume: %w", listenFailure(err))
		}
		l.become(lifeRunning)
		n.bound()
		n.peers.resume()
	case lifeClosing, lifeClosed:
		return ErrClosed
	}
	return nil
}

// Close closes the node: servers are unannounced, for three seconds at most, and connections ended. Then the
// sockets are closed, and done runs, unless it is nil.
func (n *Node) Close(done func()) {
	if done == nil {
		done = func() {}
	}
	l := &n.life
	if l.state == lifeClosed {
		n.host.Defer(done)
		return
	}
	l.onDone = append(l.onDone, done)
	if l.state == lifeClosing {
		return
	}
	l.become(lifeClosing)
	l.grace = n.host.AfterFunc(closeGrace, n.shut)
	n.peers.close(n.shut)
	n.host.Defer(func() { n.onClose.run(struct{}{}) })
}

func (n *Node) shut() {
	if n.life.state != lifeClosing {
		return
	}
	n.life.become(lifeClosed)
	n.streams.Close()
	n.rpc.Close()
	done := n.life.onDone
	n.life.onDone = nil
	for _, f := range done {
		f()
	}
}
