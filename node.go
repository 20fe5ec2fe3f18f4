package dhtprom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/nodes"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// closeTimeout bounds every Close here: peers are told and the DHT is unannounced in that time, or not.
const closeTimeout = 4500 * time.Millisecond

// ErrClosed is what a closed Node, Client or Scraper answers.
var ErrClosed = domain.ErrClosed

// NodeConfig is how a service takes part in the DHT. The zero value is a node of the public network with a key of its
// own.
type NodeConfig struct {
	// Bootstrap are the nodes to enter the DHT by, as host:port or ip@host:port. Nil is the public network; empty
	// means none: the node waits for others to find it.
	Bootstrap []string
	// NodesFile is where the DHT nodes known last are kept, for a faster next start that needs no bootstrap node; "" keeps
	// none. What is wrong with the file costs time, and no more.
	NodesFile string
	// Listen is the UDP address of the node. A port is that port or an error. Without one the node takes 49637 or one of
	// the next four, or any that is free, but never one of a bootstrap node.
	Listen netip.AddrPort
	// Seed is the identity that Streams dials with unless told otherwise; zero for one that lasts as long as the node.
	// Clients and scrapers have their own.
	Seed domain.Seed
	// Relays are blind relays for connections of clients and scrapers that find no direct path.
	Relays []domain.PublicKey
	// Paths limits the paths of their connections, to all peers or to some.
	Paths domain.PathRules
	// STUN are servers, as host:port, that tell the node its public address. Nil is public ones on the public network
	// and none on a private one; a single "none" is none.
	STUN []string
}

func (c *NodeConfig) check() error {
	if a := c.Listen.Addr(); a.IsValid() && !a.Unmap().Is4() {
		return &app.ConfigError{Field: "Listen", Want: fmt.Sprintf("want an IPv4 address, since HyperDHT is IPv4 only, got %s", c.Listen)}
	}
	for i, relay := range c.Relays {
		if relay.IsZero() {
			return &app.ConfigError{Field: fmt.Sprintf("Relays[%d]", i), Want: "want the relay's public key, got zeros"}
		}
	}
	return nil
}

// Node is one participant in HyperDHT, with a loop and sockets of its own on this machine. Its methods are for any
// goroutine, but not for the loop.
type Node struct {
	host      *udp.Host
	node      *hyperdht.Node
	transport *dht.Transport

	mu     sync.Mutex
	closed bool
	parts  []closer // what runs on it, in the order started
	done   chan struct{}
	err    error // of Close, once done
}

// closer is a client or a scraper.
type closer interface{ Close() error }

// NewNode makes a node and starts to enter the network, which it does not wait for. Close ends it.
func NewNode(cfg NodeConfig) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	servers, err := stun.Servers(cfg.STUN, cfg.Bootstrap != nil)
	if err != nil {
		return nil, err
	}
	n := &Node{host: udp.New(udp.Options{}), done: make(chan struct{})}
	hcfg := hyperdht.Config{Bootstrap: cfg.Bootstrap, Listen: cfg.Listen, WallClock: time.Now}
	tcfg := dht.Config{RelayThrough: cfg.Relays, Paths: cfg.Paths}
	if cfg.NodesFile != "" {
		file := nodes.New(cfg.NodesFile, cfg.Bootstrap, nil)
		hcfg.Nodes, _ = file.Load() // the bootstrap nodes will do
		tcfg.Known = file
	}
	if !cfg.Seed.IsZero() {
		hcfg.Keys = id.KeyPairFromSeed(id.Seed(cfg.Seed.Reveal()))
	}
	n.host.Do(func() {
		if len(servers) > 0 {
			var probe *stun.Client
			if probe, err = stun.New(n.host, stun.Config{Servers: servers}); err != nil {
				return
			}
			hcfg.Probe = probe
		}
		if n.node, err = hyperdht.New(n.host, hcfg); err == nil {
			n.transport = dht.New(n.host, n.node, tcfg)
		}
	})
	if err != nil {
		n.host.Close()
		return nil, err
	}
	return n, nil
}

// Streams dials and listens for the service itself: net.Conn and net.Listener over this node.
func (n *Node) Streams() *dhtnet.Net { return dhtnet.New(n.host, n.node) }

// Status is a snapshot of the node.
func (n *Node) Status() (s ports.NodeStatus, err error) {
	err = n.do(func() error {
		s = n.transport.Status()
		return nil
	})
	return s, err
}

// Host is the machine that the node lives on, and Transport the node as package app sees it, for services that assemble
// what this package does not. Whatever is made with them has to be used on the loop: Host().Post gets there.
func (n *Node) Host() host.Host { return n.host }

// Transport is described at Host. It is closed by Close, so whoever borrows it keeps it open (KeepTransport).
func (n *Node) Transport() ports.Transport { return n.transport }

// do runs f on the loop.
func (n *Node) do(f func() error) error {
	failed, err := bridge.Do(context.Background(), n.host, f)
	return outcome(failed, err)
}

// outcome is the error of a call into the loop: that of the call itself, or what was called returned.
func outcome(returned, err error) error {
	switch {
	case err == nil && errors.Is(returned, hyperdht.ErrKeyPairInUse):
		return fmt.Errorf("Seed: want one that no other client or scraper of this node has: %w", returned)
	case errors.Is(err, bridge.ErrClosed):
		return ErrClosed
	case err != nil:
		return err
	}
	return returned
}

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// add notes what runs on the node.
func (n *Node) add(c closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.parts = append(n.parts, c)
	return nil
}

func (n *Node) remove(c closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, p := range n.parts {
		if p == c {
			n.parts = append(n.parts[:i:i], n.parts[i+1:]...)
			return
		}
	}
}

// Close closes what runs on the node, the latest first, then the node and its sockets. Streams are ended. It waits, for
// five seconds for each client and scraper at most. Later calls wait for the first and return the same.
func (n *Node) Close() error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	parts := n.parts
	n.mu.Unlock()
	if !first {
		<-n.done
		return n.err
	}
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		errs = append(errs, parts[i].Close())
	}
	errs = append(errs, n.wait("the node", n.transport.Close))
	n.host.Close()
	n.err = errors.Join(errs...)
	close(n.done)
	return n.err
}

// wait runs end on the loop and waits until it is done.
func (n *Node) wait(what string, end func(done func())) error { return waitOn(n.host, what, end) }

// waitOn runs end on a loop and waits until it is done, closeTimeout at most. On a closed host there is nothing to end.
func waitOn(loop bridge.Loop, what string, end func(done func())) error {
	ctx, stop := context.WithTimeout(context.Background(), closeTimeout)
	defer stop()
	if err := bridge.Wait(ctx, loop, end); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not close within %s", what, closeTimeout)
	}
	return nil
}

// events joins those who want to know: the logger, the service, and this package itself.
func (n *Node) events(log *slog.Logger, more ...func(domain.Event)) func(domain.Event) {
	if log != nil {
		more = append([]func(domain.Event){app.LogEvents(n.host, log)}, more...)
	}
	return func(e domain.Event) {
		for _, f := range more {
			if f != nil {
				f(e)
			}
		}
	}
}
