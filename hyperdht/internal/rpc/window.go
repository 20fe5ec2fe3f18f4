package rpc

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// window is the congestion window: packets sent in the last few drain intervals (dht-rpc lib/io.js).
// It counts packets, not requests, and an answer makes room in the current slot only. Where nothing is answered, it drains.
type window struct {
	slots   [windowSlots]int
	current int
	total   int
	drained host.Instant // when it was last drained
}

func (w *window) full() bool {
	return w.total >= 2*windowMax || w.slots[w.current] >= windowMax
}

func (w *window) send() {
	w.slots[w.current]++
	w.total++
}

func (w *window) recv() {
	if w.slots[w.current] > 0 {
		w.slots[w.current]--
		w.total--
	}
}

// catchUp empties the slots that have become old.
func (w *window) catchUp(now host.Instant) {
	missed := int64(now.Sub(w.drained) / drainInterval)
	if missed == 0 {
		return
	}
	w.drained = w.drained.Add(time.Duration(missed) * drainInterval)
	for range min(missed, windowSlots) {
		w.drain()
	}
}

// drain moves on to the oldest slot and empties it.
func (w *window) drain() {
	w.current = (w.current + 1) % windowSlots
	w.total -= w.slots[w.current]
	w.slots[w.current] = 0
}

// clear forgets all packets, as of sockets that are closed.
func (w *window) clear() { *w = window{drained: w.drained} }
