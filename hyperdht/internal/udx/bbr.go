package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// bbr is the congestion controller: BBR version 1, after draft-cardwell-iccrg-bbr-congestion-control-00,
// counting bytes.
//
// Why BBR and not a loss-based controller: the reference runs it, so we share bottlenecks with our own
// kind; and nodes live behind radio links and home routers where packets are lost without congestion. At
// 1 % loss and 50 ms, CUBIC and NewReno end near 300 kB/s whatever the link, while BBR keeps to the rate
// that it measures. Its known fault, retransmitting too much into very short buffers, is bounded by
// conservation in the first round of a recovery.
//
//	startup ──full──► drain ──empty──► probeBW ⇄ probeRTT (every 10 s, if no smaller RTT was seen)
//
// It models the path by two numbers: the largest delivery rate of the last ten rounds and the smallest
// round trip of the last ten seconds. Gains are in 1/256, so that runs are equal on every processor.
type bbr struct {
	mode bbrMode
	cwnd int
	// priorCwnd is what a recovery or a probe of the RTT returns to.
	priorCwnd int
	pacing    int64 // bytes per second

	bandwidth   maxFilter // bytes per second by round
	round       uint32
	roundEnd    int64 // the round ends when a packet sent after this much was delivered is acked
	roundStart  bool
	fullRate    int64
	fullRounds  int
	full        bool
	conserving  bool
	idleRestart bool

	minRTT       time.Duration
	minRTTAt     host.Instant
	minRTTKnown  bool
	probeRTTEnd  host.Instant
	probeRTTDone bool // a round has passed at the small window

	cycle   int
	cycleAt host.Instant

	// How much more than bandwidth*time is acked in bursts, by two windows of rounds.
	extra       [2]int
	extraSlot   int
	extraRounds int
	epochAt     host.Instant
	epochAcked  int
}

type bbrMode uint8

const (
	startup bbrMode = iota
	drain
	probeBW
	probeRTT
)

const (
	gainUnit   = 256
	gainHigh   = 739 // 2/ln 2: doubles the rate each round
	gainDrain  = 88  // its inverse
	gainWindow = 2 * gainUnit

	initialPackets = 10
	minPackets     = 4

	fullThreshold  = 320 // 1.25: less growth than this in three rounds means that the pipe is full
	fullRoundCount = 3

	bandwidthRounds = 10
	bbrMinRTTWindow = 10 * time.Second
	probeRTTTime    = 200 * time.Millisecond

	extraWindowRounds = 5
	extraLimit        = 100 * time.Millisecond
	extraEpochLimit   = 1 << 30

	cycleStart = 4 // the reference enters the cycle here
	// pathFloor is the least round trip used for the window: below it, the turns of two event loops
	// rather than the path decide how much must be in flight.
	pathFloor = time.Millisecond
	// rateFloor is the least time that a rate is computed over, so that a batch acked at once does not
	// look like an infinite rate.
	rateFloor = 100 * time.Microsecond
)

var cycleGains = [8]int64{320, 192, 256, 256, 256, 256, 256, 256}

// ackSample is what one acknowledgement told.
type ackSample struct {
	acked         int // bytes newly acked
	lost          int // bytes newly marked lost, MTU probes left out
	inFlight      int // after the acknowledgement
	priorInFlight int

	delivered   int64 // total
	deliveredAt host.Instant
	// The newest packet acked: what had been delivered when it left and how long it took to send and to
	// ack everything since.
	hasRate        bool
	priorDelivered int64
	interval       time.Duration
	appLimited     bool
	// firstSent and lastSent span the packets acked. Packets that were hidden behind gaps for long and
	// are acked at once arrived over at least that time.
	firstSent, lastSent host.Instant

	rtt    time.Duration
	hasRTT bool

	recovery recoveryState // after the acknowledgement
	before   recoveryState
	mss      int
}

func (b *bbr) init(mss int) {
	*b = bbr{cwnd: initialPackets * mss}
	b.setPacing(gainHigh, mss)
}

// pathChanged starts over: nothing that was measured says anything about another path.
func (b *bbr) pathChanged(mss int) {
	round := b.round
	b.init(mss)
	b.round = round
}

// onAck takes one acknowledgement into the model.
func (b *bbr) onAck(now host.Instant, s *ackSample) {
	b.updateBandwidth(s)
	b.updateExtra(s)
	b.updateCycle(now, s)
	b.checkFull(s)
	b.checkDrain(now, s)
	b.updateMinRTT(now, s)
	b.setPacing(b.pacingGain(), s.mss)
	b.setCwnd(s)
}

func (b *bbr) pacingGain() int64 {
	switch b.mode {
	case startup:
		return gainHigh
	case drain:
		return gainDrain
	case probeBW:
		return cycleGains[b.cycle]
	default:
		return gainUnit
	}
}

func (b *bbr) windowGain() int64 {
	switch b.mode {
	case startup, drain:
		return gainHigh
	case probeBW:
		return gainWindow
	default:
		return gainUnit
	}
}

func (b *bbr) updateBandwidth(s *ackSample) {
	b.roundStart = false
	if !s.hasRate {
		return
	}
	if s.priorDelivered >= b.roundEnd {
		b.roundEnd = s.delivered
		b.round++
		b.roundStart = true
		b.conserving = false
	}
	rate := (s.delivered - s.priorDelivered) * int64(time.Second) / int64(max(s.interval, rateFloor))
	// A rate that the application held down says nothing, unless it is higher than what we knew.
	if !s.appLimited || rate >= b.bandwidth.max() {
		b.bandwidth.update(b.round, rate, bandwidthRounds)
	}
}

func (b *bbr) updateExtra(s *ackSample) {
	if !s.hasRate || s.acked == 0 {
		return
	}
	if b.roundStart {
		if b.extraRounds++; b.extraRounds >= extraWindowRounds {
			b.extraRounds = 0
			b.extraSlot ^= 1
			b.extra[b.extraSlot] = 0
		}
	}
	expected := bytesIn(b.bandwidth.max(), s.deliveredAt.Sub(b.epochAt))
	if b.epochAcked <= expected || b.epochAcked+s.acked >= extraEpochLimit {
		b.epochAcked, b.epochAt, expected = 0, s.deliveredAt, 0
	}
	b.epochAcked += s.acked
	extra := min(b.epochAcked-expected, b.cwnd)
	b.extra[b.extraSlot] = max(b.extra[b.extraSlot], extra)
}

func (b *bbr) updateCycle(now host.Instant, s *ackSample) {
	if b.mode != probeBW {
		return
	}
	full := now.Sub(b.cycleAt) > b.minRTT
	switch gain := cycleGains[b.cycle]; {
	case gain > gainUnit: // until the pipe is that full, or overflows
		full = full && (s.lost > 0 || s.priorInFlight >= b.target(gain, s.mss))
	case gain < gainUnit: // until the queue is gone
		full = full || s.priorInFlight <= b.target(gainUnit, s.mss)
	}
	if full {
		b.cycle = (b.cycle + 1) % len(cycleGains)
		b.cycleAt = now
	}
}

func (b *bbr) checkFull(s *ackSample) {
	if b.full || !b.roundStart || s.appLimited {
		return
	}
	if rate := b.bandwidth.max(); rate >= b.fullRate*fullThreshold/gainUnit {
		b.fullRate, b.fullRounds = rate, 0
		return
	}
	b.fullRounds++
	b.full = b.fullRounds >= fullRoundCount
}

func (b *bbr) checkDrain(now host.Instant, s *ackSample) {
	if b.mode == startup && b.full {
		b.mode = drain
	}
	if b.mode == drain && s.inFlight <= b.target(gainUnit, s.mss) {
		b.enterProbeBW(now)
	}
}

func (b *bbr) enterProbeBW(now host.Instant) {
	b.mode, b.cycle, b.cycleAt = probeBW, cycleStart, now
}

func (b *bbr) updateMinRTT(now host.Instant, s *ackSample) {
	expired := b.minRTTKnown && now.Sub(b.minRTTAt) > bbrMinRTTWindow
	if s.hasRTT && (!b.minRTTKnown || expired || s.rtt <= b.minRTT) {
		b.minRTT, b.minRTTAt, b.minRTTKnown = s.rtt, now, true
	}
	if expired && !b.idleRestart && b.mode != probeRTT {
		b.saveCwnd(s.recovery)
		b.mode, b.probeRTTEnd, b.probeRTTDone = probeRTT, never, false
	}
	if b.mode == probeRTT {
		switch {
		case b.probeRTTEnd == never && s.inFlight <= minPackets*s.mss:
			b.probeRTTEnd = now.Add(probeRTTTime)
			b.roundEnd = s.delivered
		case b.probeRTTEnd != never:
			b.probeRTTDone = b.probeRTTDone || b.roundStart
			b.checkProbeRTTDone(now)
		}
	}
	if s.acked > 0 {
		b.idleRestart = false
	}
}

func (b *bbr) checkProbeRTTDone(now host.Instant) {
	if b.mode != probeRTT || !b.probeRTTDone || b.probeRTTEnd == never || now.Before(b.probeRTTEnd) {
		return
	}
	b.minRTTAt = now
	b.cwnd = max(b.cwnd, b.priorCwnd)
	if b.full {
		b.enterProbeBW(now)
	} else {
		b.mode = startup
	}
}

func (b *bbr) setPacing(gain int64, mss int) {
	rate := b.bandwidth.max()
	if rate == 0 {
		// Nothing measured: the initial window within a millisecond, or within a round trip.
		rate = int64(b.cwnd) * int64(time.Second) / int64(max(b.minRTT, pathFloor))
		b.pacing = max(rate/gainUnit*gain, int64(mss))
		return
	}
	rate = rate / 100 * 99 / gainUnit * gain // slightly less, so that queues drain
	if b.full || rate > b.pacing {
		b.pacing = max(rate, int64(mss)) // at least a packet per second
	}
}

// target is gain times what the path holds.
func (b *bbr) target(gain int64, mss int) int {
	if !b.minRTTKnown || b.bandwidth.max() == 0 {
		return initialPackets * mss
	}
	path := int64(bytesIn(b.bandwidth.max(), max(b.minRTT, pathFloor)))
	return max(int(path*gain/gainUnit), minPackets*mss)
}

// allowance is what may be in flight on top, for paths that ack in bursts.
func (b *bbr) allowance() int {
	if !b.full {
		return 0
	}
	return min(max(b.extra[0], b.extra[1]), bytesIn(b.bandwidth.max(), extraLimit))
}

func (b *bbr) setCwnd(s *ackSample) {
	b.setRecoveryCwnd(s)
	if s.acked > 0 && !b.conserving {
		target := b.target(b.windowGain(), s.mss) + b.allowance()
		switch {
		case b.full:
			b.cwnd = min(b.cwnd+s.acked, target)
		case b.cwnd < target || s.delivered < int64(initialPackets*s.mss):
			b.cwnd += s.acked
		}
	}
	b.cwnd = max(b.cwnd, minPackets*s.mss)
	if b.mode == probeRTT {
		b.cwnd = min(b.cwnd, minPackets*s.mss)
	}
}

// setRecoveryCwnd lets one packet out for one in during the first round of a recovery, and returns to
// the old window after it.
func (b *bbr) setRecoveryCwnd(s *ackSample) {
	entered := s.recovery == recovering && s.before == open
	if entered {
		b.saveCwnd(s.before)
	}
	if s.lost > 0 {
		b.cwnd = max(b.cwnd-s.lost, s.mss)
	}
	switch {
	case entered:
		b.conserving = true
		b.roundEnd = s.delivered
		b.cwnd = s.inFlight + s.acked
	case s.before != open && s.recovery == open:
		b.cwnd = max(b.cwnd, b.priorCwnd)
		b.conserving = false
	}
	if b.conserving {
		b.cwnd = max(b.cwnd, s.inFlight+s.acked)
	}
}

func (b *bbr) saveCwnd(state recoveryState) {
	if state == open && b.mode != probeRTT {
		b.priorCwnd = b.cwnd
	} else {
		b.priorCwnd = max(b.priorCwnd, b.cwnd)
	}
}

// onTimeout takes the expiry of the retransmission timer: all but one packet waits for an answer.
func (b *bbr) onTimeout(inFlight, mss int, before recoveryState) {
	b.saveCwnd(before)
	b.fullRate = 0
	b.conserving = false
	b.cwnd = inFlight + mss
}

// onRestart takes the first packet after an idle time that the application caused.
func (b *bbr) onRestart(now host.Instant, delivered int64, mss int) {
	b.idleRestart = true
	b.epochAt, b.epochAcked = now, 0
	switch b.mode {
	case probeBW:
		b.setPacing(gainUnit, mss)
	case probeRTT:
		b.probeRTTDone = true
		b.checkProbeRTTDone(now)
	}
}

// bytesIn is what a rate carries in a time. Microseconds keep it within 64 bits.
func bytesIn(rate int64, d time.Duration) int {
	us := min(max(d.Microseconds(), 0), int64(time.Minute/time.Microsecond))
	return int(rate * us / 1e6)
}

// maxFilter is the maximum over a window of rounds, kept as the three best candidates (Kathleen
// Nichols' algorithm).
type maxFilter [3]rateAt

type rateAt struct {
	round uint32
	value int64
}

func (f *maxFilter) max() int64 { return f[0].value }

func (f *maxFilter) update(round uint32, value int64, window uint32) {
	s := rateAt{round, value}
	if value >= f[0].value || round-f[2].round > window {
		f[0], f[1], f[2] = s, s, s
		return
	}
	if value >= f[1].value {
		f[1], f[2] = s, s
	} else if value >= f[2].value {
		f[2] = s
	}
	switch age := round - f[0].round; {
	case age > window: // the best is too old
		f[0], f[1], f[2] = f[1], f[2], s
		if round-f[0].round > window {
			f[0], f[1] = f[1], f[2]
		}
	case f[1].round == f[0].round && age > window/4: // keep candidates of the later window
		f[1], f[2] = s, s
	case f[2].round == f[1].round && age > window/2:
		f[2] = s
	}
}
