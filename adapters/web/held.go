package web

import (
	"bytes"
	"container/list"
	"maps"
	"net/http"
	"sync"
	"time"
)

// held counts the bytes of answers that callers have not read. Where there is no room for another one, the connection of the
// oldest is closed, so that callers that do not read cannot block answers to others, however often they reconnect. An answer
// that is read immediately is among the newest.
type held struct {
	limit int64

	mu     sync.Mutex
	bytes  int64
	oldest list.List // of *delivery
	unread uint64    // answers withheld, or aborted to make room for others
}

// delivery is an answer that is being written.
type delivery struct {
	size  int64
	out   *http.ResponseController
	place *list.Element // in held.oldest; nil after the answer was aborted
}

// begin makes room for an answer and sets a deadline for reading it. It returns nil if there is no room, which happens only
// if writers have no deadlines, such as those wrapped by an embedder's server. An answer above the limit is allowed when
// nothing else is held.
func (h *held) begin(w http.ResponseWriter, size int, within time.Duration) *delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.makeRoom(int64(size))
	if h.bytes > 0 && h.bytes+int64(size) > h.limit {
		h.unread++
		return nil
	}
	a := &delivery{size: int64(size), out: http.NewResponseController(w)}
	_ = a.out.SetWriteDeadline(time.Now().Add(within))
	a.place = h.oldest.PushBack(a)
	h.bytes += a.size
	return a
}

// makeRoom closes the connections of the oldest answers until there is room for size more bytes.
func (h *held) makeRoom(size int64) {
	for e := h.oldest.Front(); e != nil && h.bytes+size > h.limit; {
		next := e.Next()
		if a := e.Value.(*delivery); a.out.SetWriteDeadline(time.Unix(1, 0)) == nil { // in the past
			h.remove(a)
			h.unread++
		}
		e = next
	}
}

// grow counts an answer with a larger size.
func (h *held) grow(a *delivery, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.place == nil || size <= a.size {
		return
	}
	more := size - a.size
	if h.oldest.Len() > 1 { // one answer is always sent
		h.makeRoom(more)
	}
	if a.place != nil {
		a.size += more
		h.bytes += more
	}
}

func (h *held) remove(a *delivery) {
	h.oldest.Remove(a.place)
	a.place = nil
	h.bytes -= a.size
}

// end is called when an answer is written. It resets the deadline for the next request on the connection.
func (h *held) end(a *delivery, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.place == nil {
		return // the deadline stays and closes the connection
	}
	h.remove(a)
	var server time.Time // the server's deadline: the last bytes are sent after the handler has returned
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		server = time.Now().Add(s.WriteTimeout)
	}
	_ = a.out.SetWriteDeadline(server)
}

func (h *held) held() (bytes int64, unread uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes, h.unread
}

// deliver calls write to send an answer of size bytes. Where callers that read slowly hold too much it answers with an error, and reports
// false.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, size int, within time.Duration, write func(*delivery)) bool {
	a := h.held.begin(w, size, within)
	if a == nil {
		line(w, http.StatusServiceUnavailable, "Too many answers have not been read by their callers")
		return false
	}
	defer h.held.end(a, r)
	write(a)
	return true
}

// rendered is an answer buffered until it is complete. Its header is separate, since another answer may be sent instead.
type rendered struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *rendered) Header() http.Header { return r.header }

func (r *rendered) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
}

func (r *rendered) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// send writes the answer to its caller.
func (r *rendered) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	if r.code != 0 {
		w.WriteHeader(r.code)
	}
	_, _ = w.Write(r.body.Bytes())
}

// ignoreBody keeps the body of a request from delaying its answer. No path reads one, and net/http would wait for all of it
// before sending the first byte, unless the connection is closed after the answer.
func ignoreBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
}
