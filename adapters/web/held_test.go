package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// slowReader is a caller that reads the first byte of an answer when the test lets it.
type slowReader struct {
	*httptest.ResponseRecorder
	writing chan<- struct{} // nil after the first write
	read    <-chan struct{}
}

func (r *slowReader) Write(b []byte) (int, error) {
	if r.writing != nil {
		r.writing <- struct{}{}
		r.writing = nil
	}
	<-r.read
	return r.ResponseRecorder.Write(b)
}

func TestCallersThatReadSlowlyHoldLittle(t *testing.T) {
	s := newScraper()
	h := handler(t, newLoop(t), s)
	h.LimitHeld(250_000)
	s.bodies["web"] = strings.Repeat("a 1\n", 25_000) // 100 kB
	ask := func(w http.ResponseWriter) { h.ServeHTTP(w, httptest.NewRequest("GET", "/scrape/web/metrics", nil)) }
	writing, read := make(chan struct{}), make(chan struct{})
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() { ask(&slowReader{httptest.NewRecorder(), writing, read}) })
		<-writing
	}
	if n := h.Held(); n != 200_000 {
		t.Errorf("%d bytes are held", n)
	}
	third := httptest.NewRecorder()
	ask(third)
	if third.Code != http.StatusServiceUnavailable || !strings.Contains(third.Body.String(), "have not been read") {
		t.Errorf("answered %d %q", third.Code, third.Body)
	}
	close(read)
	callers.Wait()
	after := httptest.NewRecorder()
	ask(after)
	if after.Code != http.StatusOK || h.Held() != 0 {
		t.Errorf("then %d, and %d bytes are held", after.Code, h.Held())
	}
}

// A page above the limit is served where nothing else is held.
func TestOnePageInFullIsAlwaysServed(t *testing.T) {
	s := newScraper()
	h := handler(t, newLoop(t), s)
	h.LimitHeld(1000)
	s.bodies["web"] = strings.Repeat("a 1\n", 25_000)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/scrape/web/metrics", nil))
	if w.Code != http.StatusOK || w.Body.Len() != 100_000 {
		t.Errorf("answered %d with %d bytes", w.Code, w.Body.Len())
	}
}
