package udx

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever the network does short of silence, both readers get exactly what was written, then the end,
// and both ends close cleanly.
func TestAnyNetworkDeliversExactlyTheBytes(t *testing.T) {
	for seed := range uint64(100) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { exchange(t, seed) }) {
			return
		}
	}
}

func exchange(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	l := link{delay: time.Duration(r.IntN(60)) * ms, loss: r.Float64() * 0.25, duplicate: r.Float64() * 0.2}
	if r.IntN(2) == 0 {
		l.jitter = time.Duration(1+r.IntN(30)) * ms
	}
	if r.IntN(3) == 0 {
		l.rate, l.queue = 200_000+r.IntN(5_000_000), 20_000+r.IntN(200_000)
	}
	if r.IntN(4) == 0 {
		l.mtu = 1200 + r.IntN(300)
	}
	cfg := func() Config {
		c := Config{}
		if r.IntN(3) == 0 {
			c.ReceiveBuffer = 2000 + r.IntN(100_000)
		}
		return c
	}
	ca, cb := cfg(), cfg()
	ca.FirstSeq = Seq(r.Uint32N(2000) - 1000) // around the wrap
	cb.FirstAck = ca.FirstSeq
	w := pair(t, l, seed, ca, cb)
	plan := map[*end][]byte{
		w.a: randomBytes(r.IntN(400_000), seed),
		w.b: randomBytes(r.IntN(60_000), seed+1000),
	}
	want := map[*end][]byte{w.b: plan[w.a], w.a: plan[w.b]}
	ended := map[*end]bool{}
	for range 4000 {
		for _, e := range []*end{w.a, w.b} {
			if len(plan[e]) > 0 {
				n := min(len(plan[e]), r.IntN(20_000))
				e.Write(plan[e][:n])
				plan[e] = plan[e][n:]
			} else if !ended[e] && r.IntN(4) == 0 {
				ended[e] = true
				e.End()
			}
			switch r.IntN(8) {
			case 0:
				e.Pause()
			case 1, 2:
				e.Resume()
				e.Deliver()
			}
		}
		w.flush()
		w.run(time.Duration(r.IntN(100)) * ms)
		if w.a.closed && w.b.closed {
			break
		}
	}
	for _, e := range []*end{w.a, w.b} {
		e.Resume()
		e.Deliver()
		e.Flush(w.now)
	}
	w.run(time.Minute)
	for _, e := range []*end{w.a, w.b} {
		if !bytes.Equal(e.got, want[e]) {
			t.Errorf("%s got %d of %d bytes", e.name, len(e.got), len(want[e]))
		}
		if !e.eof {
			t.Errorf("%s saw no end", e.name)
		}
	}
	// The last ack may be lost for good: then one end forgives or, without it, gives up (§4.5). The table
	// above repeats it.
	if !w.a.closed || !w.b.closed || w.a.err != nil && w.b.err != nil {
		t.Errorf("closed %v %v and %v %v", w.a.closed, w.a.err, w.b.closed, w.b.err)
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	for _, first := range []Seq{1<<32 - 1, 1<<32 - 3, 1<<31 - 5, 1<<32 - 5000} {
		for _, loss := range []float64{0, 0.03} {
			ca, cb := Config{FirstSeq: first, FirstAck: first + 9}, Config{FirstSeq: first + 9, FirstAck: first}
			w := pair(t, link{delay: 5 * ms, loss: loss, jitter: ms}, 5, ca, cb)
			data := randomBytes(12<<20, 1)
			w.a.Write(data)
			w.a.End()
			w.b.Write(data[:5000])
			w.b.End()
			w.flush()
			w.runUntil(2*time.Minute, func() bool { return w.a.closed && w.b.closed })
			if !bytes.Equal(w.b.got, data) || !bytes.Equal(w.a.got, data[:5000]) {
				t.Fatalf("from %d with loss %v: got %d and %d bytes", first, loss, len(w.b.got), len(w.a.got))
			}
			if s := w.a.Stats(); s.Timeouts > 3 || s.BadAcks > 0 {
				t.Errorf("from %d with loss %v: %+v", first, loss, s)
			}
		}
	}
}

func TestSameSeedSameRun(t *testing.T) {
	run := func() string {
		w := traced(t, link{delay: 10 * ms, loss: 0.05, jitter: 5 * ms, duplicate: 0.02})
		w.a.Write(randomBytes(200<<10, 1))
		w.a.End()
		w.b.End()
		w.flush()
		w.run(time.Minute)
		return w.transcript()
	}
	if a, b := run(), run(); a != b || len(a) < 1000 {
		t.Error("two runs differ")
	}
}

// Buffers go back to the pool, and none is used twice at a time: the pool is shared by both ends here,
// and the bytes were right.
func TestClosedMachinesKeepNothing(t *testing.T) {
	pool := NewPool()
	w := pair(t, link{delay: 5 * ms, loss: 0.1}, 9, Config{Pool: pool}, Config{Pool: pool, ReceiveBuffer: 50_000})
	w.b.Pause()
	w.a.Write(make([]byte, 1<<20))
	w.flush()
	w.run(300 * ms)
	w.a.Destroy()
	w.b.Destroy()
	for _, m := range []*end{w.a, w.b} {
		if m.out.ring != nil || m.in.queue.pages != nil || m.in.queue.chunks != nil || m.in.queue.unread != 0 || m.out.flight.bytes != 0 {
			t.Errorf("%s keeps something", m.name)
		}
	}
	seen := map[*byte]bool{}
	for _, p := range pool.packets {
		if seen[&p.buf[0]] {
			t.Fatal("a buffer is in the pool twice")
		}
		seen[&p.buf[0]] = true
	}
	if len(pool.packets) == 0 || len(pool.large) == 0 {
		t.Error("nothing came back")
	}
}
