package stream

// handlers are the callbacks of a stream's user, and what has happened before they were set.
type handlers struct {
	data    func([]byte)
	end     func()
	message func([]byte)
	drain   func()
	close   func(error)
	endOwed bool   // the end came before its handler
	closed  bool   // close was called
	stalls  uint32 // of the machine, reported so far
}

// reportEnd reports the end of the peer's direction, now or once there is a handler.
func (h *handlers) reportEnd() {
	if h.end == nil {
		h.endOwed = true
		return
	}
	h.end()
}

// reportOwedEnd reports an end that came before its handler.
func (h *handlers) reportOwedEnd() {
	if h.endOwed && h.end != nil {
		h.endOwed = false
		h.end()
	}
}

// takeClose returns the handler of the close, once, and removes all handlers. It returns nil before there is one, and after it
// was called.
func (h *handlers) takeClose() func(error) {
	f := h.close
	if h.closed || f == nil {
		return nil
	}
	*h = handlers{endOwed: h.endOwed, closed: true}
	return f
}
