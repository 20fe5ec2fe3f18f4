package app

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ConfigError reports an invalid field of a configuration and the valid values; it never quotes a value that might be a secret.
type ConfigError struct {
	Field string
	Want  string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Want }

// problems collects all errors of a configuration, so that one run shows all of them.
type problems []error

func (p *problems) must(ok bool, field, want string) {
	if !ok {
		*p = append(*p, &ConfigError{Field: field, Want: want})
	}
}

func (p *problems) name(field string, err error) {
	if err != nil {
		*p = append(*p, &ConfigError{Field: field, Want: err.Error()})
	}
}

// within checks a duration; zero selects the default.
func (p *problems) within(field string, d *time.Duration, def, low, high time.Duration) {
	if *d == 0 {
		*d = def
	}
	if *d < low || *d > high {
		*p = append(*p, &ConfigError{Field: field, Want: fmt.Sprintf("want %s, got %s", rangeText(low, high), *d)})
	}
}

func rangeText(low, high time.Duration) string {
	if high == math.MaxInt64 {
		return fmt.Sprintf("at least %s", low)
	}
	return fmt.Sprintf("between %s and %s", low, high)
}

func (p problems) err() error { return errors.Join(p...) }

const forever = time.Duration(math.MaxInt64)

// Retry has the shortest and the longest wait between attempts; the zero value means from one second to one minute.
type Retry struct{ Min, Max time.Duration }

func (r *Retry) check(p *problems, field string) {
	p.within(field+".Min", &r.Min, domain.RetryMin, time.Millisecond, forever)
	p.within(field+".Max", &r.Max, max(domain.RetryMax, r.Min), r.Min, forever)
}

func (r Retry) backoff() domain.Backoff { return domain.Backoff{Min: r.Min, Max: r.Max} }

// waitAfter is the wait after a failure: the next one of a backoff, a few seconds where a side was only busy, or the time given
// by a busy side, which queued reports and which must be respected.
func waitAfter(err error, b *domain.Backoff, h host.Host) (wait time.Duration, queued bool) {
	e, ok := errors.AsType[*ports.ConnectionError](err)
	switch {
	case ok && e.Busy && e.RetryAfter > 0:
		return e.RetryAfter + jitter(h, retrySpread), true
	case ok && e.Busy:
		return busyWait + jitter(h, busyWait), false
	}
	return b.Next(random(h)), false
}

// newUID draws a UID.
func newUID(h host.Host) domain.UID {
	var b [16]byte
	host.Draw(h.Rand(), b[:])
	return domain.UIDFrom(b)
}

// random draws a number. Its most significant byte is drawn first, so that the seeds of recorded runs still replay them.
func random(h host.Host) uint64 { return bits.ReverseBytes64(host.DrawUint64(h.Rand())) }

// jitter draws a duration below d.
func jitter(h host.Host, d time.Duration) time.Duration {
	return time.Duration(random(h) % uint64(d))
}

// newKeyPair draws an identity that is not stored.
func newKeyPair(h host.Host) domain.KeyPair {
	var b [domain.KeySize]byte
	host.Draw(h.Rand(), b[:])
	return domain.KeyPairFromSeed(domain.SeedFrom(b))
}

// tell calls the event listener, if there is one.
func tell(on func(domain.Event), e domain.Event) {
	if on != nil {
		on(e)
	}
}

// shutdown is the shutdown of a client or scraper. Its callers are called back when it has finished, or after a while.
type shutdown struct {
	timer host.Timer
	done  []func()
	over  bool
}

// begin adds a caller; done may be nil. It reports whether it is the first one, which must do the work.
func (s *shutdown) begin(h host.Host, within time.Duration, done func()) (first bool) {
	if done == nil {
		done = func() {}
	}
	if s.over {
		h.Post(done)
		return false
	}
	s.done = append(s.done, done)
	if s.timer != nil {
		return false
	}
	s.timer = h.AfterFunc(within, s.finish)
	return true
}

func (s *shutdown) finish() {
	s.timer.Stop()
	s.over = true
	done := s.done
	s.done = nil
	for _, f := range done {
		f()
	}
}
