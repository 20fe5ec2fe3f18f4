package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// maxNodes bounds the nodes of one DHT on one machine.
const maxNodes = 1000

// DHTConfig is a private DHT on this machine. The zero value is four nodes on free ports of the loopback interface, for
// tests and for trying things out.
type DHTConfig struct {
	// Addr is where others reach the nodes; invalid is the loopback address. On another address than a loopback one the
	// nodes listen on all interfaces, because behind a one-to-one NAT the public address is not theirs to bind.
	Addr netip.Addr
	// Port is that of the first node; the others have those after it. 0 takes ports that are free.
	Port uint16
	// Nodes is how many there are, at most 1,000; 0 is 4, which is a good number.
	Nodes int
	// STUN makes the nodes answer STUN requests, too.
	STUN bool
}

// PortError says which port of a DHTConfig could not be used, and why.
type PortError struct {
	Port uint16
	Err  error
}

func (e *PortError) Error() string { return fmt.Sprintf("DHT node on port %d: %v", e.Port, e.Err) }

// Unwrap is the reason.
func (e *PortError) Unwrap() error { return e.Err }

// DHT is a small DHT of its own: a bootstrap node and others, all on one loop. Close ends it.
type DHT struct {
	host  *udp.Host
	nodes []*hyperdht.Node
	addrs []netip.AddrPort
}

// NewDHT starts a DHT, and returns when its nodes have found each other.
func NewDHT(cfg DHTConfig) (*DHT, error) {
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
	for _, port := range ports {
		if err := d.add(cfg, port); err != nil {
			return nil, errors.Join(&PortError{port, err}, d.Close())
		}
	}
	return d, nil
}

// ports are the one given and those after it, or free ones.
func (c *DHTConfig) ports() (ports []uint16, err error) {
	if c.Port == 0 {
		return freePorts(c.Nodes)
	}
	if last := int(c.Port) + c.Nodes - 1; last > 65535 {
		return nil, fmt.Errorf("%d nodes from port %d on go beyond port 65535", c.Nodes, c.Port)
	}
	for i := range c.Nodes {
		ports = append(ports, c.Port+uint16(i))
	}
	return ports, nil
}

// freePorts finds UDP ports of the loopback interface that are free now.
func freePorts(n int) (ports []uint16, err error) {
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, fmt.Errorf("find a free UDP port: %w", err)
		}
		defer c.Close() // all are held until the last was found
		ports = append(ports, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	}
	return ports, nil
}

// add starts the next node and waits until it is ready. The first one is a dedicated bootstrap node. All of them know their
// address, because they have nobody to learn it from.
func (d *DHT) add(cfg DHTConfig, port uint16) error {
	bind := netip.IPv4Unspecified()
	if cfg.Addr.IsLoopback() {
		bind = cfg.Addr
	}
	addr := netip.AddrPortFrom(cfg.Addr, port)
	failed, err := bridge.Call(context.Background(), d.host, func(done func(error)) func() {
		c := hyperdht.Config{
			Bootstrap: d.Bootstrap(), Listen: netip.AddrPortFrom(bind, port), Mode: hyperdht.Persistent, Reachable: true, PublicAddr: addr,
			OnReady: func() { done(nil) }, // comes in any case, with the network or without
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

// Addrs are the addresses of the nodes, the bootstrap node's first.
func (d *DHT) Addrs() []netip.AddrPort { return d.addrs }

// Bootstrap is what dhtprom.NodeConfig.Bootstrap, invites and --dht.bootstrap take to enter the DHT.
func (d *DHT) Bootstrap() []string {
	if len(d.addrs) == 0 {
		return []string{}
	}
	return []string{d.addrs[0].String()}
}

// Config is that of another node in this DHT, on a free port: the well-known ones are for those who mean to be found there,
// and other nodes may still ask for those who were there before. For a DHT on the loopback interface only.
func (d *DHT) Config() (cfg dhtprom.NodeConfig, err error) {
	port, err := freePorts(1)
	if err != nil {
		return cfg, err
	}
	return dhtprom.NodeConfig{Bootstrap: d.Bootstrap(), Listen: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port[0])}, nil
}

// Close ends all nodes, within dhtprom.CloseTimeout.
func (d *DHT) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), dhtprom.CloseTimeout)
	defer stop()
	err := dhtprom.End(ctx, d.host, "the private DHT", func(done func()) {
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
