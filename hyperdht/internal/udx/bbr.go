package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// bbr is the congestion controller: BBR version 1, after draft-cardwell-iccrg-bbr-congestion-control-00,
// counting bytes.
//
// Why BBR and not a loss-based controller: the reference runs it, so we share bottlenecks with our own
// kind; and nodes live behind radio links and home routers where packets are lost without congestion. At
// 1 % loss and 50 ms, CUBIC and NewReno end near 300 kB/s whatever the link, while BBR keeps to the rate
// that it measures. Its known fault, retransmitting too much into very short buffers, is bounded by
// conservation: one packet out for one in, for a round in which an eighth of all packets was lost, or in which a recovery began with a queue.
// Losses without either say nothing about the path's rate. The reference conserves in each recovery, which ends the startup too early there.
//
// It models the path by two numbers: the largest delivery rate of the last ten rounds and the smallest
// round trip of the last ten seconds. Gains are in 1/256, so that runs are equal on every processor. Its
// phases are those of bbrTable.
type bbr struct {
	mode        bbrMode
	conserving  bool
	queueing    bool // the last round trip was longer than the floor by an eighth
	idleRestart bool

	cwnd int
	// priorCwnd is the window that a recovery or a probe of the RTT returns to.
	priorCwnd int
	pacing    int64 // bytes per second

	bandwidth maxFilter // bytes per second by round
	round     roundCounter
	pipe      fullPipe
	floor     rttFloor
	probe     rttProbe
	cycle     gainCycle
	losses    lossRate
	extra     ackAggregation
	faults    *states.Faults
}

const (
	gainUnit   = 256
	gainHigh   = 739 // 2/ln 2: doubles the rate each round
	gainDrain  = 88  // its inverse
	gainWindow = 2 * gainUnit

	initialPackets = 10
	minPackets     = 4
	fewPackets     = 8
	roundLimit     = 1 << 30 // bytes that the share of losses is counted of

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

// ackSample is the result of one acknowledgement.
type ackSample struct {
	acked         int // bytes newly acked
	lost          int // bytes newly marked lost, MTU probes left out
	late          int // bytes newly acked that were marked lost, and had not got lost
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
	hidden         bool // see lossDetection.hide
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
	*b = bbr{cwnd: initialPackets * mss, faults: b.faults}
	b.setPacing(gainHigh, mss)
}

// pathChanged starts over: nothing that was measured says anything about another path.
func (b *bbr) pathChanged(mss int) {
	count := b.round.count
	if b.mode != startup {
		b.become(startup)
	}
	b.init(mss)
	b.round.count = count
}

func (b *bbr) become(next bbrMode) { bbrTable.Become(&b.mode, next, b.faults) }

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
		return b.cycle.gain()
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
	if b.round.update(s) {
		b.conserving = false
		b.losses.nextRound()
	}
	if !s.hasRate || s.hidden {
		return
	}
	rate := (s.delivered - s.priorDelivered) * int64(time.Second) / int64(max(s.interval, rateFloor))
	// A rate that the application held down says nothing, unless it is higher than what we knew.
	if !s.appLimited || rate >= b.bandwidth.max() {
		b.bandwidth.update(b.round.count, rate, bandwidthRounds)
	}
}

func (b *bbr) updateExtra(s *ackSample) {
	if !s.hasRate || s.acked == 0 {
		return
	}
	if b.round.start {
		b.extra.nextRound()
	}
	b.extra.update(s, b.bandwidth.max(), b.cwnd)
}

func (b *bbr) updateCycle(now host.Instant, s *ackSample) {
	if b.mode != probeBW {
		return
	}
	full := now.Sub(b.cycle.at) > b.floor.rtt
	switch gain := b.cycle.gain(); {
	case gain > gainUnit: // until the pipe is that full, or overflows
		full = full && (s.lost > 0 || s.priorInFlight >= b.target(gain, s.mss))
	case gain < gainUnit: // until the queue is gone
		full = full || s.priorInFlight <= b.target(gainUnit, s.mss)
	}
	if full {
		b.cycle.advance(now)
	}
}

func (b *bbr) checkFull(s *ackSample) {
	if b.round.start && !s.appLimited {
		b.pipe.update(b.bandwidth.max())
	}
}

func (b *bbr) checkDrain(now host.Instant, s *ackSample) {
	if b.mode == startup && b.pipe.full {
		b.become(drain)
	}
	if b.mode == drain && s.inFlight <= b.target(gainUnit, s.mss) {
		b.enterProbeBW(now)
	}
}

func (b *bbr) enterProbeBW(now host.Instant) {
	b.become(probeBW)
	b.cycle = gainCycle{cycleStart, now}
}

func (b *bbr) updateMinRTT(now host.Instant, s *ackSample) {
	expired := b.floor.expired(now)
	if s.hasRTT {
		b.floor.update(now, s.rtt)
		b.queueing = s.rtt > b.floor.rtt/8*9+pathFloor
	}
	if expired && !b.idleRestart && b.mode != probeRTT {
		b.saveCwnd(s.recovery)
		b.become(probeRTT)
		b.probe = rttProbe{end: never}
	}
	if b.mode == probeRTT {
		switch {
		case b.probe.end == never && s.inFlight <= minPackets*s.mss:
			b.probe.end = now.Add(probeRTTTime)
			b.round.end = s.delivered
		case b.probe.end != never:
			b.probe.roundDone = b.probe.roundDone || b.round.start
			b.checkProbeRTTDone(now)
		}
	}
	if s.acked > 0 {
		b.idleRestart = false
	}
}

func (b *bbr) checkProbeRTTDone(now host.Instant) {
	if b.mode != probeRTT || !b.probe.done(now) {
		return
	}
	b.floor.at = now
	b.cwnd = max(b.cwnd, b.priorCwnd)
	if b.pipe.full {
		b.enterProbeBW(now)
	} else {
		b.become(startup)
	}
}

func (b *bbr) setPacing(gain int64, mss int) {
	rate := b.bandwidth.max()
	if rate == 0 {
		// Nothing measured: the initial window within a millisecond, or within a round trip.
		rate = int64(b.cwnd) * int64(time.Second) / int64(max(b.floor.rtt, pathFloor))
		b.pacing = max(rate/gainUnit*gain, int64(mss))
		return
	}
	rate = rate / 100 * 99 / gainUnit * gain // slightly less, so that queues drain
	if b.pipe.full || rate > b.pacing {
		b.pacing = max(rate, int64(mss)) // at least a packet per second
	}
}

// target is gain times what the path holds.
func (b *bbr) target(gain int64, mss int) int {
	if !b.floor.known || b.bandwidth.max() == 0 {
		return initialPackets * mss
	}
	path := int64(bytesIn(b.bandwidth.max(), max(b.floor.rtt, pathFloor)))
	return max(int(path*gain/gainUnit), minPackets*mss)
}

// allowance is the extra flight, for paths that ack in bursts.
func (b *bbr) allowance() int {
	if !b.pipe.full {
		return 0
	}
	return min(b.extra.max(), bytesIn(b.bandwidth.max(), extraLimit))
}

func (b *bbr) setCwnd(s *ackSample) {
	b.setRecoveryCwnd(s)
	if s.acked > 0 && !b.conserving {
		target := b.target(b.windowGain(), s.mss) + b.allowance()
		switch {
		case b.pipe.full:
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

// setRecoveryCwnd lets one packet out for one in during a round in which losses show congestion, and returns to the old window after the
// recovery, or when the losses turn out to have been late packets.
func (b *bbr) setRecoveryCwnd(s *ackSample) {
	heavy := b.losses.update(s)
	if s.recovery == recovering && s.before == open {
		b.saveCwnd(s.before)
	}
	if s.lost > 0 {
		b.cwnd = max(b.cwnd-s.lost, s.mss)
	}
	switch {
	case (heavy || b.queueing && s.before == open) && s.recovery == recovering && s.lost > 0 && !b.conserving:
		b.conserving = true
		b.round.end = s.delivered
		b.cwnd = s.inFlight + s.acked
	case s.before != open && s.recovery == open, b.conserving && !heavy && s.late > 0:
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
	b.pipe.rate = 0
	b.conserving = false
	b.cwnd = inFlight + mss
}

// onRestart takes the first packet after an idle time that the application caused.
func (b *bbr) onRestart(now host.Instant, delivered int64, mss int) {
	b.idleRestart = true
	b.extra.restart(now)
	switch b.mode {
	case probeBW:
		b.setPacing(gainUnit, mss)
	case probeRTT:
		b.probe.roundDone = true
		b.checkProbeRTTDone(now)
	}
}

// bytesIn returns the bytes that a rate carries in a time. Microseconds keep it within 64 bits.
func bytesIn(rate int64, d time.Duration) int {
	us := min(max(d.Microseconds(), 0), int64(time.Minute/time.Microsecond))
	return int(rate * us / 1e6)
}

// roundCounter counts round trips: a round ends with the acknowledgement of a packet that was sent in it or later.
type roundCounter struct {
	count uint32
	start bool  // the last sample began a round
	end   int64 // the round ends when a packet sent after this much was delivered is acked
}

// update takes a sample, and reports whether it begins a round.
func (r *roundCounter) update(s *ackSample) bool {
	r.start = s.hasRate && s.priorDelivered >= r.end
	if r.start {
		r.end = s.delivered
		r.count++
	}
	return r.start
}

// lossRate is the share of what was sent that got lost.
type lossRate struct{ lost, acked int32 }

// nextRound halves what earlier rounds count.
func (l *lossRate) nextRound() { l.lost, l.acked = l.lost/2, l.acked/2 }

// update takes a sample, and reports whether more than an eighth was lost, and more than a few packets.
func (l *lossRate) update(s *ackSample) (heavy bool) {
	l.lost = int32(min(max(int(l.lost)+s.lost-s.late, 0), roundLimit))
	l.acked = int32(min(int(l.acked)+s.acked, roundLimit))
	return int(l.lost) > fewPackets*s.mss && l.lost > l.acked/7
}

// fullPipe finds out when more packets in flight do not raise the delivery rate any more.
type fullPipe struct {
	rate   int64 // that the growth is measured from
	rounds uint8 // without growth
	full   bool
}

// update takes the rate at the beginning of a round.
func (f *fullPipe) update(rate int64) {
	if f.full {
		return
	}
	if rate >= f.rate*fullThreshold/gainUnit {
		f.rate, f.rounds = rate, 0
		return
	}
	f.rounds++
	f.full = f.rounds >= fullRoundCount
}

// rttFloor is the smallest round trip of the last bbrMinRTTWindow.
type rttFloor struct {
	rtt   time.Duration
	at    host.Instant
	known bool
}

// expired reports whether the round trip was measured too long ago.
func (f *rttFloor) expired(now host.Instant) bool { return f.known && now.Sub(f.at) > bbrMinRTTWindow }

// update takes a sample, which replaces a larger and an expired one.
func (f *rttFloor) update(now host.Instant, rtt time.Duration) {
	if !f.known || f.expired(now) || rtt <= f.rtt {
		f.rtt, f.at, f.known = rtt, now, true
	}
}

// rttProbe is a time at a small window, so that queues drain and show the round trip of the path.
type rttProbe struct {
	end       host.Instant // never: before the window has become small
	roundDone bool         // a round has passed at the small window
}

func (p *rttProbe) done(now host.Instant) bool {
	return p.roundDone && p.end != never && !now.Before(p.end)
}

// gainCycle raises the pacing rate for a while, to find more bandwidth, lowers it to drain the queue, and then cruises.
type gainCycle struct {
	phase int
	at    host.Instant // when the phase began
}

func (c *gainCycle) gain() int64 { return cycleGains[c.phase] }

func (c *gainCycle) advance(now host.Instant) {
	*c = gainCycle{(c.phase + 1) % len(cycleGains), now}
}

// ackAggregation measures how much more than bandwidth*time is acked in bursts, by two windows of rounds.
type ackAggregation struct {
	most       [2]int
	slot       uint8
	rounds     uint8
	epochAt    host.Instant
	epochAcked int
}

// max is the most of both windows.
func (a *ackAggregation) max() int { return max(a.most[0], a.most[1]) }

// nextRound begins a round, and another window after extraWindowRounds of them.
func (a *ackAggregation) nextRound() {
	if a.rounds++; a.rounds >= extraWindowRounds {
		a.rounds = 0
		a.slot ^= 1
		a.most[a.slot] = 0
	}
}

// update takes a sample, of which no more than cwnd counts.
func (a *ackAggregation) update(s *ackSample, rate int64, cwnd int) {
	expected := bytesIn(rate, s.deliveredAt.Sub(a.epochAt))
	if a.epochAcked <= expected || a.epochAcked+s.acked >= extraEpochLimit {
		a.restart(s.deliveredAt)
		expected = 0
	}
	a.epochAcked += s.acked
	a.most[a.slot] = max(a.most[a.slot], min(a.epochAcked-expected, cwnd))
}

// restart begins an epoch.
func (a *ackAggregation) restart(now host.Instant) { a.epochAt, a.epochAcked = now, 0 }

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
