package web

import (
	"bytes"
	"container/list"
	"maps"
	"net/http"
	"sync"
	"time"
)

// held counts the answers that wait to be read by their callers, in bytes. Where there is no room for another one, the connection
// of the oldest ends: callers that do not read cannot keep others from being answered, however often they come back. An answer that is
// read at once is among the newest.
type held struct {
	limit int64

	mu     sync.Mutex
	bytes  int64
	oldest list.List // of *delivery
	unread uint64    // answers withheld, or given up, for the room of others
}

// delivery is an answer that is being written.
type delivery struct {
	size  int64
	out   *http.ResponseController
	place *list.Element // in held.oldest; nil once it was given up
}

// begin makes room for an answer and gives its caller a time to read it. It returns nil if there is no room, which is where writers
// have no deadlines: the server of an embedder that wraps them. An answer above the limit has room where nothing else is held.
func (h *held) begin(w http.ResponseWriter, size int, within time.Duration) *delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.oldest.Front(); e != nil && h.bytes+int64(size) > h.limit; {
		next := e.Next()
		if a := e.Value.(*delivery); a.out.SetWriteDeadline(time.Unix(1, 0)) == nil { // in the past
			h.remove(a)
			h.unread++
		}
		e = next
	}
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

func (h *held) remove(a *delivery) {
	h.oldest.Remove(a.place)
	a.place = nil
	h.bytes -= a.size
}

// end is called once an answer is written. The next request on its connection has a time of its own.
func (h *held) end(a *delivery, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.place == nil {
		return // the deadline stays and ends the connection
	}
	h.remove(a)
	var server time.Time // what the server allows: the last bytes are sent when the handler has returned
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

// deliver has write send an answer of some bytes, unless callers that read slowly hold too much already.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, size int, within time.Duration, write func()) {
	a := h.held.begin(w, size, within)
	if a == nil {
		line(w, http.StatusServiceUnavailable, "Too many answers wait to be read by others")
		return
	}
	defer h.held.end(a, r)
	write()
}

// rendered is an answer that is kept until it is complete. Its header is its own: another answer may be sent instead.
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

// send writes it to its caller.
func (r *rendered) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	if r.code != 0 {
		w.WriteHeader(r.code)
	}
	_, _ = w.Write(r.body.Bytes())
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
