package web

import (
	"net/http"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
)

// retryAfter is the Retry-After header in seconds while the alias table is loading, which takes less than a second.
const retryAfter = "1"

// table wraps a handler whose answer depends on the alias table. Until the table is loaded the answer is 503: after an empty
// list Prometheus would drop its targets, while it keeps them after an error.
func (h *Handler) table(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h.mayRead(w, r) {
			f(w, r)
		}
	}
}

// mayRead reports whether the alias table is loaded, and answers the request if it is not.
func (h *Handler) mayRead(w http.ResponseWriter, r *http.Request) bool {
	if h.loaded.Load() {
		return true
	}
	why := domain.ErrNotLoaded.Error()
	loaded, err := ask(r.Context(), h.cfg.Loop, h.cfg.Scraper.Loaded)
	if err != nil {
		why = err.Error()
	}
	if loaded {
		h.loaded.Store(true)
		return true
	}
	w.Header().Set("Retry-After", retryAfter)
	if strings.Contains(r.URL.Path, "/api/") {
		refuse(w, http.StatusServiceUnavailable, why)
	} else {
		line(w, http.StatusServiceUnavailable, "Starting: "+why)
	}
	return false
}
