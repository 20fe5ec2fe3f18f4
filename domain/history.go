package domain

import "time"

// SessionChange is an entry in the history of a session: it opened, switched to a better path, or has no connection. Repetitions
// of the same failure are one entry.
type SessionChange struct {
	State SessionState // SessionOpen or SessionWaiting
	First time.Time
	Last  time.Time // of Count occurrences
	Count int
	Peer  Peer  // if it opened, or switched to it
	Err   error // reason for having no connection
}

// SessionHistory has the last changes of a session, oldest first.
type SessionHistory struct{ changes []SessionChange }

// Add appends a change. The oldest one is removed when there are too many.
func (h *SessionHistory) Add(c SessionChange) {
	c.Last, c.Count = c.First, 1
	if n := len(h.changes); n > 0 {
		last := &h.changes[n-1]
		if last.State == c.State && last.Peer == c.Peer && errText(last.Err) == errText(c.Err) {
			last.Last = c.Last
			last.Count++
			return
		}
	}
	h.changes = appendLast(h.changes, c, historyLines)
}

// Changes lists them, oldest first.
func (h *SessionHistory) Changes() []SessionChange { return append([]SessionChange(nil), h.changes...) }

// ScrapeHistory has the last scrapes of an alias, and those of the last hours as a timeline.
type ScrapeHistory struct {
	scrapes  []Scrape
	timeline Timeline
}

// Add appends a scrape and completes it with the time of the last success.
func (h *ScrapeHistory) Add(s Scrape) {
	s.Success = h.Last().Success
	if s.Err == nil {
		s.Success = s.At
	}
	h.scrapes = appendLast(h.scrapes, s, historyScrapes)
	h.timeline.AddScrape(s)
}

// Registered counts a registration in the timeline, if the alias has been scraped.
func (h *ScrapeHistory) Registered(at time.Time) {
	if h != nil {
		h.timeline.AddRegistration(at)
	}
}

// Timeline lists the steps of the timeline in which something happened, oldest first.
func (h *ScrapeHistory) Timeline() []TimelineEntry {
	if h == nil {
		return nil
	}
	return h.timeline.Entries()
}

// Last is the last scrape, zero before the first.
func (h *ScrapeHistory) Last() Scrape {
	if h == nil || len(h.scrapes) == 0 {
		return Scrape{}
	}
	return h.scrapes[len(h.scrapes)-1]
}

// Scrapes lists them, oldest first.
func (h *ScrapeHistory) Scrapes() []Scrape {
	if h == nil {
		return nil
	}
	return append([]Scrape(nil), h.scrapes...)
}

// PathSpan is the start of a time in which a session had a connection over a path.
type PathSpan struct {
	From time.Time
	Path Path // PathUnknown: no connection
}

// PathHistory has the last changes of a session's path, at whole seconds.
type PathHistory struct{ changes []pathChange }

type pathChange struct {
	at   uint32 // seconds since 1970
	path Path
}

// Add records the path of the connection from now on, PathUnknown for none. Several changes in one second are one.
func (h *PathHistory) Add(at time.Time, p Path) {
	c := pathChange{uint32(at.Unix()), p}
	if n := len(h.changes); n > 0 && h.changes[n-1].at == c.at {
		h.changes = h.changes[:n-1]
	}
	if n := len(h.changes); n > 0 && h.changes[n-1].path == c.path {
		return
	}
	h.changes = appendLast(h.changes, c, historyPaths)
}

// Spans lists them, oldest first. Each ends where the next one begins.
func (h *PathHistory) Spans() []PathSpan {
	spans := make([]PathSpan, len(h.changes))
	for i, c := range h.changes {
		spans[i] = PathSpan{From: time.Unix(int64(c.at), 0), Path: c.path}
	}
	return spans
}

// Refusal is a rejected registration.
type Refusal struct {
	First  time.Time
	Last   time.Time // of Count in a row
	Count  int
	Peer   Peer
	Alias  Alias // as requested; unchecked, but bounded
	Reason string
}

// RefusalHistory has the last refusals, oldest first.
type RefusalHistory struct{ refusals []Refusal }

// Add appends a refusal.
func (h *RefusalHistory) Add(r Refusal) {
	r.Alias = Alias(clip(string(r.Alias), MaxAlias))
	r.Last, r.Count = r.First, 1
	if n := len(h.refusals); n > 0 {
		last := &h.refusals[n-1]
		if last.Peer == r.Peer && last.Alias == r.Alias && last.Reason == r.Reason {
			last.Last = r.Last
			last.Count++
			return
		}
	}
	h.refusals = appendLast(h.refusals, r, historyRefusals)
}

// Refusals lists them, oldest first.
func (h *RefusalHistory) Refusals() []Refusal { return append([]Refusal(nil), h.refusals...) }

// appendLast appends an element and keeps the last n, without memory for more.
func appendLast[T any](list []T, e T, n int) []T {
	if len(list) == n {
		copy(list, list[1:])
		list[n-1] = e
		return list
	}
	if len(list) == cap(list) {
		grown := make([]T, len(list), min(max(1, 2*len(list)), n))
		copy(grown, list)
		list = grown
	}
	return append(list, e)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
