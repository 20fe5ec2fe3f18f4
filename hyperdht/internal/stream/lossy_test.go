package stream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/bench/lossy/relay"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// BenchmarkLossyPath streams 32 MB over a relay that delays and loses datagrams, and overtakes some, with a round trip of 40 ms: between
// two hosts of this machine, and in turn between two processes of the reference implementation, whose packages the tests of interop install.
// The rates are medians, from the first byte to the last.
func BenchmarkLossyPath(b *testing.B) {
	const size = 32 << 20
	for _, l := range []relay.Link{
		{},
		{Loss: 0.01},
		{Loss: 0.05},
		{Jitter: 10 * time.Millisecond},
		{Jitter: 10 * time.Millisecond, Loss: 0.01},
		{Jitter: 10 * time.Millisecond, Loss: 0.05},
		{Reorder: 0.01, Late: 30 * time.Millisecond},
	} {
		l.Delay = 20 * time.Millisecond
		b.Run(fmt.Sprintf("loss=%v/jitter=%v/reorder=%v", l.Loss, l.Jitter, l.Reorder), func(b *testing.B) {
			var own, reference []float64
			for b.Loop() {
				l.Seed++
				own = append(own, size/1e6/between(b, l, size).Seconds())
				reference = append(reference, size/1e6/betweenReferences(b, l, size).Seconds())
			}
			slices.Sort(own)
			slices.Sort(reference)
			mine, theirs := own[len(own)/2], reference[len(reference)/2]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mine, "MB/s")
			b.ReportMetric(theirs, "reference-MB/s")
			b.ReportMetric(mine/theirs, "ratio")
		})
	}
}

// end is a stream on a host of its own.
type end struct {
	host   *udp.Host
	socket host.Socket
	stream *stream.Stream
}

func newEnd(b *testing.B) end {
	e := end{host: udp.New(udp.Options{})}
	b.Cleanup(e.host.Close)
	e.host.Do(func() {
		table := stream.NewTable(e.host, stream.Config{})
		var err error
		if e.socket, err = e.host.OpenSocket(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
			b.Error(err)
			return
		}
		e.socket.OnReceive(func(from netip.AddrPort, p []byte) { table.Receive(e.socket, from, p) })
		e.stream = table.New(nil)
	})
	if e.stream == nil {
		b.FailNow()
	}
	return e
}

// between streams n bytes from one host to another.
func between(b *testing.B, l relay.Link, n int) time.Duration {
	r, err := relay.New(l)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	from, to := newEnd(b), newEnd(b)
	defer from.host.Close()
	defer to.host.Close()
	r.SetPeer(1, to.socket.LocalAddr())
	type result struct {
		spent time.Duration
		err   error
	}
	done := make(chan result, 2)
	to.host.Do(func() {
		var first time.Time
		got := 0
		to.stream.OnData(func(p []byte) {
			if got == 0 {
				first = time.Now()
			}
			if got += len(p); got == n {
				done <- result{spent: time.Since(first)}
			}
		})
		to.stream.OnClose(func(err error) { done <- result{err: fmt.Errorf("%d bytes arrived: %w", got, err)} })
		if err := to.stream.Connect(to.socket, from.stream.ID(), r.Addr(1)); err != nil {
			done <- result{err: err}
		}
	})
	from.host.Do(func() {
		chunk, left := make([]byte, 64<<10), n
		fill := func() {
			for left > 0 {
				k := min(left, len(chunk))
				left -= k
				if !from.stream.Write(chunk[:k]) {
					return
				}
			}
		}
		from.stream.OnDrain(fill)
		if err := from.stream.Connect(from.socket, to.stream.ID(), r.Addr(0)); err != nil {
			done <- result{err: err}
			return
		}
		fill()
	})
	res := <-done
	if res.err != nil {
		b.Fatal(res.err)
	}
	if os.Getenv("LOSSY_STATS") != "" {
		from.host.Do(func() { b.Logf("%.1f MB/s %+v", float64(n)/1e6/res.spent.Seconds(), from.stream.Stats()) })
	}
	return res.spent
}

// betweenReferences does so with the reference implementation, in two processes.
func betweenReferences(b *testing.B, l relay.Link, n int) time.Duration {
	r, err := relay.New(l)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	script := filepath.Join("..", "..", "..", "bench", "lossy", "stream.js")
	port := func(peer int) string { return strconv.Itoa(int(r.Addr(peer).Port())) }
	receiver := exec.CommandContext(ctx, "node", script, "receive", port(1))
	receiver.Stderr = os.Stderr
	out, err := receiver.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := receiver.Start(); err != nil {
		b.Fatal(err)
	}
	lines := json.NewDecoder(bufio.NewReader(out))
	var said struct {
		Port    uint16
		Seconds float64
		Bytes   int
		Error   string
	}
	if err := lines.Decode(&said); err != nil {
		b.Fatal(err)
	}
	r.SetPeer(1, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), said.Port))
	sender := exec.CommandContext(ctx, "node", script, "send", port(0), strconv.Itoa(n))
	sender.Stdout, sender.Stderr = os.Stderr, os.Stderr
	if err := sender.Start(); err != nil {
		b.Fatal(err)
	}
	if err := lines.Decode(&said); err != nil || said.Bytes != n {
		b.Fatalf("%v, %+v", err, said)
	}
	cancel()
	_ = sender.Wait() // killed
	_ = receiver.Wait()
	return time.Duration(said.Seconds * float64(time.Second))
}
