package web

import "runtime"

// LimitHeld changes how many bytes of metrics callers may leave unread.
func (h *Handler) LimitHeld(bytes int64) { h.held.limit = bytes }

// Held returns the number of unread bytes.
func (h *Handler) Held() int64 { n, _ := h.held.held(); return n }

// The limits on codings.
const (
	MaxZipping  = maxZipping
	MaxDecoders = maxDecoders
)

// AwaitCoders waits until as many scrapes are compressed and decoded as may be.
func (h *Handler) AwaitCoders() {
	for len(h.zipping) < maxZipping || len(h.decoders) < maxDecoders {
		runtime.Gosched()
	}
}
