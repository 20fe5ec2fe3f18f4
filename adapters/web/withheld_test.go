package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What is sent instead of a page has the headers that every answer has, and none of the page's.
func TestWithheldPagesLeaveNoHeaders(t *testing.T) {
	h := &Handler{paths: map[string]http.HandlerFunc{}, pages: make(chan struct{}, 1), held: held{limit: 10, bytes: 10}}
	h.page("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "page")
	})
	for _, test := range []struct {
		held     int64
		code     int
		encoding string
	}{{10, http.StatusServiceUnavailable, ""}, {0, http.StatusOK, "gzip"}} {
		h.held.bytes = test.held
		got := httptest.NewRecorder() // which has no deadlines
		h.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/page", strings.NewReader("not read")))
		if got.Code != test.code || got.Header().Get("Content-Encoding") != test.encoding ||
			got.Header().Get("X-Content-Type-Options") != "nosniff" || got.Header().Get("Connection") != "close" {
			t.Errorf("%d %v, want %d and Content-Encoding %q", got.Code, got.Header(), test.code, test.encoding)
		}
	}
}
