package dhtprom

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// PrivateDHT is a small DHT of its own on the loopback interface of this machine, for tests and for trying things out.
type PrivateDHT struct {
	host  *udp.Host
	nodes []*hyperdht.Node

	// Bootstrap is what NodeConfig.Bootstrap and invites take to enter it.
	Bootstrap []string
}

// NodeConfig is that of a node in this DHT, on a port of its own: the well-known ones are for those who mean to be
// found there, and other nodes may still ask for those who were there before.
func (d *PrivateDHT) NodeConfig() (NodeConfig, error) {
	listen, err := freePort()
	return NodeConfig{Bootstrap: d.Bootstrap, Listen: listen}, err
}

// freePort finds a UDP port of the loopback interface that is free now.
func freePort() (netip.AddrPort, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	return netip.ParseAddrPort(c.LocalAddr().String())
}

// NewPrivateDHT starts a DHT of so many nodes, and returns when they have found each other; four are a good number.
// Close ends it.
func NewPrivateDHT(nodes int) (*PrivateDHT, error) {
	if nodes < 1 || nodes > 1000 {
		return nil, fmt.Errorf("want 1 to 1000 nodes, got %d", nodes)
	}
	d := &PrivateDHT{host: udp.New(udp.Options{}), Bootstrap: []string{}}
	for range nodes {
		listen, err := freePort()
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		ready := make(chan struct{})
		d.host.Do(func() {
			var n *hyperdht.Node
			n, err = hyperdht.New(d.host, hyperdht.Config{
				Bootstrap: d.Bootstrap, Listen: listen, Mode: hyperdht.Persistent, Reachable: true,
				OnReady: sync.OnceFunc(func() { close(ready) }),
			})
			if err != nil {
				return
			}
			if d.nodes = append(d.nodes, n); len(d.nodes) == 1 {
				d.Bootstrap = []string{n.Status().Local.String()}
			}
		})
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		<-ready // comes in any case, with the network or without
	}
	return d, nil
}

// Close ends all nodes.
func (d *PrivateDHT) Close() error {
	err := waitOn(d.host, "the private DHT", func(done func()) {
		left := len(d.nodes) + 1
		one := func() {
			if left--; left == 0 {
				done()
			}
		}
		for _, n := range d.nodes {
			n.Close(one)
		}
		one()
	})
	d.host.Close()
	return err
}
