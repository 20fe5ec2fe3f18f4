package udp_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/udp"
)

// BenchmarkPingPong measures the round trip of a datagram, for plain sockets and for two hosts.
func BenchmarkPingPong(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		listen := func() *net.UDPConn {
			c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { c.Close() })
			return c
		}
		s, c := listen(), listen()
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := s.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				s.WriteToUDPAddrPort(buf[:n], from)
			}
		}()
		to := s.LocalAddr().(*net.UDPAddr).AddrPort()
		buf := make([]byte, 2048)
		for b.Loop() {
			c.WriteToUDPAddrPort(buf[:100], to)
			if _, _, err := c.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("host", func(b *testing.B) {
		b.ReportAllocs()
		server, client := start(b, udp.Options{}), start(b, udp.Options{})
		s, c := open(b, server), open(b, client)
		server.Do(func() { s.OnReceive(func(from netip.AddrPort, p []byte) { s.Send(from, 0, p) }) })
		done := make(chan struct{})
		b.ResetTimer()
		client.Do(func() {
			left := b.N
			c.OnReceive(func(from netip.AddrPort, p []byte) {
				if left--; left == 0 {
					close(done)
					return
				}
				c.Send(from, 0, p)
			})
			c.Send(s.LocalAddr(), 0, make([]byte, 100))
		})
		await(b, done)
	})
}

// BenchmarkBulk measures the throughput of full datagrams, acknowledged once per batch so that nothing is lost.
func BenchmarkBulk(b *testing.B) {
	const size, window = 1200, 128
	b.SetBytes(size)
	b.ReportAllocs()
	server, client := start(b, udp.Options{}), start(b, udp.Options{})
	s, c := open(b, server), open(b, client)
	server.Do(func() {
		got, acked := uint64(0), uint64(0)
		s.OnReceive(func(from netip.AddrPort, p []byte) {
			if got == acked {
				server.Defer(func() {
					s.Send(from, 0, []byte{byte(got - acked)})
					acked = got
				})
			}
			got++
		})
	})
	done := make(chan struct{})
	b.ResetTimer()
	client.Do(func() {
		left, flying := b.N, 0
		payload := make([]byte, size)
		fill := func() {
			for ; left > 0 && flying < window; left, flying = left-1, flying+1 {
				c.Send(s.LocalAddr(), 0, payload)
			}
		}
		c.OnReceive(func(from netip.AddrPort, p []byte) {
			flying -= int(p[0])
			if fill(); left == 0 && flying == 0 {
				close(done)
			}
		})
		fill()
	})
	await(b, done)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
	server.Do(func() {
		st := server.Stats()
		b.ReportMetric(float64(st.Received)/float64(st.Reads), "packets/read")
	})
}
