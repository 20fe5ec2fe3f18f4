// Package source implements the sources of a client's metrics: a prometheus.Gatherer, a function that returns text, and what these share
// with the exporters of package exporter, which links an HTTP client with all that Prometheus configures.
//
// Each collection runs on its own goroutine, because collectors, functions and exporters may be slow and the loop must not
// wait for them. The number of collections that ignore their deadline is bounded.
package source

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

// maxRunning bounds the concurrent collections. A client requests no more, whatever its scrapers do; more accumulate only when a source
// ignores its deadline.
const maxRunning = 64

var (
	// ErrQuery is the error of a request with parameters, where a target takes none.
	ErrQuery error = &domain.ScrapeError{Fault: domain.FaultRequest, Reason: "the target takes no parameters"}

	errHanging = errors.New("earlier collections of metrics are still running")
)

// Answer writes the response to a request. It should return when its context is done.
type Answer func(context.Context, domain.ScrapeRequest, *scrapeio.Writer) error

// Source runs a function for each collection.
type Source struct {
	loop    host.Loop
	answer  Answer
	running atomic.Int32
	dropped Dropped
}

// New returns a source that answers by a function. Func, Gatherer and package exporter call it.
func New(loop host.Loop, answer Answer) *Source { return &Source{loop: loop, answer: answer} }

// Func returns a source that calls f, which should return when its context is done. Its text is OpenMetrics if it ends with the line
// # EOF, and the text format 0.0.4 otherwise.
func Func(loop host.Loop, f func(context.Context) (string, error)) *Source {
	return New(loop, func(ctx context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
		if r.Query != "" {
			return ErrQuery
		}
		text, err := f(ctx)
		if err != nil {
			return err
		}
		return WritePage(w, r, scrape.Text([]byte(text)))
	})
}

// WritePage sends a page, compressed where the request wants that and it is worth it.
func WritePage(w *scrapeio.Writer, r domain.ScrapeRequest, p scrape.Page) error {
	out := NewCompressor(w, r)
	out.Head(p.ScrapeHead)
	if _, err := out.Write(p.Body); err != nil {
		return err
	}
	return out.Close()
}

// Scrape implements ports.MetricsSource. A panic in a collection becomes its error: a broken collector must not crash the service it
// monitors.
func (s *Source) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	if s.running.Add(1) > maxRunning {
		s.running.Add(-1)
		return scrape.Send(s.loop, scrape.Page{}, errHanging, h)
	}
	return scrapeio.Serve(s.loop, r.Within, h, func(ctx context.Context, w *scrapeio.Writer) (err error) {
		defer s.running.Add(-1)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("metrics source panicked: %v", p)
			}
		}()
		err = s.answer(ctx, r, w)
		if errors.Is(err, context.DeadlineExceeded) {
			err = Fail(err, domain.FaultTime, "no answer of the exporter within %s", r.Within.Round(time.Millisecond))
		}
		return err
	})
}

var _ ports.MetricsSource = (*Source)(nil)

// failure is an error with what is reported of it to the scraper: the text of the error may have addresses and files of this machine.
type failure struct {
	error
	reported *domain.ScrapeError
}

// Fail returns err with what is reported of it to the scraper: a fault and its reason.
func Fail(err error, fault domain.Fault, format string, args ...any) error {
	return &failure{err, &domain.ScrapeError{Fault: fault, Reason: fmt.Sprintf(format, args...)}}
}

// Unwrap returns both.
func (f *failure) Unwrap() []error { return []error{f.error, f.reported} }
