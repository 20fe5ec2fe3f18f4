package simnet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host/hosttest"
)

func TestHostKeepsTheContract(t *testing.T) {
	tests := []struct {
		name string
		set  func(*simnet.Host)
	}{
		{"plain", func(*simnet.Host) {}},
		{"clock too fast", func(h *simnet.Host) { h.SetDrift(0.3) }},
		{"clock too slow", func(h *simnet.Host) { h.SetDrift(-0.3) }},
		{"slow", func(h *simnet.Host) { h.SetTurnCost(time.Millisecond) }},
		{"behind a router", func(*simnet.Host) {}},
		{"rested", func(h *simnet.Host) { h.Sleep(); h.Wake() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hosttest.Run(t, func(t *testing.T) hosttest.Rig {
				net := simnet.New(simnet.Config{Seed: 1, Scribble: true})
				addr := netip.MustParseAddr("192.0.2.1")
				h := net.AddHost("a", addr)
				if test.name == "behind a router" {
					router := net.AddRouter("router", simnet.PortRestricted(), netip.MustParseAddr("203.0.113.1"))
					router.MapPorts(netip.MustParseAddr("192.168.1.1"), simnet.PortMapping{PCP: true})
					addr = netip.MustParseAddr("192.168.1.2")
					h = router.AddHost("b", addr)
				}
				test.set(h)
				return hosttest.Rig{Host: h, Close: h.Crash, Addr: addr, Await: func(t *testing.T, f func(done func())) {
					t.Helper()
					called := false
					h.Do(func() { f(func() { called = true }) })
					if !net.RunUntil(func() bool { return called }, time.Minute) {
						t.Fatal("nothing more happens and done was not called")
					}
				}}
			})
		})
	}
}
