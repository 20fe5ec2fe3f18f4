package source

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

// Gatherer returns a source that gathers metrics of this process and answers as promhttp does: in the format and the coding that the
// caller prefers. Any error fails the collection with the status 500: a partial page would look like a healthy target that lost its
// series. A request for text gets the text format 0.0.4.
func Gatherer(loop host.Loop, g prometheus.Gatherer) *Source {
	handler := promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.HTTPErrorOnError})
	return New(loop, func(ctx context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
		if r.Query != "" {
			return ErrQuery
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
		if err != nil {
			return err
		}
		if r.Text {
			req.Header.Set("Accept", "text/plain;version=0.0.4")
		} else {
			PassHeader(req.Header, r)
		}
		out := &handled{out: NewCompressor(w, r), text: r.Text, header: http.Header{}}
		handler.ServeHTTP(out, req)
		return out.end()
	})
}

// handled is a http.ResponseWriter that answers a scrape.
type handled struct {
	out    *Compressor
	text   bool // a failure is an error, and no status
	header http.Header
	status int
	failed []byte // the body of a failure, cut
	err    error
}

// Header implements http.ResponseWriter.
func (h *handled) Header() http.Header { return h.header }

// WriteHeader implements http.ResponseWriter.
func (h *handled) WriteHeader(status int) {
	if h.status != 0 {
		return
	}
	h.status = status
	if h.text && status != http.StatusOK {
		return
	}
	h.out.Head(HeadOf(status, h.header))
}

// Write implements http.ResponseWriter.
func (h *handled) Write(b []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	if h.text && h.status != http.StatusOK {
		h.failed = append(h.failed, b[:min(len(b), maxFailure-len(h.failed))]...)
		return len(b), nil
	}
	n, err := h.out.Write(b)
	if err != nil {
		h.err = err
	}
	return n, err
}

// maxFailure bounds the text of a failure of a handler, in bytes.
const maxFailure = 4096

// end returns the error that ended the response.
func (h *handled) end() error {
	h.WriteHeader(http.StatusOK)
	switch {
	case h.err != nil:
		return h.err
	case h.text && h.status != http.StatusOK:
		return fmt.Errorf("status %d: %s", h.status, h.failed)
	}
	return h.out.Close()
}
