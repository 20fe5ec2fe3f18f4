package udx

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// wire carries datagrams to the other end of a pair in batches, as a host that reads many at once does.
type wire struct {
	Machine
	out  [][]byte
	free [][]byte
	got  int
}

func (w *wire) Transmit(_ netip.AddrPort, b []byte) {
	var buf []byte
	if n := len(w.free); n > 0 {
		buf, w.free = w.free[n-1][:0], w.free[:n-1]
	}
	w.out = append(w.out, append(buf, b...))
}

func (w *wire) Data(b []byte)    { w.got += len(b) }
func (w *wire) Ended()           {}
func (w *wire) Message([]byte)   {}
func (w *wire) Drain()           {}
func (w *wire) RemoteChanged()   {}
func (w *wire) Closed(err error) {}

// deliver hands what w sent to the other end, which ends its turn then.
func (w *wire) deliver(now host.Instant, to *wire) {
	for _, b := range w.out {
		to.Receive(now, b)
		w.free = append(w.free, b)
	}
	w.out = w.out[:0]
	to.Flush(now)
}

// BenchmarkStreamThroughput measures the cost of the machines of both ends per byte: no sockets, no
// encryption, one copy for the wire.
func BenchmarkStreamThroughput(b *testing.B) {
	x, y := new(wire), new(wire)
	pool := NewPool()
	x.Init(x, Config{Pool: pool})
	y.Init(y, Config{Pool: pool})
	x.Connect(0, Remote{1, addrB})
	y.Connect(0, Remote{2, addrA})
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	now := host.Instant(0)

	for b.Loop() {
		x.Write(chunk)

		for x.writer.blocked {
			now = now.Add(200 * time.Microsecond)
			if at, ok := x.NextDeadline(); ok && at <= now {
				x.Advance(now)
			}
			x.Flush(now)
			x.deliver(now, y)
			y.deliver(now, x)
		}
	}
	if y.got < b.N*len(chunk)-DefaultWindow-highWater-len(chunk) {
		b.Fatalf("%d bytes of %d arrived", y.got, b.N*len(chunk))
	}
	b.ReportMetric(float64(x.stats.PacketsSent)/float64(b.N), "packets/op")
}

// BenchmarkRoundTrip is a small request and its answer.
func BenchmarkRoundTrip(b *testing.B) {
	x, y := new(wire), new(wire)
	x.Init(x, Config{})
	y.Init(y, Config{})
	x.Connect(0, Remote{1, addrB})
	y.Connect(0, Remote{2, addrA})
	msg := make([]byte, 100)
	b.ReportAllocs()
	now := host.Instant(0)
	for b.Loop() {
		now = now.Add(time.Millisecond)
		x.Write(msg)
		x.Flush(now)
		x.deliver(now, y)
		y.Write(msg)
		y.Flush(now)
		y.deliver(now, x)
		x.deliver(now, y)
	}
	if x.got == 0 {
		b.Fatal("nothing came back")
	}
}

// BenchmarkIdleStream reports what a connected stream costs that has nothing to do.
func BenchmarkIdleStream(b *testing.B) {
	pool := NewPool()
	b.ReportAllocs()
	for b.Loop() {
		m := new(wire)
		m.Init(m, Config{Pool: pool})
		m.Connect(0, Remote{1, addrB})
	}
}

// BenchmarkGap is a round trip's packets of which the first comes last: all others wait above the gap.
func BenchmarkGap(b *testing.B) {
	for _, n := range []int{3, 100, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			y := new(wire)
			y.Init(y, Config{})
			y.Connect(0, Remote{1, addrA})
			payload := make([]byte, 1000)
			packets := make([][]byte, n)
			b.SetBytes(int64(n * len(payload)))
			b.ReportAllocs()
			for next := Seq(0); b.Loop(); next += Seq(n) {
				for i := range packets {
					packets[i] = append(Header{Flags: FlagData, Seq: next + Seq(i)}.Append(packets[i][:0]), payload...)
				}
				for i := range packets {
					y.Receive(0, packets[(i+1)%n])
				}
				y.out = y.out[:0]
			}
		})
	}
}
