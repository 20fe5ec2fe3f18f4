package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// maxNodes bounds the nodes of one DHT on one machine.
const maxNodes = 1000

// DHTConfig configures a private DHT on this machine. The zero value is four nodes on free ports of the loopback interface, for
// tests and trials.
type DHTConfig struct {
	// Addr is the address under which the nodes are reachable; invalid means loopback. Otherwise the nodes listen on all
	// interfaces, because behind a one-to-one NAT the public address cannot be bound.
	Addr netip.Addr
	// Port is the port of the first node; the others use the ports after it. 0 uses free ports.
	Port uint16
	// Nodes is the number of nodes, at most 1,000; 0 means 4, which is a good number.
	Nodes int
	// STUN makes the nodes answer STUN requests, too.
	STUN bool
	// OnNode is called with the number of nodes that run, when one more does; may be nil.
	OnNode func(running int)
}

// PortError reports a port of a DHTConfig that could not be used.
type PortError struct {
	Port uint16
	Err  error
}

func (e *PortError) Error() string { return fmt.Sprintf("DHT node on port %d: %v", e.Port, e.Err) }

// Unwrap returns the cause.
func (e *PortError) Unwrap() error { return e.Err }

// DHT is a small private DHT: a bootstrap node and others, all on one loop.
type DHT struct {
	host  *udp.Host
	nodes []*hyperdht.Node
	addrs []netip.AddrPort
}

// NewDHT starts a DHT, and returns when its nodes have found each other. Close closes it.
func NewDHT(cfg DHTConfig) (*DHT, error) { return StartDHT(context.Background(), cfg) }

// StartDHT is NewDHT. If ctx ends before the nodes have started, it closes them and returns the context's error.
func StartDHT(ctx context.Context, cfg DHTConfig) (*DHT, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 4
	}
	if cfg.Nodes < 1 || cfg.Nodes > maxNodes {
		return nil, fmt.Errorf("want 1 to %d nodes, got %d", maxNodes, cfg.Nodes)
	}
	if !cfg.Addr.IsValid() {
		cfg.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !cfg.Addr.Is4() {
		return nil, fmt.Errorf("want an IPv4 address, since HyperDHT is IPv4 only, got %s", cfg.Addr)
	}
	ports, err := cfg.ports()
	if err != nil {
		return nil, err
	}
	d := &DHT{host: udp.New(udp.Options{})}
	for i, port := range ports {
		if err := d.add(ctx, cfg, port); err != nil {
			if ctx.Err() == nil {
				err = &PortError{port, err}
			}
			return nil, errors.Join(err, d.Close())
		}
		if cfg.OnNode != nil {
			cfg.OnNode(i + 1)
		}
	}
	return d, nil
}

// ports returns the configured port and those after it, or free ones.
func (c *DHTConfig) ports() (ports []uint16, err error) {
	if c.Port == 0 {
		return freePorts(c.Nodes)
	}
	if last := int(c.Port) + c.Nodes - 1; last > 65535 {
		return nil, fmt.Errorf("%d nodes from port %d on exceed port 65535", c.Nodes, c.Port)
	}
	for i := range c.Nodes {
		ports = append(ports, c.Port+uint16(i))
	}
	return ports, nil
}

// freePorts returns UDP ports of the loopback interface that are free now.
func freePorts(n int) (ports []uint16, err error) {
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, fmt.Errorf("find a free UDP port: %w", err)
		}
		defer c.Close() // all stay bound until the last was found
		ports = append(ports, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	}
	return ports, nil
}

// add starts the next node and waits until it is ready. The first one is a dedicated bootstrap node. All of them are configured
// with their address, because no other node can report it.
func (d *DHT) add(ctx context.Context, cfg DHTConfig, port uint16) error {
	bind := netip.IPv4Unspecified()
	if cfg.Addr.IsLoopback() {
		bind = cfg.Addr
	}
	addr := netip.AddrPortFrom(cfg.Addr, port)
	failed, err := bridge.Call(ctx, d.host, func(done func(error)) func() {
		c := hyperdht.Config{
			Bootstrap: d.Bootstrap(), Listen: netip.AddrPortFrom(bind, port), Mode: hyperdht.Persistent, Reachable: true, PublicAddr: addr,
			WallClock: time.Now,
			OnReady:   func() { done(nil) }, // called in any case, with the network or without
		}
		if cfg.STUN {
			c.Probe = stun.NewResponder(d.host, stun.ResponderConfig{Host: cfg.Addr})
		}
		n, err := hyperdht.New(d.host, c)
		if err != nil {
			done(err)
			return nil
		}
		d.nodes, d.addrs = append(d.nodes, n), append(d.addrs, addr)
		return nil
	})
	return errors.Join(failed, err)
}

// Alone counts the nodes beside the first that know no other one.
func (d *DHT) Alone(ctx context.Context) (alone int, err error) {
	err = d.Do(ctx, func() error {
		for _, n := range d.nodes[1:] {
			if n.Status().Nodes == 0 {
				alone++
			}
		}
		return nil
	})
	return alone, err
}

// Addrs are the addresses of the nodes, the bootstrap node's first.
func (d *DHT) Addrs() []netip.AddrPort { return d.addrs }

// Bootstrap returns the values for dhtprom.NodeConfig.Bootstrap, invites and --dht.bootstrap.
func (d *DHT) Bootstrap() []string {
	if len(d.addrs) == 0 {
		return []string{}
	}
	return []string{d.addrs[0].String()}
}

// Config returns the configuration of another node in this DHT, on a free port: a well-known port may be expected to have another
// node, and other nodes may still query its previous user. For a DHT on the loopback interface only.
func (d *DHT) Config() (cfg dhtprom.NodeConfig, err error) {
	port, err := freePorts(1)
	if err != nil {
		return cfg, err
	}
	return dhtprom.NodeConfig{Bootstrap: d.Bootstrap(), Listen: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port[0])}, nil
}

// Do runs f on the loop of the nodes and returns its error, dhtprom.ErrClosed after Close, or the error of a context that ends first;
// f may still run then.
func (d *DHT) Do(ctx context.Context, f func() error) error {
	return part.Outcome(bridge.Do(ctx, d.host, f))
}

// Close closes all nodes, within dhtprom.CloseTimeout.
func (d *DHT) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), dhtprom.CloseTimeout)
	defer stop()
	err := part.End(ctx, d.host, "the private DHT", func(done func()) {
		join := host.NewJoin(done)
		ended := join.Add()
		for _, n := range d.nodes {
			n.Close(join.Add())
		}
		ended()
	})
	d.host.Close()
	return err
}
