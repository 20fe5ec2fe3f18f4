package simnet

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// BenchmarkSwarm has hosts that bounce datagrams off each other and re-arm a timeout for each: the pattern
// of a DHT.
func BenchmarkSwarm(b *testing.B) {
	for _, hosts := range []int{10, 1000, 10000} {
		b.Run(strconv.Itoa(hosts), func(b *testing.B) {
			b.ReportAllocs()
			net := New(Config{Seed: 1, Link: Link{Delay: 20 * time.Millisecond, Spread: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.001}})
			var addrs []netip.AddrPort
			for i := range hosts {
				var ip [4]byte
				binary.BigEndian.PutUint32(ip[:], 0x0a000000+uint32(i)+1)
				addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4(ip), 1000))
			}
			for i, addr := range addrs {
				h := net.AddHost("h"+strconv.Itoa(i), addr.Addr())
				s, err := h.OpenSocket(addr)
				if err != nil {
					b.Fatal(err)
				}
				pick := dice(i)
				var timeout host.Timer
				msg := make([]byte, 100)
				timeout = h.AfterFunc(time.Second, func() {
					s.Send(addrs[pick.below(int64(hosts))], 0, msg)
					timeout.Reset(time.Second)
				})
				s.OnReceive(func(from netip.AddrPort, p []byte) {
					timeout.Reset(time.Second)
					s.Send(addrs[pick.below(int64(hosts))], 0, p)
				})
				s.Send(addrs[pick.below(int64(hosts))], 0, msg)
			}
			b.ResetTimer()
			for range b.N {
				net.Step()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
