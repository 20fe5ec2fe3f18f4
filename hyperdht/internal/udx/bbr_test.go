package udx

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// transfer sends n bytes under back-pressure and reports the rate from the first to the last byte.
func (w *world) transfer(n int, limit time.Duration) (bytesPerSecond int) {
	start, left := w.now, n
	for len(w.b.got) < n {
		for left > 0 && !w.a.writer.blocked {
			k := min(left, 32<<10)
			w.a.Write(make([]byte, k))
			left -= k
		}
		w.flush()
		if !w.step(start.Add(limit)) {
			w.t.Fatalf("%d of %d bytes after %v: %+v", len(w.b.got), n, limit, w.a.Stats())
		}
	}
	return int(float64(n) / w.now.Sub(start).Seconds())
}

func TestThroughputUnderLossAndDelay(t *testing.T) {
	for _, tc := range []struct {
		name  string
		link  link
		bytes int
		least float64 // of the link's rate
	}{
		{"lan", link{delay: 200 * time.Microsecond, rate: 100e6, queue: 200e3}, 20 << 20, 0.8},
		{"home", link{delay: 10 * ms, rate: 5e6, queue: 100e3}, 10 << 20, 0.85},
		{"far", link{delay: 25 * ms, rate: 10e6, queue: 500e3}, 20 << 20, 0.8},
		{"far, 1% loss", link{delay: 25 * ms, rate: 10e6, queue: 500e3, loss: 0.01}, 20 << 20, 0.75},
		{"far, 5% loss", link{delay: 25 * ms, rate: 10e6, queue: 500e3, loss: 0.05}, 20 << 20, 0.7},
		{"far, reordering", link{delay: 25 * ms, rate: 10e6, queue: 500e3, jitter: 3 * ms}, 20 << 20, 0.7},
		{"slow", link{delay: 30 * ms, rate: 100e3, queue: 20e3}, 1 << 20, 0.8},
		{"short queue", link{delay: 25 * ms, rate: 10e6, queue: 50e3}, 20 << 20, 0.7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := pair(t, tc.link, 11)
			rate := w.transfer(tc.bytes, 2*time.Minute)
			s := w.a.Stats()
			t.Logf("%d of %d kB/s, %d packets, %d again, %d timeouts, cwnd %d, rtt %v",
				rate/1000, tc.link.rate/1000, s.PacketsSent, s.Retransmits, s.Timeouts, s.Cwnd, s.RTT)
			if float64(rate) < tc.least*float64(tc.link.rate) {
				t.Errorf("%d kB/s of %d", rate/1000, tc.link.rate/1000)
			}
			if int(s.Bandwidth) > tc.link.rate*5/4 {
				t.Errorf("estimated %d kB/s", s.Bandwidth/1000)
			}
		})
	}
}

// The reference's receiver names the lowest blocks only, so much of what arrives above many gaps is
// acked late and in one piece. That must not look like a faster path.
func TestReceiverThatNamesOnlyTheLowestBlocks(t *testing.T) {
	w := pair(t, link{delay: 25 * ms, rate: 10e6, queue: 500e3, loss: 0.05, lowest: true}, 11)
	rate := w.transfer(20<<20, 2*time.Minute)
	s := w.a.Stats()
	t.Logf("%d kB/s, estimated %d, %d packets, %d again", rate/1000, s.Bandwidth/1000, s.PacketsSent, s.Retransmits)
	if rate < 4e6 || s.Bandwidth > 15e6 || s.Retransmits > s.PacketsSent/4 {
		t.Errorf("%+v", s)
	}
}

// Where the peer's window is larger than the path, it is the path that limits the rate, and not the application: the startup, which sends
// more than twice what the path takes, ends.
func TestStartupEndsWithAWindowThatFillsThePath(t *testing.T) {
	const rate, path = 10e6, 400e3 // bytes per second, and within a round trip of 40 ms
	for name, window := range map[string]int{"one and a half": path / 2 * 3, "ten": path * 10} {
		t.Run(name, func(t *testing.T) {
			w := pair(t, link{delay: 20 * ms, rate: rate, queue: path * 2}, 1, Config{Pool: NewPool(), ReceiveBuffer: window})
			w.transfer(5<<20, time.Minute)
			if w.a.bbr.mode == startup {
				t.Errorf("still starting: %+v", w.a.Stats())
			}
		})
	}
}

// An acknowledgement of several packets measures the rate since the one that left last, in whatever order they are counted.
func TestRateIsThatOfThePacketThatLeftLast(t *testing.T) {
	at := func(n time.Duration) host.Instant { return host.Instant(n * ms) }
	first := &packet{sent: at(0), buf: make([]byte, 1000)}
	last := &packet{sent: at(30), buf: make([]byte, 1000), delivered: 5000, deliveredAt: at(20), firstSentAt: at(10), appLimited: true}
	for _, order := range [][]*packet{{first, last}, {last, first}} {
		var r deliveryRate
		var s ackSample
		for _, p := range order {
			r.ackPacket(at(70), p, &s, false)
		}
		if !s.hasRate || s.priorDelivered != 5000 || s.interval != 50*ms || !s.appLimited {
			t.Errorf("%+v", s)
		}
	}
}

// Packets count as limited by the application until more than what was in flight at its end has been delivered
// (draft-cheng-iccrg-delivery-rate-estimation, 3.3).
func TestSamplesAreLimitedUntilTheFlightIsDelivered(t *testing.T) {
	var r deliveryRate
	r.limitByApplication(2 * 1000)
	for i, want := range []bool{true, true, true, false} {
		r.delivered = int64(i) * 1000
		r.complete(new(ackSample), 0)
		p := new(packet)
		if r.stamp(p); p.appLimited != want {
			t.Errorf("after %d of 2000 bytes: limited %v", r.delivered, p.appLimited)
		}
	}
}

func TestIdleStreamStartsAgainAtItsRate(t *testing.T) {
	w := pair(t, link{delay: 25 * ms, rate: 10e6, queue: 500e3}, 1)
	w.transfer(10<<20, time.Minute)
	w.run(20 * time.Second)
	w.b.got = nil
	if rate := w.transfer(5<<20, time.Minute); rate < 6e6 {
		t.Errorf("%d kB/s after idling", rate/1000)
	}
}

// Two flows share a bottleneck in one direction each way of the pair: acks and data compete.
func TestBothDirectionsAtOnce(t *testing.T) {
	w := pair(t, link{delay: 20 * ms, rate: 5e6, queue: 200e3}, 1)
	w.b.Write(make([]byte, 8<<20))
	rate := w.transfer(8<<20, time.Minute)
	w.run(2 * time.Second)
	if len(w.a.got) != 8<<20 || rate < 3e6 {
		t.Errorf("%d kB/s, and %d bytes the other way", rate/1000, len(w.a.got))
	}
}

// One packet out for one in, until the first round of the recovery is over; then the old window.
func TestRecoveryConservesPackets(t *testing.T) {
	var b bbr
	b.init(1200)
	b.cwnd = 100_000
	b.pipe.full, b.mode = true, probeBW
	b.floor.rtt, b.floor.known = 50*ms, true
	b.bandwidth.update(0, 1_000_000, bandwidthRounds)
	now := host.Instant(time.Second)
	s := ackSample{mss: 1200, acked: 1200, lost: 24_000, inFlight: 60_000, before: open, recovery: recovering}
	b.onAck(now, &s)
	if b.cwnd != 61_200 {
		t.Errorf("window %d on entry, want what is in flight and what was acked", b.cwnd)
	}
	s = ackSample{mss: 1200, acked: 2400, inFlight: 58_800, before: recovering, recovery: recovering}
	b.onAck(now, &s)
	if b.cwnd != 61_200 {
		t.Errorf("window %d in the first round", b.cwnd)
	}
	s = ackSample{mss: 1200, acked: 1200, inFlight: 60_000, before: recovering, recovery: open}
	b.onAck(now, &s)
	if b.cwnd != 100_000 {
		t.Errorf("window %d after the recovery, want the old one", b.cwnd)
	}
}

func TestRTTSamples(t *testing.T) {
	var r rttEstimator
	r.init()
	if r.rto != time.Second {
		t.Errorf("initial timeout %v", r.rto)
	}
	for _, tc := range []struct {
		name                  string
		sample, smoothed, rto time.Duration
	}{
		{"first", 100 * ms, 100 * ms, time.Second},
		{"same", 100 * ms, 100 * ms, time.Second},
		{"slow", 2100 * ms, 350 * ms, 350*ms + 4*528125*time.Microsecond},
		{"a machine that slept", time.Hour, 680078125 * time.Nanosecond, 0},
	} {
		r.sample(0, tc.sample)
		if r.smoothed != tc.smoothed || tc.rto != 0 && r.rto != tc.rto {
			t.Errorf("%s: smoothed %v, timeout %v", tc.name, r.smoothed, r.rto)
		}
	}
	if r.smallest != 100*ms {
		t.Errorf("smallest %v", r.smallest)
	}
	r.sample(1e9*301, 300*ms)
	if r.smallest != 300*ms {
		t.Errorf("smallest %v after its window", r.smallest)
	}
}

func TestMaxFilterForgetsAfterItsWindow(t *testing.T) {
	var f maxFilter
	values := []int64{5, 9, 3, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	for i, v := range values {
		f.update(uint32(i), v, 4)
		var want int64
		for j := max(0, i-4); j <= i; j++ {
			want = max(want, values[j])
		}
		// The three candidates bound the maximum from below the exact one and never exceed it.
		if f.max() > want || f.max() < v {
			t.Errorf("round %d: %d, exact %d", i, f.max(), want)
		}
	}
}

// The three best rates of a window follow each other: when the best is too old, the next best of what is left counts.
func TestMaxFilterForgetsWhatIsOlderThanItsWindow(t *testing.T) {
	var f maxFilter
	for _, step := range []struct {
		round       uint32
		value, want int64
	}{{0, 100, 100}, {3, 50, 100}, {5, 40, 100}, {9, 10, 50}, {12, 5, 40}, {14, 1, 10}, {40, 1, 1}} {
		f.update(step.round, step.value, 8)
		if f.max() != step.want {
			t.Errorf("round %d: %d, want %d", step.round, f.max(), step.want)
		}
	}
}

// measured is a controller that has measured 1 MB/s and 50 ms: 50 kB are the path full once.
func measured(mode bbrMode) *bbr {
	b := &bbr{}
	b.init(1000)
	b.cwnd, b.pipe.full, b.mode = 100_000, true, mode
	b.floor.rtt, b.floor.known = 50*ms, true
	b.bandwidth.update(0, 1_000_000, bandwidthRounds)
	return b
}

func TestDrainEndsWhenThePathIsFullOnceAndNoMore(t *testing.T) {
	for _, tc := range []struct {
		above int
		want  bbrMode
	}{{1, drain}, {0, probeBW}} {
		b := measured(drain)
		b.checkDrain(0, &ackSample{mss: 1000, inFlight: b.target(gainUnit, 1000) + tc.above})
		if b.mode != tc.want {
			t.Errorf("%d bytes above: mode %v, want %v", tc.above, b.mode, tc.want)
		}
	}
}

// A cycle's phase above the rate ends when that much is on its way, one below when the queue is gone.
func TestCycleGoesOnAtItsMark(t *testing.T) {
	for name, tc := range map[string]struct {
		gain   func(int64) bool
		age    time.Duration
		beyond int // of the mark, away from the end of the phase
	}{
		"above": {func(g int64) bool { return g > gainUnit }, 60 * ms, -1},
		"below": {func(g int64) bool { return g < gainUnit }, 10 * ms, 1},
	} {
		b := measured(probeBW)
		for !tc.gain(cycleGains[b.cycle.phase]) {
			b.cycle.phase++
		}
		mark, was := b.target(max(cycleGains[b.cycle.phase], gainUnit), 1000), b.cycle
		b.updateCycle(host.Instant(tc.age), &ackSample{mss: 1000, priorInFlight: mark + tc.beyond})
		if b.cycle != was {
			t.Errorf("%s: goes on before its mark", name)
		}
		b.updateCycle(host.Instant(tc.age), &ackSample{mss: 1000, priorInFlight: mark})
		if b.cycle == was {
			t.Errorf("%s: does not go on at its mark", name)
		}
	}
}

// The smallest round trip is measured again with a small window, for 200 ms and a round; then the old window is back.
func TestProbeOfTheRoundTripEnds(t *testing.T) {
	b := measured(probeBW)
	now := host.Instant(0).Add(bbrMinRTTWindow + time.Second)
	b.updateMinRTT(now, &ackSample{mss: 1000, acked: 1000, inFlight: 50_000})
	if b.mode != probeRTT {
		t.Fatalf("mode %v", b.mode)
	}
	b.cwnd = minPackets * 1000
	b.updateMinRTT(now, &ackSample{mss: 1000, acked: 1000, inFlight: minPackets*1000 + 1})
	if b.probe.end != never {
		t.Error("it begins while too much is on its way")
	}
	b.updateMinRTT(now, &ackSample{mss: 1000, acked: 1000, inFlight: minPackets * 1000})
	if b.probe.end != now.Add(probeRTTTime) {
		t.Fatalf("it ends at %v, it is %v", b.probe.end, now)
	}
	after := now.Add(probeRTTTime)
	b.updateMinRTT(after, &ackSample{mss: 1000, acked: 1000, inFlight: 1000})
	if b.mode != probeRTT {
		t.Error("it ends before a round has passed")
	}
	b.round.start = true
	b.updateMinRTT(after, &ackSample{mss: 1000, acked: 1000, inFlight: 1000})
	if b.mode != probeBW || b.cwnd != 100_000 || b.floor.at != after {
		t.Errorf("mode %v, window %d, round trip of %v", b.mode, b.cwnd, b.floor.at)
	}
}
