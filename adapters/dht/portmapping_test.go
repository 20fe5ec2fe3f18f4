package dht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/portmap"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports"
)

// mapper is a client for port mappings as the mapper of a transport.
type mapper struct{ *portmap.Client }

func (m mapper) Status() ports.PortMapping {
	s := m.Client.Status()
	return ports.PortMapping{Protocol: string(s.Protocol), Router: s.Router, External: s.External, Problem: s.Problem}
}

// mappedHome is a peer behind a router.
type mappedHome struct {
	*peer
	router *simnet.Router
}

// home starts a peer behind a router with a NAT, which maps ports unless how is nil.
func (sw *swarm) home(name string, nat simnet.NAT, how *simnet.PortMapping, mode dht.PortMapping) mappedHome {
	sw.t.Helper()
	sw.hosts++
	router := sw.net.AddRouter(name+"'s router", nat, netip.AddrFrom4([4]byte{100, 128, 1, sw.hosts}))
	if how != nil {
		router.MapPorts(netip.MustParseAddr("192.168.1.1"), *how)
	}
	h := router.AddHost(name, netip.MustParseAddr("192.168.1.2"))
	p := &peer{host: h, node: sw.node(h, hyperdht.Config{})}
	h.Do(func() {
		p.transport = dht.New(h, p.node, dht.Config{PortMapping: mode, NewMapper: func(port uint16, f func(netip.AddrPort)) dht.PortMapper {
			return mapper{portmap.New(h, portmap.Config{Port: port, OnMapping: f})}
		}})
	})
	sw.until(name+" is ready", time.Minute, p.node.Ready)
	return mappedHome{p, router}
}

func (h mappedHome) state() string { return h.transport.Status().Mapping.State }

// serves starts a server that accepts connections.
func (sw *swarm) serves(h mappedHome) {
	sw.t.Helper()
	ready := false
	h.host.Do(func() {
		if _, err := h.node.Listen(hyperdht.ListenOptions{Keys: serverKeys, OnConnection: func(*hyperdht.Connection) {}}, func(error) { ready = true }); err != nil {
			sw.t.Fatal(err)
		}
	})
	sw.until("the server is announced", time.Minute, func() bool { return ready })
}

var serverKeys = id.KeyPairFromSeed(id.Seed{1})

// connects returns the time until two peers with random NATs and without a relay are connected, a minute at most.
func (sw *swarm) connects(client, server mappedHome) (*hyperdht.Connection, time.Duration) {
	sw.t.Helper()
	began := sw.net.Now()
	var c *hyperdht.Connection
	client.host.Do(func() {
		c = client.node.Connect(serverKeys.Public, hyperdht.ConnectOptions{})
	})
	sw.net.RunUntil(c.Opened, time.Minute)
	return c, sw.net.Now() - began
}

// Random NATs on both sides: nothing connects without a relay, unless one router maps ports.
func TestMappingConnectsTwoRandomNATs(t *testing.T) {
	for _, test := range []struct {
		name string
		nat  simnet.NAT
		how  *simnet.PortMapping
		mode dht.PortMapping
		want bool
	}{
		{"no mapping", simnet.SymmetricRandom(), nil, dht.MapAuto, false},
		{"never", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true}, dht.MapNever, false},
		{"PCP", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true}, dht.MapAuto, true},
		{"NAT-PMP", simnet.SymmetricRandom(), &simnet.PortMapping{NATPMP: true}, dht.MapAuto, true},
		{"inbound only", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true, InboundOnly: true}, dht.MapAuto, true},
		{"Linux", simnet.MasqueradeRandom(), &simnet.PortMapping{PCP: true}, dht.MapAuto, true},
		{"a router that forwards nothing", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true, Pretend: true}, dht.MapAuto, false},
		{"a router behind a NAT", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true, External: netip.MustParseAddr("100.64.3.4")}, dht.MapAuto, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNet(t, 93)
			server := n.home("server", test.nat, test.how, test.mode)
			n.net.Run(10 * time.Second)
			n.serves(server)
			client := n.home("client", simnet.SymmetricRandom(), nil, dht.MapAuto)
			c, took := n.connects(client, server)
			if c.Opened() != test.want || test.want && took > time.Second {
				t.Errorf("connected: %v, after %v; %+v", c.Opened(), took, server.transport.Status().Mapping)
			}
			if s := server.transport.Status(); (s.Mapping.State == "active") != test.want || s.Firewalled == test.want {
				t.Errorf("%+v, firewalled %v", s.Mapping, s.Firewalled)
			}
			if !test.want && test.how != nil && test.mode != dht.MapNever && server.transport.Status().Mapping.Problem == "" {
				t.Error("no problem is reported")
			}
		})
	}
}

// A node that punches well asks for nothing, unless it is always to.
func TestMappingIsAskedForIfNeeded(t *testing.T) {
	for mode, want := range map[dht.PortMapping]int{dht.MapAuto: 0, dht.MapAlways: 1, dht.MapNever: 0} {
		n := newNet(t, 94)
		h := n.home("server", simnet.PortRestricted(), &simnet.PortMapping{PCP: true}, mode)
		n.net.Run(2 * time.Minute)
		if got := len(h.router.StaticMappings()); got != want {
			t.Errorf("mode %v: %d mappings, want %d", mode, got, want)
		}
	}
}

// One lost punch may be the fault of the other side.
func TestMappingIsAskedForAfterTheSecondLostPunch(t *testing.T) {
	n := newNet(t, 99)
	server := n.home("server", simnet.PortRestricted(), &simnet.PortMapping{PCP: true}, dht.MapAuto)
	n.serves(server)
	client := n.home("client", simnet.PortRestricted(), nil, dht.MapAuto)
	n.net.SetFilter(func(d simnet.Datagram) bool {
		return d.From.Addr() != client.host.Addr() || d.To.Addr() != server.router.Addr()
	})
	for losses := 1; losses <= 2; losses++ {
		n.connects(client, server)
		n.until("the punch is lost", time.Minute, func() bool {
			p := server.node.Status().Peering
			return p.PunchesConsistentLost+p.PunchesRandomLost == uint64(losses)
		})
		n.net.Run(15 * time.Second)
		if got := len(server.router.StaticMappings()); got != losses-1 {
			t.Errorf("after %d lost punches: %d mappings", losses, got)
		}
	}
}

func TestMappingIsReleasedOnClose(t *testing.T) {
	n := newNet(t, 95)
	h := n.home("server", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true}, dht.MapAuto)
	n.until("the port is mapped", 10*time.Second, func() bool { return h.state() == "active" })
	h.host.Do(func() { h.transport.Close(func() { n.call("closed") }) })
	n.until("the transport is closed", 4*time.Second, func() bool { return n.called("closed") })
	if len(h.router.StaticMappings()) != 0 {
		t.Error("the mapping is kept")
	}
}

// Without its mapping a node goes back to punching, and its connections stay open as long as the router lets them.
func TestMappingIsWithdrawnWhenItIsLost(t *testing.T) {
	n := newNet(t, 96)
	server := n.home("server", simnet.SymmetricRandom(), &simnet.PortMapping{PCP: true}, dht.MapAuto)
	n.until("the port is mapped", 10*time.Second, func() bool { return server.state() == "active" })
	n.serves(server)
	client := n.home("client", simnet.SymmetricRandom(), nil, dht.MapAuto)
	c, _ := n.connects(client, server)
	if !c.Opened() {
		t.Fatal("not connected")
	}
	server.router.SetPortMapping(simnet.PortMapping{PCP: true, Refuse: true})
	n.until("the mapping is withdrawn", 10*time.Minute, func() bool { return server.state() == "failed" })
	if s := server.transport.Status(); !s.Firewalled || s.NAT != "random" && s.NAT != "unknown" {
		t.Errorf("firewalled %v, NAT %s", s.Firewalled, s.NAT)
	}
	n.net.Run(30 * time.Second)
	if c.Closed() {
		t.Error("the connection was closed with the mapping")
	}
	server.router.SetPortMapping(simnet.PortMapping{PCP: true})
	n.until("the port is mapped again", 70*time.Minute, func() bool { return server.state() == "active" })
}

// A router that has restarted has no mappings: the node restores its own.
func TestMappingIsRestoredAfterTheRouterHasRestarted(t *testing.T) {
	n := newNet(t, 97)
	server := n.home("server", simnet.SymmetricRandom(), &simnet.PortMapping{NATPMP: true}, dht.MapAuto)
	n.until("the port is mapped", 10*time.Second, func() bool { return server.state() == "active" })
	n.serves(server)
	server.router.Reboot(simnet.Reboot{DownFor: 20 * time.Second})
	n.until("the mapping is restored", 6*time.Minute, func() bool { return len(server.router.StaticMappings()) == 1 })
	n.net.Run(20 * time.Second)
	client := n.home("client", simnet.SymmetricRandom(), nil, dht.MapAuto)
	if c, took := n.connects(client, server); !c.Opened() || took > time.Second {
		t.Errorf("connected: %v, after %v; %+v", c.Opened(), took, server.transport.Status().Mapping)
	}
}
