package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// An answer sent instead of a page has the headers of every answer, and none of the page's.
func TestWithheldPagesLeaveNoHeaders(t *testing.T) {
	h := &Handler{paths: map[string]http.HandlerFunc{}, pages: make(chan struct{}, 1), making: make(chan struct{}, 1), held: held{limit: 10, bytes: 10}}
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

// Pages are in memory while they are rendered, so few are rendered at a time. A caller that disconnects holds no place.
func TestFewPagesAreMadeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		var under, most atomic.Int32
		h.page("/page", func(w http.ResponseWriter, _ *http.Request) {
			most.Store(max(most.Load(), under.Add(1)))
			time.Sleep(time.Second)
			under.Add(-1)
		})
		ask := func(ctx context.Context) int {
			got := httptest.NewRecorder()
			h.ServeHTTP(got, httptest.NewRequestWithContext(ctx, http.MethodGet, "/page", nil))
			return got.Code
		}
		codes := make(chan int, maxPages+1)
		for range maxPages {
			go func() { codes <- ask(t.Context()) }()
		}
		synctest.Wait()
		if code := ask(t.Context()); code != http.StatusServiceUnavailable {
			t.Errorf("one more is answered with %d", code)
		}
		for range maxPages {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("answered with %d", code)
			}
		}
		if n := most.Load(); n != maxMaking {
			t.Errorf("%d pages are made at a time, want %d", n, maxMaking)
		}
		for range maxMaking {
			go func() { codes <- ask(t.Context()) }()
		}
		synctest.Wait()
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		for range 2 * maxPages {
			if code := ask(gone); code != http.StatusServiceUnavailable {
				t.Errorf("a caller that is gone has %d", code)
			}
		}
		for range maxMaking {
			<-codes
		}
		if len(h.pages) > 0 || len(h.making) > 0 {
			t.Errorf("%d and %d places are held", len(h.pages), len(h.making))
		}
	})
}

// A page that panics closes its connection, and releases its places.
func TestPageThatPanicsHoldsNoPlace(t *testing.T) {
	h, err := New(Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.page("/page", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic does not reach the server")
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/page", nil))
	}()
	if len(h.pages) > 0 || len(h.making) > 0 {
		t.Errorf("%d and %d places are held", len(h.pages), len(h.making))
	}
}
