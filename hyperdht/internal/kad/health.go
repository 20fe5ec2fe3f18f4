package kad

// Health judges once per tick how well the network answers (dht-rpc lib/health.js). The zero Health is
// online and has seen nothing.
//
// The reference implementation subtracts samples taken while offline from its count of healthy ones although it never
// added them, so that it cannot leave the degraded state after an offline spell. Here each sample is
// counted as what it was.
type Health struct {
	window   [healthWindow]sample
	samples  int // taken so far
	offline  int // silent samples without a better one in between
	counts   [4]int
	isOff    bool
	degraded bool
}

type verdict uint8

const (
	unjudged verdict = iota // cold or idle
	healthy
	degraded
	offline
)

type sample struct {
	responses, timeouts uint64
	verdict             verdict
}

// Update takes the sums of responses and of requests that finally timed out. It reports whether the
// sample was judged: not while there are too few samples, or too few requests since the last one.
func (h *Health) Update(responses, timeouts uint64) (judged bool) {
	s := &h.window[h.samples%healthWindow]
	if h.samples >= healthWindow {
		h.counts[s.verdict]--
	}
	previous := h.window[(h.samples+healthWindow-1)%healthWindow]
	first := h.samples == 0
	h.samples++
	*s = sample{responses: responses, timeouts: timeouts}

	r, t := responses-previous.responses, timeouts-previous.timeouts
	if !first && !h.Cold() && r+t >= idleThreshold {
		s.verdict = judge(r, t)
	}
	h.counts[s.verdict]++
	if s.verdict == unjudged {
		return false
	}
	h.conclude(s.verdict)
	return true
}

func judge(responses, timeouts uint64) verdict {
	switch {
	case responses == 0:
		return offline
	case float64(timeouts)/float64(responses+timeouts) > degradedThreshold:
		return degraded
	}
	return healthy
}

func (h *Health) conclude(v verdict) {
	if v == offline {
		h.offline++
	} else {
		h.offline = 0
		h.isOff = false
	}
	if h.offline >= offlineThreshold {
		h.isOff = true
	}
	switch {
	case h.isOff || h.counts[healthy] == healthWindow:
		h.degraded = false
	case h.counts[degraded] == healthWindow:
		h.degraded = true
	}
}

// Heard takes an answer into account at once that came while the network was held to be offline: offline nodes ask too
// seldom for a tick to be judged.
func (h *Health) Heard() { h.isOff, h.offline = false, 0 }

// Cold reports whether there are too few samples to judge anything.
func (h *Health) Cold() bool { return h.samples < healthWindow }

// Online reports whether the network answers at all.
func (h *Health) Online() bool { return !h.isOff }

// Degraded reports whether most requests of the last samples timed out.
func (h *Health) Degraded() bool { return h.degraded }

// Reset forgets everything, as after a long sleep.
func (h *Health) Reset() { *h = Health{} }
