package dhtprom_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/adapters/simnet/simturn"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// A node over a TURN server has the address of that, whatever is configured about this machine's own.
func TestTURNNodeHasTheAddressOfItsServer(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}})
	boot, server := net.AddHost("boot", netip.MustParseAddr("91.0.0.1")), net.AddHost("turn", netip.MustParseAddr("91.0.0.2"))
	at := netip.AddrPortFrom(boot.Addr(), 49737)
	boot.Do(func() {
		if _, err := hyperdht.New(boot, hyperdht.Config{Bootstrap: []string{}, Listen: at, Mode: hyperdht.Persistent, PublicAddr: at}); err != nil {
			t.Fatal(err)
		}
	})
	pipes := simpipe.New(net, simpipe.Config{})
	simturn.Start(net, pipes, server, 443, simturn.Config{Users: map[string]string{"alice": "password"}})
	h := net.AddRouter("router", simnet.UDPBlocked(), netip.Addr{}).AddHost("site", netip.MustParseAddr("92.0.0.1"))
	ready := 0
	cfg := dhtprom.NodeConfig{
		Bootstrap: []string{at.String()}, PublicAddress: domain.Address{Host: "92.0.0.1", Port: 443}, OnReady: func() { ready++ },
		TURN: dhtprom.TURNConfig{
			Mode: dhtprom.TURNAlways, Memory: filepath.Join(t.TempDir(), "uplink"),
			Servers: []domain.TURNServer{{URI: "turns:turn.example:443", Username: "alice", Password: "password"}},
			Dial:    func(host.Host, turn.URI) pipe.Dialer { return pipes.Dialer(h, netip.AddrPortFrom(server.Addr(), 443)) },
		},
	}
	var transport ports.Transport
	h.Do(func() {
		var stack *dhtprom.Stack
		var err error
		if transport, stack, err = dhtprom.NewTransport(h, cfg); err != nil || stack != nil {
			t.Fatal(stack, err)
		}
	})
	net.Run(10 * time.Second)
	s := transport.Status()
	if s.Uplink != "turn" || !s.Firewalled || s.Nodes == 0 || s.Known.IsValid() || s.PublicAddr.Addr().IsValid() && s.PublicAddr.Addr() != server.Addr() || ready != 1 {
		t.Errorf("ready %d times, %+v", ready, s)
	}
	closed := false
	h.Do(func() { transport.Close(func() { closed = true }) })
	if net.Run(10 * time.Second); !closed {
		t.Error("Close does not end")
	}
}

func TestTURNConfigurationsAreChecked(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	h := net.AddHost("h", netip.MustParseAddr("192.0.2.1"))
	for want, s := range map[string]domain.TURNServer{
		"turns:HOST:PORT":   {URI: "turn.example:443", Username: "a", Password: "b"},
		"user and password": {URI: "turns:turn.example:443", Username: "a"},
	} {
		h.Do(func() {
			_, _, err := dhtprom.NewTransport(h, dhtprom.NodeConfig{Bootstrap: []string{}, TURN: dhtprom.TURNConfig{Servers: []domain.TURNServer{s}}})
			if _, ok := errors.AsType[*app.ConfigError](err); !ok || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want an error with %q", err, want)
			}
		})
	}
}
