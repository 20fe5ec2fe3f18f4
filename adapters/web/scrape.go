package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

const (
	contentText = "text/plain; version=0.0.4; charset=utf-8"
	contentOM   = "application/openmetrics-text; version=1.0.0; charset=utf-8"

	// timeoutHeader has Prometheus's scrape timeout, in seconds.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// margin is subtracted from it so that the reason of a failure arrives before Prometheus's timeout (as in
	// blackbox_exporter); at most a quarter of the timeout.
	margin = 500 * time.Millisecond
	// maxTimeout bounds the timeout in the header.
	maxTimeout = 5 * time.Minute
	// edgeSlack is the time that the HTTP handler waits longer for the loop than the loop for the client: half of the
	// margin, less for short times.
	edgeSlack = margin / 2

	// gzipFrom is the minimum size for compression, in bytes.
	gzipFrom = 2048
	// maxReason bounds a client's reason for a failure, in bytes.
	maxReason = 500
)

// scrapeTime returns the time for a scrape: the caller's timeout less the margin.
func scrapeTime(header string, fallback time.Duration) (time.Duration, error) {
	if header == "" {
		return fallback, nil
	}
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0, errors.New(timeoutHeader + ": want a positive number of seconds")
	}
	asked := time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
	return max(asked-min(margin, asked/4), time.Millisecond), nil
}

type scrapeResult struct {
	body []byte
	err  error
}

func (h *Handler) scrape(w http.ResponseWriter, r *http.Request, alias domain.Alias) {
	if !reading(w, r) {
		return
	}
	within, err := scrapeTime(r.Header.Get(timeoutHeader), h.cfg.ScrapeTimeout)
	if err != nil {
		line(w, http.StatusBadRequest, err.Error())
		return
	}
	select {
	case h.scrapes <- struct{}{}:
		defer func() { <-h.scrapes }()
	default:
		line(w, http.StatusServiceUnavailable, "Too many scrapes at once")
		return
	}
	start := time.Now()
	res := h.request(r.Context(), alias, within)
	if r.Context().Err() != nil {
		return // the caller has closed the connection
	}
	if !errors.Is(res.err, domain.ErrUnknownAlias) {
		h.measured.took.Observe(time.Since(start).Seconds())
	}
	if res.err == nil {
		h.measured.size.Observe(float64(len(res.body)))
	}
	h.cfg.Log.LogAttrs(r.Context(), slog.LevelDebug, "scrape", slog.String("alias", string(alias)),
		slog.Int("bytes", len(res.body)), slog.Duration("took", time.Since(start)), slog.Any("err", res.err))
	if res.err != nil {
		code, reason := failure(res.err)
		if code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
		line(w, code, reason)
		return
	}
	h.deliver(w, r, len(res.body), within+readTime, func() { writeMetrics(w, r, res.body) })
}

// request scrapes on the loop, and cancels the scrape when the caller closes the connection.
func (h *Handler) request(ctx context.Context, alias domain.Alias, within time.Duration) scrapeResult {
	bounded, stop := context.WithTimeout(ctx, within+min(edgeSlack, within/8))
	defer stop()
	res, err := bridge.Call(bounded, h.cfg.Loop, func(done func(scrapeResult)) func() {
		return h.cfg.Scraper.Scrape(alias, within, func(body []byte, err error) { done(scrapeResult{body, err}) })
	})
	switch {
	case err == nil:
		return res
	case ctx.Err() != nil:
		return scrapeResult{err: ctx.Err()}
	case errors.Is(err, bridge.ErrClosed):
		return scrapeResult{err: domain.ErrClosed}
	default:
		return scrapeResult{err: &domain.TimeoutError{Waiting: "the scraper", After: within}}
	}
}

// failure returns the status and the text for a failed scrape: 404 for an unknown alias, 503 while the table is not loaded,
// 504 for a timeout, 502 for all other errors.
func failure(err error) (code int, reason string) {
	remote, isRemote := errors.AsType[*domain.RemoteError](err)
	switch {
	case errors.Is(err, domain.ErrUnknownAlias):
		return http.StatusNotFound, "Unknown alias"
	case errors.Is(err, domain.ErrNotLoaded):
		return http.StatusServiceUnavailable, "Starting: " + err.Error()
	case isRemote:
		return http.StatusBadGateway, "Upstream error: " + oneLine(remote.Message)
	case errors.Is(err, domain.ErrNotConnected):
		return http.StatusBadGateway, "Upstream unavailable: " + oneLine(err.Error())
	case errors.Is(err, domain.ErrTimeout):
		return http.StatusGatewayTimeout, "Upstream timed out: " + oneLine(err.Error())
	default:
		return http.StatusBadGateway, "Upstream unavailable: " + oneLine(err.Error())
	}
}

// oneLine sanitizes text that may come from the network to one line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, text[:min(len(text), maxReason)])
	return strings.TrimSpace(text)
}

// isOpenMetrics reports whether a body is OpenMetrics. The wire carries no content type, but OpenMetrics, and only it, must
// end with this line.
func isOpenMetrics(body []byte) bool {
	body = bytes.TrimSuffix(body, []byte("\n"))
	return bytes.Equal(body, []byte("# EOF")) || bytes.HasSuffix(body, []byte("\n# EOF"))
}

func writeMetrics(w http.ResponseWriter, r *http.Request, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentText)
	if isOpenMetrics(body) {
		header.Set("Content-Type", contentOM)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && acceptsGzip(r.Header.Values("Accept-Encoding")) {
		body = compress(body)
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// acceptsGzip reports whether Accept-Encoding has gzip, or *, with a weight above zero (RFC 9110, 12.5.3).
func acceptsGzip(values []string) bool {
	anything := false
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(v), ";")
		name, weight, _ := strings.Cut(strings.TrimSpace(params), "=")
		accepted := true
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
			accepted = err == nil && q > 0
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return accepted
		case "*":
			anything = accepted
		}
	}
	return anything
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

func compress(body []byte) []byte {
	var out bytes.Buffer
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(&out)
	_, _ = z.Write(body) // a buffer does not fail
	_ = z.Close()
	return out.Bytes()
}
