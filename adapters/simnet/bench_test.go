package simnet

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// BenchmarkSwarm has hosts that bounce datagrams off each other and re-arm a timeout for each: the pattern of a DHT.
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

// BenchmarkThroughNATs is BenchmarkSwarm with each host behind a NAT of its own, bouncing off public ones.
func BenchmarkThroughNATs(b *testing.B) {
	b.ReportAllocs()
	const homes, servers = 1000, 100
	net := New(Config{Seed: 1, Link: Link{Delay: 20 * time.Millisecond}})
	for i := range servers {
		s, err := net.AddHost("s"+strconv.Itoa(i), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})).OpenSocket(netip.AddrPortFrom(netip.Addr{}, 1))
		if err != nil {
			b.Fatal(err)
		}
		s.OnReceive(func(from netip.AddrPort, p []byte) { s.Send(from, 0, p) })
	}
	for i := range homes {
		r := net.AddRouter("r"+strconv.Itoa(i), PortRestricted(), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		s, err := r.AddHost("h"+strconv.Itoa(i), netip.AddrFrom4([4]byte{192, 168, 1, 2})).OpenSocket(netip.AddrPortFrom(netip.Addr{}, 1))
		if err != nil {
			b.Fatal(err)
		}
		pick, msg := dice(i), make([]byte, 100)
		server := func() netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(pick.below(servers))}), 1)
		}
		s.OnReceive(func(netip.AddrPort, []byte) { s.Send(server(), 0, msg) })
		s.Send(server(), 0, msg)
	}
	b.ResetTimer()
	for range b.N {
		net.Step()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkMemory boots hosts with a socket and a timer each, in public and behind NATs that hold a hundred
// sessions, and reports their memory.
func BenchmarkMemory(b *testing.B) {
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	boot := func(b *testing.B, h *Host) host.Socket {
		s, err := h.OpenSocket(netip.AddrPortFrom(netip.Addr{}, 1000))
		if err != nil {
			b.Fatal(err)
		}
		s.OnReceive(func(netip.AddrPort, []byte) {})
		h.AfterFunc(time.Second, func() {})
		return s
	}
	address := func(i int) netip.Addr {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], 0x0a000000+uint32(i)+1)
		return netip.AddrFrom4(ip)
	}
	b.Run("host", func(b *testing.B) {
		const hosts = 100_000
		for range b.N {
			before := heap()
			net := New(Config{Seed: 1})
			for i := range hosts {
				boot(b, net.AddHost("h"+strconv.Itoa(i), address(i)))
			}
			b.ReportMetric((heap()-before)/hosts, "B/host")
			runtime.KeepAlive(net)
		}
	})
	b.Run("NAT", func(b *testing.B) {
		const hosts, sessions = 1000, 100
		for range b.N {
			before := heap()
			net := New(Config{Seed: 1})
			for i := range hosts {
				r := net.AddRouter("r"+strconv.Itoa(i), PortRestricted(), address(i))
				s := boot(b, r.AddHost("h"+strconv.Itoa(i), netip.AddrFrom4([4]byte{192, 168, 1, 2})))
				for j := range sessions {
					s.Send(netip.AddrPortFrom(address(hosts+j), 1), 0, nil)
				}
				net.Run(time.Millisecond)
			}
			net.main.free = nil
			b.ReportMetric((heap()-before)/hosts, "B/host")
			runtime.KeepAlive(net)
		}
	})
}
