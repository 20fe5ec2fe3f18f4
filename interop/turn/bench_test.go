package turn_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	serverof "github.com/dhtprom/dhtprom/interop/turn"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/ports/host"
)

// cpu returns the processor time of this process, and of coturn.
func cpu(b *testing.B, coturn *serverof.Server) (own, server time.Duration) {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", coturn.Pid()))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return own, time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkStream sends a stream from one node to another, over UDP and over coturn: rates, and processor seconds for a gigabyte of both nodes
// together and of the server. The DHT's nodes are idle.
func BenchmarkStream(b *testing.B) {
	d, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	coturn := serverof.StartCoturn(b)
	for _, way := range []string{"direct", "TCP", "TLS", "UDP"} {
		b.Run(way, func(b *testing.B) {
			from, to := netOf(b, d, coturn, way), netOf(b, d, coturn, "direct")
			keys := id.KeyPairFromSeed(id.Seed{byte(len(way))})
			l, err := to.Listen(b.Context(), hyperdht.ListenOptions{Keys: keys})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			const piece = 1 << 20
			read := make(chan struct{})
			go func() {
				defer close(read)
				c, err := l.Accept()
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.CopyN(io.Discard, c, int64(b.N)*piece)
			}()
			c, err := from.Dial(b.Context(), keys.Public, hyperdht.ConnectOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			data := make([]byte, piece)
			b.SetBytes(piece)
			own, server := cpu(b, coturn)
			b.ResetTimer()
			for range b.N {
				if _, err := c.Write(data); err != nil {
					b.Fatal(err)
				}
			}
			<-read
			b.StopTimer()
			ownAfter, serverAfter := cpu(b, coturn)
			gigabytes := float64(b.N) * piece / 1e9
			b.ReportMetric((ownAfter-own).Seconds()/gigabytes, "cpu-s/GB")
			b.ReportMetric((serverAfter-server).Seconds()/gigabytes, "server-cpu-s/GB")
		})
	}
}

// netOf starts a node, over UDP or over the server.
func netOf(b *testing.B, d *node.DHT, coturn *serverof.Server, way string) *dhtnet.Net {
	b.Helper()
	h := udp.New(udp.Options{})
	b.Cleanup(h.Close)
	var on host.Host = h
	if way != "direct" {
		up := make(chan struct{}, 1)
		server := via(b, h, coturn, way)
		h.Do(func() {
			relayed, err := turn.New(h, turn.Config{Servers: []turn.Server{server}, OnUp: func(netip.AddrPort) { up <- struct{}{} }})
			if err != nil {
				b.Error(err)
			}
			on = relayed
		})
		<-up
	}
	ready := make(chan *hyperdht.Node, 1)
	h.Post(func() {
		var n *hyperdht.Node
		var err error
		n, err = hyperdht.New(on, hyperdht.Config{Bootstrap: d.Bootstrap(), OnReady: func() { ready <- n }, Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0)})
		if err != nil {
			b.Error(err)
			ready <- nil
		}
	})
	return dhtnet.New(on, <-ready)
}
