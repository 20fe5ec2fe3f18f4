package web

import (
	"net/http"
	"strings"

	"github.com/dhtprom/dhtprom/adapters/web/passon"
)

// This file admits the requests of other members of the scraper's group, which pass scrapes on. They have an authentication of their own,
// which is valid for GET of one scrape only.

// IsMember reports whether a request is authenticated as one of another member of the group, or pretends to be. The handler checks the
// authentication itself, so such a request needs no password: ServeHTTP rejects it unless it is a scrape and the authentication is valid.
func (h *Handler) IsMember(r *http.Request) bool { return h.cfg.Members != nil && passon.Claims(r) }

// isForged reports whether a request pretends to be a member's.
func (h *Handler) isForged(r *http.Request) bool {
	if !h.IsMember(r) {
		return false
	}
	path, below := strings.CutPrefix(r.URL.Path, h.routePrefix)
	_, scrape := scrapePath(path)
	return !below || !scrape || r.Method != http.MethodGet || !h.cfg.Members.Check(r, path)
}

// Drain makes the scraper not ready: it is going to stop, and answers requests until then.
func (h *Handler) Drain() { h.draining.Store(true) }
