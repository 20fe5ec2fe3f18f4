// Package source implements the sources of a client's metrics: a prometheus.Gatherer, a function that returns text, and an
// exporter over HTTP.
//
// Each collection runs on its own goroutine, because collectors, functions and exporters may be slow and the loop must not
// wait for them. The number of collections that ignore their deadline is bounded.
package source

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

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
	errHanging = errors.New("earlier collections of metrics are still running")
	errQuery   = &domain.ScrapeError{Fault: domain.FaultRequest, Reason: "the target takes no parameters"}
)

// Source runs a function for each collection.
type Source struct {
	loop    host.Loop
	answer  func(context.Context, domain.ScrapeRequest, *scrapeio.Writer) error
	running atomic.Int32
	dropped Dropped
}

// Func returns a source that calls f, which should return when its context is done. Its text is OpenMetrics if it ends with the line
// # EOF, and the text format 0.0.4 otherwise.
func Func(loop host.Loop, f func(context.Context) (string, error)) *Source {
	return &Source{loop: loop, answer: func(ctx context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
		if r.Query != "" {
			return errQuery
		}
		text, err := f(ctx)
		if err != nil {
			return err
		}
		return write(w, r, scrape.Text([]byte(text)))
	}}
}

// write sends a page, compressed where the request wants that and it is worth it.
func write(w *scrapeio.Writer, r domain.ScrapeRequest, p scrape.Page) error {
	out := newCompressor(w, r)
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
			err = failed(err, domain.FaultTime, "no answer of the exporter within %s", r.Within.Round(msec))
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

func failed(err error, fault domain.Fault, format string, args ...any) error {
	return &failure{err, &domain.ScrapeError{Fault: fault, Reason: fmt.Sprintf(format, args...)}}
}

// Unwrap returns both.
func (f *failure) Unwrap() []error { return []error{f.error, f.reported} }
