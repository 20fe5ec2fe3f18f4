package web

// LimitHeld changes how many bytes of metrics callers may leave unread.
func (h *Handler) LimitHeld(bytes int64) { h.held.limit = bytes }

// Held is how many bytes wait to be read.
func (h *Handler) Held() int64 { n, _ := h.held.held(); return n }
