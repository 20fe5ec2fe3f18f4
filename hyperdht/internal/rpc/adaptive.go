package rpc

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// adaptiveTimeout derives the timeout of a request from earlier round trips to the same address
// (npm adaptive-timeout, with its defaults). It remembers addresses in two generations, each for ten
// minutes or until it is full.
type adaptiveTimeout struct {
	young, old map[netip.AddrPort]roundTrip
	started    host.Instant // of the young generation
}

// roundTrip is a running average in whole milliseconds, as the reference implementation rounds.
type roundTrip struct{ average, variance int64 }

// Fixed by npm adaptive-timeout index.js.
const (
	adaptiveAge    = 10 * time.Minute
	adaptiveMin    = 300
	adaptiveMax    = 4000
	adaptiveJitter = 256
)

// adaptiveSize bounds a generation. It is smaller than the reference implementation's 65536: lookups meet hundreds.
const adaptiveSize = 8192

var adaptiveFallback = [...]int64{250, 500, 1000, 2000, 4000}

func (t *adaptiveTimeout) put(now host.Instant, addr netip.AddrPort, rtt time.Duration) {
	ms := rtt.Milliseconds()
	r, known := t.find(addr)
	if known {
		deviation := max(r.average-ms, ms-r.average)
		r.variance += (deviation - r.variance) >> 2
		r.average += (ms - r.average) >> 3
	} else {
		r = roundTrip{average: ms, variance: ms >> 1}
	}
	if t.young == nil || len(t.young) >= adaptiveSize || now.Sub(t.started) >= adaptiveAge {
		t.old, t.young, t.started = t.young, make(map[netip.AddrPort]roundTrip), now
	}
	t.young[addr] = r
}

func (t *adaptiveTimeout) find(addr netip.AddrPort) (roundTrip, bool) {
	if r, ok := t.young[addr]; ok {
		return r, true
	}
	r, ok := t.old[addr]
	return r, ok
}

// get returns the timeout of the attempt-th transmission, counted from 1.
func (t *adaptiveTimeout) get(addr netip.AddrPort, attempt, jitter int) time.Duration {
	var ms int64
	if r, ok := t.find(addr); ok {
		ms = (r.average + r.variance<<1) * int64(attempt)
		ms = min(max(ms+int64(jitter), adaptiveMin), adaptiveMax)
	} else {
		ms = adaptiveFallback[min(attempt-1, len(adaptiveFallback)-1)] + int64(jitter)
	}
	return time.Duration(ms) * time.Millisecond
}
