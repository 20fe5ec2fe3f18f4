package portmap

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// FuzzReceive sends arbitrary datagrams to a client with a pending request, from the router that it has asked, with the nonce of the
// request where there is room for it.
func FuzzReceive(f *testing.F) {
	f.Add(answerOf(nonce{}))
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 7})
	f.Add([]byte{0, 129, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{0, 129, 0, 0, 0, 0, 0, 1, 0x13, 0x88, 0x13, 0x88, 0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		cost.Repeat(t, func() {
			net := simnet.New(simnet.Config{Seed: 1})
			router := net.AddRouter("router", simnet.SymmetricRandom(), public)
			router.MapPorts(inner, simnet.PortMapping{PCP: true})
			router.Reboot(simnet.Reboot{DownFor: time.Hour})
			h := router.AddHost("us", us)
			c := New(h, Config{Port: port})
			h.Do(c.Start)
			if len(b) >= pcpHeader+nonceSize && b[0] == pcpVersion {
				copy(b[pcpHeader:], c.mapping.nonce[:])
			}
			h.Do(func() {
				work := cost.Start(t, cost.Bound{StepsPerByte: 1, Steps: 1000, BytesPerByte: 1, Bytes: 16 << 10})
				defer work.Stop()
				work.Allow(len(b))
				c.receive(netip.AddrPortFrom(inner, serverPort), b)
			})
			if e := c.External(); e.IsValid() && (!isGlobal(e.Addr()) || e.Port() == 0) {
				t.Errorf("mapped to %v", e)
			}
			if c.status.Lifetime > maxLifetime {
				t.Errorf("lifetime %v", c.status.Lifetime)
			}
			closed := false
			h.Do(func() { c.Close(func() { closed = true }) })
			net.Run(time.Second)
			if !closed || h.Timers() != 0 || h.Sockets() != 0 {
				t.Errorf("closed %v, %d timers, %d sockets", closed, h.Timers(), h.Sockets())
			}
		})
	})
}
