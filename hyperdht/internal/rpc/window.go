package rpc

// window is the congestion window: packets sent in the last few drain intervals (dht-rpc lib/io.js).
// It counts packets, not requests, and an answer makes room in the current slot only. Where nothing is answered, it drains.
type window struct {
	slots   [windowSlots]int
	current int
	total   int
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

// drain moves on to the oldest slot and empties it.
func (w *window) drain() {
	w.current = (w.current + 1) % windowSlots
	w.total -= w.slots[w.current]
	w.slots[w.current] = 0
}
