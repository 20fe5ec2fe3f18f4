package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// LogEvents returns an event listener that writes every event as one line: the event's name as the message, its
// facts as attributes, at the level of the originals. Events that strangers can cause as often as they like are
// thinned out after a burst; the next line says how many were left out.
func LogEvents(h host.Host, log *slog.Logger) func(domain.Event) {
	log = slog.New(sourceless{log.Handler()})
	limits := map[string]*bucket{}
	dropped := map[string]int{}
	return func(e domain.Event) {
		attrs := e.Attrs()
		if burst, every := logLimit(e); burst > 0 {
			limit := limits[e.Name()]
			if limit == nil {
				limit = newBucket(h.Now(), burst, every)
				limits[e.Name()] = limit
			}
			if !limit.take(h.Now()) {
				dropped[e.Name()]++
				return
			}
			if n := dropped[e.Name()]; n > 0 {
				delete(dropped, e.Name())
				attrs = append(attrs, slog.Int("suppressed", n))
			}
		}
		// Logging takes no deadline and no values from a context, so none is passed down here.
		log.LogAttrs(context.Background(), e.Level(), e.Name(), attrs...)
	}
}

// sourceless leaves the place in the source out: it would be the same line of this file for every event.
type sourceless struct{ slog.Handler }

func (h sourceless) Handle(ctx context.Context, r slog.Record) error {
	r.PC = 0
	return h.Handler.Handle(ctx, r)
}

// logLimit is how often an event is logged; no burst means always.
func logLimit(e domain.Event) (burst int, every time.Duration) {
	side := domain.SideScrape
	switch e := e.(type) {
	case domain.FirewallBlock, domain.AliasUnauthorised, domain.AliasError:
		return logBurst, logEvery
	case domain.IdentityShared:
		return logSharedBurst, logSharedEvery
	case domain.ConnectionIgnore:
		side = domain.SideRegister
	case domain.ConnectionOpen:
		side = e.Side
	case domain.ConnectionClose:
		side = e.Side
	case domain.ConnectionError:
		side = e.Side
	}
	if side == domain.SideRegister {
		return logConnBurst, logConnEvery
	}
	return 0, 0
}

// bucket allows burst things at once and one more per refill.
type bucket struct {
	tokens int
	burst  int
	every  time.Duration
	since  host.Instant
}

func newBucket(now host.Instant, burst int, every time.Duration) *bucket {
	return &bucket{tokens: burst, burst: burst, every: every, since: now}
}

// take uses one token and reports whether there was one.
func (b *bucket) take(now host.Instant) bool {
	if b.empty(now) {
		return false
	}
	b.tokens--
	return true
}

// empty reports whether there is no token.
func (b *bucket) empty(now host.Instant) bool {
	if n := int(now.Sub(b.since) / b.every); n > 0 {
		b.tokens = min(b.burst, b.tokens+n)
		b.since = b.since.Add(time.Duration(n) * b.every)
	}
	return b.tokens == 0
}
