package dhtprom

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/internal/part"
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
	host      host.Host
	release   func() // closes the host; nil for one that is borrowed
	stack     *Stack // nil for another network
	transport ports.Transport

	parts *part.Host // the same host, with what runs on it
	done  chan struct{}
	err   error // of Close, once done
}

// NewNode creates a node and starts to enter the network, without waiting for it. Close closes the node.
func NewNode(cfg NodeConfig) (*Node, error) {
	machine := udp.New(udp.Options{NoOffload: cfg.NoUDPOffload})
	if cfg.Version == "" {
		cfg.Version = builtVersion()
	}
	n, err := newNode(machine, func() (ports.Transport, *Stack, error) {
		if cfg.Connect != nil {
			transport, err := cfg.Connect(machine, cfg)
			return transport, nil, err
		}
		return NewTransport(machine, cfg)
	})
	if err != nil {
		machine.Close()
		return nil, err
	}
	n.release = machine.Close
	return n, nil
}

// NodeOver returns a Node for a HyperDHT node that a service has already, and for its host: clients and scrapers run on that beside the
// service's own connections. Close leaves both open, and the service must not close them before. Of the configuration only Relays without
// addresses, Paths, Version and Logger apply, since the others make a node: they are an *app.ConfigError.
func NodeOver(h host.Host, node *hyperdht.Node, cfg NodeConfig) (*Node, error) {
	if err := cfg.checkOver(); err != nil {
		return nil, err
	}
	if cfg.Version == "" {
		cfg.Version = builtVersion()
	}
	return newNode(h, func() (ports.Transport, *Stack, error) {
		transport := cfg.transport()
		transport.KeepNode = true
		s := &Stack{DHT: node, Transport: dht.New(h, node, transport)}
		return s.Transport, s, nil
	})
}

// newNode returns a Node on a host. connect runs on its loop.
func newNode(h host.Host, connect func() (ports.Transport, *Stack, error)) (*Node, error) {
	n := &Node{host: h, done: make(chan struct{})}
	n.parts = part.NewHost(h, CloseTimeout)
	err := n.Do(context.Background(), func() (err error) {
		n.transport, n.stack, err = connect()
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// builtVersion returns the version of the program's main module, empty if the build does not know it.
func builtVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

// ProvideNode is NewNode as a provider for github.com/google/wire; package wiring has the set.
func ProvideNode(cfg NodeConfig) (n *Node, cleanup func(), err error) {
	if n, err = NewNode(cfg); err != nil {
		return nil, nil, err
	}
	return n, func() { _ = n.Close() }, nil
}

// Streams dials and listens for the service itself: net.Conn and net.Listener over this node, such as for an HTTP server, topics and
// records of the DHT, with contexts. go doc github.com/dhtprom/dhtprom/hyperdht/dhtnet shows how. It is nil where
// NodeConfig.Connect made another network, and where the node has no UDP (TURNAlways).
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
func (n *Node) Host() host.Host { return n.parts }

// Transport is described at Host. Node.Close closes it, so borrowers must keep it open (KeepTransport).
func (n *Node) Transport() ports.Transport { return n.transport }

// Stack is described at Host: that of the node over UDP. It is nil where NodeConfig.Connect made another network, and where the node has no
// UDP (TURNAlways).
func (n *Node) Stack() *Stack { return n.stack }

// Do runs f on the node's loop and returns its error, ErrClosed on a closed node, or the error of a context that ends first; f
// may still run then.
func (n *Node) Do(ctx context.Context, f func() error) error {
	select {
	case <-n.done: // whose host may go on, see NodeOver
		return ErrClosed
	default:
	}
	return part.Outcome(bridge.Do(ctx, n.host, f))
}

// Close closes the parts of the node, the latest first, then the node and its sockets, unless NodeOver borrowed them. Streams are closed.
// It takes CloseTimeout at most in all: a part that uses up its share does not prevent the close of the next. Later calls wait for the first and return
// the same error.
func (n *Node) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), CloseTimeout)
	defer stop()
	first, err := n.parts.Close(ctx)
	if !first {
		<-n.done
		return n.err
	}
	n.err = errors.Join(err, part.End(ctx, n.host, "the node", n.transport.Close))
	if n.release != nil {
		n.release()
	}
	close(n.done)
	return n.err
}
