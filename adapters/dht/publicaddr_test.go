package dht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports"
)

const publicName = "scraper.example"

// public starts a peer with a public address.
func (sw *swarm) public(name string, addr domain.Address, unresolved func(error)) *peer {
	sw.t.Helper()
	p := &peer{host: sw.addHost(name)}
	p.node = sw.node(p.host, hyperdht.Config{Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port)})
	p.host.Do(func() {
		p.transport = dht.New(p.host, p.node, dht.Config{PublicAddress: addr, OnUnresolved: unresolved})
	})
	return p
}

// accepts serves registrations, and returns the time until clients can find the server.
func (sw *swarm) accepts(p *peer) (took time.Duration) {
	sw.t.Helper()
	began, ready := sw.net.Now(), false
	p.host.Do(func() {
		if _, err := p.transport.ListenAliases(ports.AliasListen{Keys: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1}))}, func(error) { ready = true }); err != nil {
			sw.t.Fatal(err)
		}
	})
	sw.until("the server is ready", time.Minute, func() bool { return ready })
	return sw.net.Now() - began
}

func TestPublicAddressFollowsItsName(t *testing.T) {
	n := newNet(t, 90)
	failures := 0
	p := n.public("scraper", domain.Address{Host: publicName, Port: 443}, func(error) { failures++ })
	n.net.Run(time.Minute)
	if known := p.transport.Status().Known; known.IsValid() || failures != 1 {
		t.Errorf("known %v without an entry, %d failures", known, failures)
	}
	at := func(addr netip.Addr) func() bool {
		return func() bool {
			s := p.transport.Status()
			return s.Known == netip.AddrPortFrom(addr, 443) && s.PublicAddr == s.Known && !s.Firewalled
		}
	}
	n.net.SetName(publicName, p.host.Addr())
	n.until("the name is resolved", 15*time.Second, at(p.host.Addr()))
	next := netip.MustParseAddr("100.128.9.9")
	n.net.SetName(publicName, next)
	n.until("it is resolved again", 5*time.Minute+time.Second, at(next))
	n.net.SetName(publicName)
	n.net.Run(10 * time.Minute)
	if !at(next)() || failures != 1 {
		t.Errorf("%+v after failed lookups, %d failures", p.transport.Status().Known, failures)
	}
}

func TestPublicAddressOfThisMachineEndsWithIt(t *testing.T) {
	n := newNet(t, 91)
	old := netip.MustParseAddr("100.128.0.7")
	p := n.public("scraper", domain.Address{Host: old.String(), Port: 443}, nil)
	if p.host.Addr() != old {
		t.Fatalf("the machine is at %v", p.host.Addr())
	}
	n.accepts(p)
	n.net.Run(time.Minute)
	if s := p.transport.Status(); s.Firewalled || s.PublicAddr != netip.AddrPortFrom(old, 443) {
		t.Errorf("status %+v", s)
	}
	p.host.Move(n.net.Internet(), netip.MustParseAddr("100.128.0.77"))
	n.net.Run(20 * time.Second)
	if s := p.transport.Status(); s.PublicAddr.Addr() == old || s.Known.IsValid() {
		t.Errorf("after a move: %+v", s)
	}
	p.host.Move(n.net.Internet(), old)
	n.net.Run(20 * time.Second)
	if s := p.transport.Status(); s.Firewalled || s.PublicAddr != netip.AddrPortFrom(old, 443) {
		t.Errorf("back again: %+v", s)
	}
}

func TestServerWithAPublicAddressIsReadyWithoutTheDHT(t *testing.T) {
	n := newNet(t, 92)
	p := n.public("scraper", domain.Address{Host: "100.128.0.7", Port: 443}, nil)
	n.net.SetFilter(func(d simnet.Datagram) bool { return d.From.Addr() != p.host.Addr() && d.To.Addr() != p.host.Addr() })
	if took := n.accepts(p); took > 15*time.Second {
		t.Errorf("ready after %v", took)
	}
	if s := p.transport.Status(); s.State != "offline" || s.Announced != 0 || !s.Known.IsValid() {
		t.Errorf("status %+v", s)
	}
	other := n.addHost("other")
	plain := &peer{host: other, node: n.node(other, hyperdht.Config{})}
	n.net.SetFilter(func(d simnet.Datagram) bool { return d.From.Addr() != other.Addr() && d.To.Addr() != other.Addr() })
	plain.host.Do(func() { plain.transport = dht.New(plain.host, plain.node, dht.Config{}) })
	ready := false
	plain.host.Do(func() {
		if _, err := plain.transport.ListenAliases(ports.AliasListen{Keys: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{2}))}, func(error) { ready = true }); err != nil {
			t.Fatal(err)
		}
	})
	n.net.Run(time.Minute)
	if ready {
		t.Error("a server is ready that nothing leads to")
	}
}
