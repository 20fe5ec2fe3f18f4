package udx

import (
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// transport sends n bytes from A to B, and returns the time until all have arrived.
func (w *world) transport(n int) time.Duration {
	chunk := make([]byte, 64<<10)
	begin, left := w.now, n
	arrived := 0
	w.b.onData = func() { arrived += len(w.b.got); w.b.got = w.b.got[:0] }
	fill := func() {
		for left > 0 && !w.a.writer.blocked {
			size := min(left, len(chunk))
			left -= size
			w.a.Write(chunk[:size])
		}
		w.a.Flush(w.now)
	}
	drains := w.a.drains
	fill()
	if !w.runUntil(10*time.Minute, func() bool {
		if w.a.drains != drains {
			drains = w.a.drains
			fill()
		}
		return arrived == n || w.a.closed || w.b.closed
	}) || arrived != n {
		w.t.Fatalf("%d of %d bytes arrived in %v: %v, %v; %+v", arrived, n, w.now.Sub(begin), w.a.err, w.b.err, w.a.Stats())
	}
	return w.now.Sub(begin)
}

// BenchmarkLossyPath measures the rate of a stream of 32 MB, in virtual time, with a round trip of 40 ms; each turn has another seed. The
// machines take turns of a millisecond, as processes that share a processor do.
func BenchmarkLossyPath(b *testing.B) {
	const size = 32 << 20
	for _, l := range []link{
		{},
		{loss: 0.01},
		{loss: 0.05},
		{jitter: 10 * ms},
		{jitter: 10 * ms, loss: 0.01},
		{jitter: 10 * ms, loss: 0.05},
		{late: 30 * ms, reorder: 0.01},
	} {
		for _, rate := range []int{0, 50e6, 10e6, 1e6} {
			l.delay, l.rate, l.queue, l.turn = 20*ms, rate, rate/20, ms
			name := fmt.Sprintf("rate=%dMB/loss=%v/jitter=%v/reorder=%v", rate/1e6, l.loss, l.jitter, l.reorder)
			b.Run(name, func(b *testing.B) {
				var spent time.Duration
				var st Stats
				n := size
				if rate > 0 {
					n = min(size, rate*4)
				}
				seed := uint64(0)
				for b.Loop() {
					seed++
					w := pair(b, l, seed)
					spent += w.transport(n)
					s := w.a.Stats()
					st.PacketsSent += s.PacketsSent
					st.Retransmits += s.Retransmits
					st.Timeouts += s.Timeouts
					st.TailProbes += s.TailProbes
				}
				b.ReportMetric(float64(n)*float64(b.N)/spent.Seconds()/1e6, "MB/s-virtual")
				b.ReportMetric(float64(st.Retransmits)/float64(st.PacketsSent)*100, "%repeated")
				b.ReportMetric(float64(st.Timeouts)/float64(b.N), "timeouts/op")
				b.ReportMetric(float64(st.TailProbes)/float64(b.N), "probes/op")
			})
		}
	}
}

// A reader that stops for long, on a path that reorders: what is held for lost and is not takes its place in the peer's window, too.
func TestPausedReaderOnAPathThatReorders(t *testing.T) {
	for seed := range uint64(8) {
		l := link{delay: 20 * ms, reorder: 0.01, late: 30 * ms}
		if seed%2 == 1 {
			l.loss = 0.03
		}
		w := pair(t, l, seed)
		const size = 16 << 20
		w.a.Write(make([]byte, size))
		w.flush()
		w.run(time.Duration(seed*100) * ms)
		w.b.Pause()
		w.run(30 * time.Second)
		w.b.Resume()
		w.b.Deliver()
		w.flush()
		w.run(30 * time.Second)
		if s := w.b.Stats(); len(w.b.got) != size || w.a.closed || s.BeyondWindow > 0 {
			t.Errorf("seed %d: %d bytes arrived, %d packets beyond the window: %v", seed, len(w.b.got), s.BeyondWindow, w.a.err)
		}
	}
}

// A path on which packets overtake each other costs a stream neither its rate nor many repetitions.
func TestReorderingCostsLittle(t *testing.T) {
	for seed := range uint64(6) {
		w := pair(t, link{delay: 10 * ms, jitter: 20 * ms}, seed)
		took := w.transport(1 << 20)
		if s := w.a.Stats(); took > 400*ms || s.Retransmits > s.PacketsSent/20 {
			t.Errorf("seed %d: %v, %d of %d packets were sent again", seed, took, s.Retransmits, s.PacketsSent)
		}
	}
}

// What was held for lost and is late widens the window of reordering, once in a recovery; without such packets it narrows again.
func TestLatePacketsWidenTheReorderingWindow(t *testing.T) {
	m := &Machine{}
	m.rtt.smallest, m.rtt.smoothed = 40*ms, 50*ms
	expect := func(want time.Duration) {
		t.Helper()
		if got := m.reorderWindow(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	r := &m.loss.rack
	expect(10 * ms)
	for _, want := range []time.Duration{20 * ms, 30 * ms, 40 * ms, 50 * ms, 50 * ms} {
		r.recover()
		r.widen()
		r.widen()
		expect(want)
	}
	for range keepWider * 2 {
		r.recover()
	}
	expect(40 * ms)
	for range keepWider * 9 {
		r.recover()
	}
	expect(10 * ms)
}

// Losses that are no sign of congestion leave the window as it is; those of an eighth of a round shrink it to what arrives.
func TestWindowOfAStreamThatLosesPackets(t *testing.T) {
	for _, tc := range []struct {
		lost, late int
		want       int
	}{
		{lost: 2_000, want: 99_000},
		{lost: 8_000, want: 93_000},               // few packets
		{lost: 10_000, late: 3_000, want: 91_000}, // most had not got lost
		{lost: 10_000, want: 51_000},
	} {
		b := measured(probeBW)
		b.losses = lossRate{acked: 50_000}
		b.onAck(0, &ackSample{mss: 1000, acked: 1000, lost: tc.lost, late: tc.late, inFlight: 50_000, recovery: recovering})
		if b.cwnd != tc.want {
			t.Errorf("lost %d, late %d: window %d, want %d", tc.lost, tc.late, b.cwnd, tc.want)
		}
	}
}

// An acknowledgement that comes after a newer one with the same numbers does not open the window again.
func TestWindowOfAnOvertakenAcknowledgement(t *testing.T) {
	w := pair(t, link{delay: ms}, 1)
	w.writePackets(10)
	sack := func(window uint32, end Seq) {
		p := Packet{Header: Header{Flags: FlagSACK, Window: window}, SACK: AppendBlock(nil, Block{1, end})}
		w.a.Receive(w.now, p.Append(nil))
	}
	for _, step := range []struct {
		window uint32
		end    Seq
		want   uint32
	}{
		{9000, 3, 9000}, {7000, 5, 7000}, {8000, 4, 7000}, {6000, 5, 6000}, {0, 6, 0}, {9000, 5, 0}, {5000, 6, 5000}, {6000, 7, 6000},
	} {
		if sack(step.window, step.end); w.a.window.size != step.want {
			t.Errorf("after a window of %d and packets before %d: %d, want %d", step.window, step.end, w.a.window.size, step.want)
		}
	}
}

// A second in which half of all packets are lost counts as a stall; one in a hundred does not, nor what a short queue overflows by.
func TestStallsOfABadPath(t *testing.T) {
	for _, tc := range []struct {
		link link
		bad  bool
	}{
		{link{delay: 20 * ms, loss: 0.5}, true},
		{link{delay: 20 * ms, loss: 0.01}, false},
		{link{delay: 20 * ms, loss: 0.05, jitter: 10 * ms}, false},
		{link{delay: 20 * ms, rate: 1e6, queue: 5e3}, false},
	} {
		w := pair(t, tc.link, 1)
		for range 200 {
			w.a.Write(make([]byte, 4000))
			w.flush()
			w.run(50 * ms)
		}
		if stalls := w.a.Stalls(); (stalls >= 3) != tc.bad || !tc.bad && stalls > 1 {
			t.Errorf("%+v: %d stalls, %d timeouts", tc.link, stalls, w.a.Stats().Timeouts)
		}
	}
	w := pair(t, link{delay: 20 * ms, rate: 1e6, queue: 5e3}, 1)
	w.transport(20 << 20)
	if stalls := w.a.Stalls(); stalls > 1 {
		t.Errorf("short queue: %d stalls", stalls)
	}
}

// Streams that share a bottleneck share its rate, whichever came first, and do not keep its queue overflowing. With a queue of a fifth of
// the round trip, BBR leaves little to the second: only the sum is judged there.
func TestStreamsShareABottleneck(t *testing.T) {
	for name, l := range map[string]link{
		"long queue":  {delay: 20 * ms, rate: 5e6, queue: 400e3},
		"short queue": {delay: 20 * ms, rate: 5e6, queue: 40e3},
		"1% loss":     {delay: 20 * ms, rate: 5e6, queue: 100e3, loss: 0.01},
		"5% loss":     {delay: 20 * ms, rate: 5e6, queue: 100e3, loss: 0.05},
		"reordering":  {delay: 20 * ms, rate: 5e6, queue: 100e3, jitter: 5 * ms},
	} {
		x, y := pair(t, l, 1), pair(t, l, 2)
		y.busy = x.busy
		streams := []*world{x, y}
		var got [2]int
		for i, w := range streams {
			w.b.onData = func() { got[i], w.b.got = got[i]+len(w.b.got), w.b.got[:0] }
		}
		run := func(until host.Instant, ws ...*world) {
			for {
				w := ws[0]
				for _, o := range ws[1:] {
					if o.next() < w.next() {
						w = o
					}
				}
				if !w.step(until) {
					return
				}
				if !w.a.writer.blocked {
					w.a.Write(make([]byte, 64<<10))
					w.a.Flush(w.now)
				}
			}
		}
		x.a.Write(make([]byte, 1<<20))
		x.flush()
		run(host.Instant(3*time.Second), x)
		y.now = x.now
		y.a.Write(make([]byte, 1<<20))
		y.flush()
		run(host.Instant(10*time.Second), x, y)
		got = [2]int{}
		before := [2]Stats{x.a.Stats(), y.a.Stats()}
		run(host.Instant(40*time.Second), x, y)
		sent, again := 0, 0
		for i, w := range streams {
			s := w.a.Stats()
			sent += int(s.PacketsSent - before[i].PacketsSent)
			again += int(s.Retransmits - before[i].Retransmits)
		}
		t.Logf("%s: %.1f and %.1f MB/s, %.1f%% sent again", name, float64(got[0])/30e6, float64(got[1])/30e6, 100*float64(again)/float64(sent))
		if sum := got[0] + got[1]; name != "short queue" && min(got[0], got[1])*4 < sum || sum < 30*5e6*3/4 ||
			float64(again) > (l.loss+0.08)*float64(sent) {
			t.Errorf("%s: %d and %d bytes in 30 s, %d of %d packets sent again", name, got[0], got[1], again, sent)
		}
	}
}
