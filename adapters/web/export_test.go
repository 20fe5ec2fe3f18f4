package web

// LimitHeld changes how many bytes of metrics callers may leave unread.
func (h *Handler) LimitHeld(bytes int64) { h.held.limit = bytes }

// Held returns the number of unread bytes.
func (h *Handler) Held() int64 { n, _ := h.held.held(); return n }
