package web

import (
	"net/http"
	"sync/atomic"
	"time"
)

// held counts the metrics that wait to be read by the callers of scrapes, in bytes.
type held struct {
	limit int64
	bytes atomic.Int64
}

// take counts n bytes more and reports whether there is room for them. A page in full is always let in where nothing is held.
func (m *held) take(n int) bool {
	for {
		now := m.bytes.Load()
		if now > 0 && now+int64(n) > m.limit {
			return false
		}
		if m.bytes.CompareAndSwap(now, now+int64(n)) {
			return true
		}
	}
}

func (m *held) release(n int) { m.bytes.Add(-int64(n)) }

// write answers a scrape with metrics, unless callers that read slowly hold too much already. A caller has readTime
// beyond the time that it gave the scrape; Prometheus itself gives up at the end of that.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, body []byte, within time.Duration) {
	n := len(body)
	if !h.held.take(n) {
		h.unread.Add(1)
		line(w, http.StatusServiceUnavailable, "Too many metrics wait to be read by others")
		return
	}
	defer h.held.release(n)
	defer limitWriting(w, r, within+readTime)()
	writeMetrics(w, r, body)
}

// limitWriting ends the connection of a caller that has not read its answer within a time from now. The caller of it calls
// restore once the answer is written: the next request on the connection has a time of its own.
func limitWriting(w http.ResponseWriter, r *http.Request, within time.Duration) (restore func()) {
	out := http.NewResponseController(w)
	if out.SetWriteDeadline(time.Now().Add(within)) != nil {
		return func() {} // the server of an embedder that wraps its writers
	}
	return func() {
		var server time.Time // what the server allows: the last bytes are sent when the handler has returned
		if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
			server = time.Now().Add(s.WriteTimeout)
		}
		_ = out.SetWriteDeadline(server)
	}
}

// ignoreBody keeps the body of a request from delaying its answer. No path here reads one, and net/http would wait for
// all of it before it sends the first byte, unless the connection ends with the answer.
func ignoreBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
}
