package dhtprom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// CloseTimeout bounds every Close of this module: goodbyes and unannouncements that take longer are abandoned. It leaves some
// time for the rest of a program that must stop within five seconds.
const CloseTimeout = 4200 * time.Millisecond

// ErrClosed is returned by a closed Node, and by everything that ran on it.
var ErrClosed = domain.ErrClosed

// Clock is the wall clock of this machine.
type Clock struct{}

// Now implements ports.Clock.
func (Clock) Now() time.Time { return time.Now() }

// Node is one participant in HyperDHT, with its own loop and sockets. Its methods may be called from any goroutine, but not on
// the loop.
type Node struct {
	host      *udp.Host
	stack     *Stack // nil for another network
	transport ports.Transport

	mu     sync.Mutex
	closed bool
	parts  []*Part // in the order of creation
	done   chan struct{}
	err    error // of Close, once done
}

// NewNode creates a node and starts to enter the network, without waiting for it. Close closes the node.
func NewNode(cfg NodeConfig) (*Node, error) {
	n := &Node{host: udp.New(udp.Options{}), done: make(chan struct{})}
	var err error
	n.host.Do(func() {
		if cfg.Connect != nil {
			n.transport, err = cfg.Connect(n.host, cfg)
		} else if n.stack, err = NewStack(n.host, cfg); err == nil {
			n.transport = n.stack.Transport
		}
	})
	if err != nil {
		n.host.Close()
		return nil, err
	}
	return n, nil
}

// ProvideNode is NewNode as a provider for github.com/google/wire; package wiring has the set.
func ProvideNode(cfg NodeConfig) (n *Node, cleanup func(), err error) {
	if n, err = NewNode(cfg); err != nil {
		return nil, nil, err
	}
	return n, func() { _ = n.Close() }, nil
}

// Streams dials and listens for the service itself: net.Conn and net.Listener over this node. It is nil where
// NodeConfig.Connect made another network.
func (n *Node) Streams() *dhtnet.Net {
	if n.stack == nil {
		return nil
	}
	return dhtnet.New(n.host, n.stack.DHT)
}

// Status returns a snapshot of the node.
func (n *Node) Status(ctx context.Context) (s ports.NodeStatus, err error) {
	err = n.Do(ctx, func() error {
		s = n.transport.Status()
		return nil
	})
	return s, err
}

// Host is the machine that the node runs on, Transport the node as used by package app, and Stack the layers below, for services
// that assemble parts beyond this module. Anything created with them must be used on the loop, see Do.
func (n *Node) Host() host.Host { return n.host }

// Transport is described at Host. Node.Close closes it, so borrowers must keep it open (KeepTransport).
func (n *Node) Transport() ports.Transport { return n.transport }

// Stack is described at Host. It is nil where NodeConfig.Connect made another network.
func (n *Node) Stack() *Stack { return n.stack }

// Do runs f on the node's loop and returns its error, ErrClosed on a closed node, or the error of a context that ends first; f
// may still run then.
func (n *Node) Do(ctx context.Context, f func() error) error {
	return Outcome(bridge.Do(ctx, n.host, f))
}

// Outcome merges the errors of a call into a node's loop by package bridge: that of the call itself, and the returned one.
func Outcome(returned, err error) error {
	switch {
	case err == nil && errors.Is(returned, hyperdht.ErrKeyPairInUse):
		//lint:ignore ST1005 begins with the name of a field
		return fmt.Errorf("Seed: another client or scraper of this node has it: %w", returned)
	case errors.Is(err, bridge.ErrClosed):
		return ErrClosed
	case err != nil:
		return err
	}
	return returned
}

// Close closes the parts of the node, the latest first, then the node and its sockets. Streams are closed. It takes CloseTimeout
// at most in all: a part that uses up its share does not prevent the close of the next. Later calls wait for the first and return
// the same error.
func (n *Node) Close() error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	parts := slices.Clone(n.parts)
	n.mu.Unlock()
	if !first {
		<-n.done
		return n.err
	}
	ctx, stop := context.WithTimeout(context.Background(), CloseTimeout)
	defer stop()
	err := closeParts(ctx, parts)
	n.err = errors.Join(err, End(ctx, n.host, "the node", n.transport.Close))
	n.host.Close()
	close(n.done)
	return n.err
}

// closeParts closes parts, the latest first, and waits for all of them.
func closeParts(ctx context.Context, parts []*Part) error {
	share := CloseTimeout / time.Duration(len(parts)+1)
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
	return errors.Join(errs...)
}

// OnHost runs start on the loop of a new host, waits until it calls done, fails, or ctx ends, and closes the host. It is for
// operations that need a host but no node, such as an examination by package doctor.
func OnHost[T any](ctx context.Context, start func(h host.Host, done func(T)) error) (result T, err error) {
	h := udp.New(udp.Options{})
	defer h.Close()
	type outcome struct {
		result T
		err    error
	}
	o, err := bridge.Call(ctx, h, func(done func(outcome)) func() {
		if err := start(h, func(r T) { done(outcome{result: r}) }); err != nil {
			done(outcome{err: err})
		}
		return nil
	})
	return o.result, Outcome(o.err, err)
}

// End runs end on a loop and waits until it calls done, or ctx ends, which is an error that names what did not close. On a closed
// host it does nothing.
func End(ctx context.Context, loop host.Loop, what string, end func(done func())) error {
	if err := bridge.Wait(ctx, loop, end); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not close in time", what)
	}
	return nil
}
