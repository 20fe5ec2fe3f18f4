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
	h.changes = keepLast(append(h.changes, c), historyLines)
}

// Changes lists them, oldest first.
func (h *SessionHistory) Changes() []SessionChange { return append([]SessionChange(nil), h.changes...) }

// ScrapeHistory has the last scrapes of an alias.
type ScrapeHistory struct{ scrapes []Scrape }

// Add appends a scrape and completes it with the time of the last success.
func (h *ScrapeHistory) Add(s Scrape) {
	s.Success = h.Last().Success
	if s.Err == nil {
		s.Success = s.At
	}
	h.scrapes = keepLast(append(h.scrapes, s), historyScrapes)
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
	h.refusals = keepLast(append(h.refusals, r), historyRefusals)
}

// Refusals lists them, oldest first.
func (h *RefusalHistory) Refusals() []Refusal { return append([]Refusal(nil), h.refusals...) }

// keepLast keeps the last n elements in place, so that a history does not grow.
func keepLast[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	copy(list, list[len(list)-n:])
	clear(list[n:])
	return list[:n]
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
