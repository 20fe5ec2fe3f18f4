package doctor

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

// freePort returns a port of the loopback interface that is not in use.
func freePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func TestDoctorOnRealSockets(t *testing.T) {
	h := udp.New(udp.Options{})
	defer h.Close()
	const patience = 30 * time.Second
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	start := func(cfg hyperdht.Config) *hyperdht.Node {
		t.Helper()
		var node *hyperdht.Node
		var err error
		ready := make(chan struct{})
		cfg.OnReady = func() { close(ready) }
		h.Do(func() { node, err = hyperdht.New(h, cfg) })
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ready:
		case <-time.After(patience):
			t.Fatal("a node does not get ready")
		}
		return node
	}
	first := netip.AddrPortFrom(loopback, freePort(t))
	bootstrap := []string{first.String()}
	start(hyperdht.Config{Bootstrap: []string{}, Listen: first, PublicAddr: first, Mode: hyperdht.Persistent, Reachable: true})
	for range 3 {
		at := netip.AddrPortFrom(loopback, freePort(t))
		start(hyperdht.Config{Bootstrap: bootstrap, Listen: at, PublicAddr: at, Mode: hyperdht.Persistent, Reachable: true})
	}
	anyPort := netip.AddrPortFrom(loopback, freePort(t))
	node := start(hyperdht.Config{Bootstrap: bootstrap, Listen: anyPort})
	announced := make(chan error, 1)
	h.Do(func() {
		_, err := dht.New(h, node, dht.Config{}).ListenAliases(ports.AliasListen{
			Keys: scraperKeys,
			OnOpen: func(ports.Conn) ports.AliasHandlers {
				return ports.AliasHandlers{OnLeave: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
					if !req.Secret.Equal(secret) {
						reply(ports.AliasReply{Message: "Unauthorised"})
						return
					}
					reply(ports.AliasReply{Success: true})
				}}
			},
		}, func(err error) { announced <- err })
		if err != nil {
			announced <- err
		}
	})
	select {
	case err := <-announced:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the scraper is not announced")
	}

	for _, tt := range []struct {
		name     string
		secret   domain.Secret
		findings string
		says     string
	}{
		{"no problem", secret, "", "the secret is accepted"},
		{"secret refused", otherSecret, "problem secret_refused", "the secret is rejected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := Run(ctx, Config{
				Node:    dhtprom.NodeConfig{Bootstrap: bootstrap, Listen: netip.AddrPortFrom(loopback, 0)},
				Targets: []Target{{Name: "the scraper", Key: scraperKeys.Public, Secret: tt.secret}},
			})
			if err != nil {
				t.Fatal(err)
			}
			check(t, r, tt.findings, tt.says, "encryption established")
		})
	}
}
