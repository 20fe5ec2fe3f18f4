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
func (m *held) begin(w http.ResponseWriter, size int, within time.Duration) *delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := m.oldest.Front(); e != nil && m.bytes+int64(size) > m.limit; {
		next := e.Next()
		if a := e.Value.(*delivery); a.out.SetWriteDeadline(time.Unix(1, 0)) == nil { // in the past
			m.remove(a)
			m.unread++
		}
		e = next
	}
	if m.bytes > 0 && m.bytes+int64(size) > m.limit {
		m.unread++
		return nil
	}
	a := &delivery{size: int64(size), out: http.NewResponseController(w)}
	_ = a.out.SetWriteDeadline(time.Now().Add(within))
	a.place = m.oldest.PushBack(a)
	m.bytes += a.size
	return a
}

func (m *held) remove(a *delivery) {
	m.oldest.Remove(a.place)
	a.place = nil
	m.bytes -= a.size
}

// end is called once an answer is written. The next request on its connection has a time of its own.
func (m *held) end(a *delivery, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.place == nil {
		return // the deadline stays and ends the connection
	}
	m.remove(a)
	var server time.Time // what the server allows: the last bytes are sent when the handler has returned
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		server = time.Now().Add(s.WriteTimeout)
	}
	_ = a.out.SetWriteDeadline(server)
}

func (m *held) held() (bytes int64, unread uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes, m.unread
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

func (p *rendered) Header() http.Header { return p.header }

func (p *rendered) WriteHeader(code int) {
	if p.code == 0 {
		p.code = code
	}
}

func (p *rendered) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(b)
}

// send writes it to its caller.
func (p *rendered) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.header)
	if p.code != 0 {
		w.WriteHeader(p.code)
	}
	_, _ = w.Write(p.body.Bytes())
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
