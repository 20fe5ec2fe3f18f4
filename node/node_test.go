package node_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestDHTIsOneThatOthersEnter(t *testing.T) {
	d, err := node.NewDHT(node.DHTConfig{Nodes: 3, STUN: true})
	if err != nil {
		t.Fatal(err)
	}
	addrs := d.Addrs()
	ports := map[uint16]bool{}
	for _, a := range addrs {
		if ports[a.Port()] = true; !a.Addr().IsLoopback() {
			t.Errorf("a node at %s", a)
		}
	}
	if len(ports) != 3 || !slices.Equal(d.Bootstrap(), []string{addrs[0].String()}) {
		t.Errorf("%v, bootstrap %v", addrs, d.Bootstrap())
	}
	cfg, err := d.Config()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	n, err := dhtprom.NewNode(cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-ready
	if s, err := n.Status(t.Context()); err != nil || s.State != "online" || s.Nodes != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	turns := 0
	turn := func() error { turns++; return nil }
	if err := d.Do(t.Context(), turn); err != nil || turns != 1 {
		t.Errorf("%d turns, %v", turns, err)
	}
	if err := errors.Join(n.Close(), d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := d.Do(t.Context(), turn); !errors.Is(err, dhtprom.ErrClosed) || turns != 1 {
		t.Errorf("%d turns, %v after Close", turns, err)
	}
}

func TestDHTSaysWhichPortItCannotHave(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	_, err = node.NewDHT(node.DHTConfig{Port: port, Nodes: 1})
	if e, ok := errors.AsType[*node.PortError](err); !ok || e.Port != port {
		t.Errorf("%v", err)
	}
	for _, cfg := range []node.DHTConfig{{Nodes: -1}, {Nodes: 1001}, {Port: 65535, Nodes: 2}, {Addr: netip.MustParseAddr("::1")}} {
		if d, err := node.NewDHT(cfg); err == nil {
			_ = d.Close()
			t.Errorf("%+v makes a DHT", cfg)
		}
	}
}

func TestRelayNeedsAnIdentityAndOneOfItsOwn(t *testing.T) {
	d, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: d.Bootstrap()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := node.NewRelay(n, node.RelayConfig{}); err == nil {
		t.Error("a relay without a seed")
	}
	var relays [2]*node.Relay
	for i := range relays {
		if relays[i], err = node.NewRelay(n, node.RelayConfig{Seed: domain.SeedFrom([32]byte{5})}); err != nil {
			t.Fatal(err)
		}
	}
	if err := relays[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := relays[1].Start(t.Context()); err == nil {
		t.Error("two relays under one key")
	}
	if s, err := relays[0].Stats(t.Context()); err != nil || s.Sessions != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := relays[0].Close(); err != nil {
		t.Error(err)
	}
}

func TestRelayOnAnotherNetworkSaysSo(t *testing.T) {
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Connect: func(h host.Host, _ dhtprom.NodeConfig) (ports.Transport, error) {
		return portstest.NewTransport(portstest.NewNetwork(h)), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Streams() != nil || n.Stack() != nil {
		t.Error("streams without HyperDHT")
	}
	if _, err := node.NewRelay(n, node.RelayConfig{Seed: domain.SeedFrom([32]byte{5})}); err == nil {
		t.Error("a relay without HyperDHT")
	}
}

func TestDHTReportsItsStart(t *testing.T) {
	var running []int
	d, err := node.StartDHT(t.Context(), node.DHTConfig{Nodes: 3, OnNode: func(n int) { running = append(running, n) }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if alone, err := d.Alone(t.Context()); err != nil || alone != 0 || !slices.Equal(running, []int{1, 2, 3}) {
		t.Errorf("%v run; %d are alone, %v", running, alone, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	_, err = node.StartDHT(ctx, node.DHTConfig{Nodes: 3, OnNode: func(int) { stop() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a start that is stopped: %v", err)
	}
}
