package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/klauspost/compress/gzip"

	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/coding"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

const authorization = "Authorization"

const (
	// timeoutHeader has Prometheus's scrape timeout, in seconds.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// margin is subtracted from it so that the reason of a failure arrives before Prometheus's timeout (as in
	// blackbox_exporter); at most a quarter of the timeout.
	margin = 500 * time.Millisecond
	// memberMargin is the same for another member of the group, which has subtracted margin already.
	memberMargin = 100 * time.Millisecond
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

// timeFor returns the time for the scrape of a request.
func (h *Handler) timeFor(r *http.Request) (time.Duration, error) {
	if h.IsMember(r) {
		return scrapeTime(r.Header.Get(timeoutHeader), h.cfg.ScrapeTimeout, memberMargin)
	}
	return scrapeTime(r.Header.Get(timeoutHeader), h.cfg.ScrapeTimeout, margin)
}

// scrapeTime returns the time for a scrape: the caller's timeout less a margin.
func scrapeTime(header string, fallback, margin time.Duration) (time.Duration, error) {
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

// requestFrom returns the request of a caller. Credentials that are for this server go no further: with them, the client of a target that
// asks for Authorization could make changes here.
func (h *Handler) requestFrom(r *http.Request, within time.Duration) domain.ScrapeRequest {
	what := domain.ScrapeRequest{Query: r.URL.RawQuery, Within: within, Compress: true, PassedOn: h.IsMember(r)}
	header := r.Header
	if what.PassedOn {
		header = passon.Restore(header)
	}
	own := !what.PassedOn && header.Get(authorization) != "" && h.cfg.Authenticated != nil && h.cfg.Authenticated(r)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if own && name == authorization {
			continue
		}
		for _, v := range header[name] {
			what.Header = append(what.Header, domain.HeaderField{Name: name, Value: v})
		}
	}
	return what
}

func (h *Handler) scrape(w http.ResponseWriter, r *http.Request, alias domain.Alias) {
	if !reading(w, r) {
		return
	}
	within, err := h.timeFor(r)
	if err != nil {
		line(w, http.StatusBadRequest, err.Error())
		return
	}
	if !enter(h.scrapes) {
		line(w, http.StatusServiceUnavailable, "Too many scrapes at once")
		return
	}
	defer leave(h.scrapes)
	start := time.Now()
	if h.IsMember(r) {
		w.WriteHeader(http.StatusProcessing) // a member that hangs does not send it
		passon.MarkAnswer(w.Header())
	}
	ctx, stop := context.WithTimeout(r.Context(), within+min(edgeSlack, within/8))
	defer stop()
	res, err := scrapeio.Open(ctx, h.cfg.Loop, func(handlers ports.ScrapeHandlers) ports.Scrape {
		return h.cfg.Scraper.Request(alias, h.requestFrom(r, within), handlers)
	})
	var sent int64
	if err == nil {
		defer res.Close()
		// What a caller may leave unread: all of a text that is here, or a window, which grows with what was read.
		size := int64(ports.FirstWindow)
		if res.Length >= 0 {
			size = min(res.Length, domain.MaxBody)
		}
		if !h.deliver(w, r, int(size), within+readTime, func(a *delivery) { sent, err = h.pass(w, r, res, a) }) {
			return
		}
	}
	if r.Context().Err() != nil {
		// The caller has closed the connection, or whatever wraps this handler has ended the request: then the connection lives, and what
		// was sent must not look complete.
		panic(http.ErrAbortHandler)
	}
	took := time.Since(start)
	if !errors.Is(err, domain.ErrUnknownAlias) {
		h.measured.took.Observe(took.Seconds())
	}
	if err == nil {
		h.measured.size.Observe(float64(sent))
	}
	h.cfg.Log.LogAttrs(r.Context(), slog.LevelDebug, "scrape", slog.String("alias", string(alias)),
		slog.Int64("bytes", sent), slog.Duration("took", took), slog.Any("err", err))
	switch begun := new(begunError); {
	case err == nil:
	case errors.As(err, &begun):
		panic(http.ErrAbortHandler) // or the caller would take half a page for all of it
	case h.IsMember(r):
		passon.WriteFailure(w, edgeError(err, within))
	default:
		err = edgeError(err, within)
		code, reason := failure(err)
		if code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
		failScrape(w, r, code, reason, phrase(alias, err, took))
	}
}

// edgeError names what ended a wait here, where it was not the scrape itself.
func edgeError(err error, within time.Duration) error {
	switch {
	case errors.Is(err, bridge.ErrClosed):
		return domain.ErrClosed
	case errors.Is(err, context.DeadlineExceeded):
		return &domain.TimeoutError{Waiting: "the scraper", After: within}
	}
	return err
}

// begunError is an error after the head was sent.
type begunError struct{ error }

func (e *begunError) Unwrap() error { return e.error }

// pass passes a response on. It returns the bytes of the body as they came. An error before the head was sent is returned as it is.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, res *scrapeio.Response, a *delivery) (n int64, err error) {
	if res.Status < http.StatusOK {
		return 0, &domain.ScrapeError{Fault: domain.FaultExporter, Reason: fmt.Sprintf("exporter answered %d", res.Status)}
	}
	counted := &counter{from: res}
	if res.Length < 0 {
		counted.onRead = func(n int64) { h.held.grow(a, min(ports.FirstWindow+2*n, ports.MaxWindow)) }
	}
	accepted := r.Header.Values("Accept-Encoding")
	name, length := coding.Name(res.Coding), res.Length
	if size, ok := res.Complete(); length < 0 && ok {
		length = int64(size) // or it would be sent in chunks, with another system call for the end of the last one
	}
	var body io.Reader = counted
	var zip *gzip.Writer
	switch {
	case name != "" && !coding.Accepts(accepted, name):
		if name == coding.Zstd {
			if !enter(h.decoders) {
				return 0, errDecoders
			}
			defer leave(h.decoders)
		}
		if body, err = coding.NewReader(name, counted); err != nil {
			return counted.n, undecoded(name, err)
		}
		defer body.(io.Closer).Close()
		name, length = "", -1
	case name == "" && length >= gzipFrom && res.Status == http.StatusOK && coding.Accepts(accepted, coding.Gzip) && !sameMachine(r) && enter(h.zipping):
		defer leave(h.zipping)
		zip = zippers.Get().(*gzip.Writer)
		defer zippers.Put(zip)
		zip.Reset(w)
		name, length = coding.Gzip, -1
	}
	setHead(w.Header(), res.ContentType, name, length)
	w.WriteHeader(res.Status)
	switch {
	case r.Method == http.MethodHead:
		_, err = io.Copy(io.Discard, body)
	case zip != nil:
		if _, err = io.Copy(zip, body); err == nil {
			err = zip.Close()
		}
	default:
		// Without the ReadFrom of net/http, which sends what is beyond Content-Length: it would begin the caller's next response.
		_, err = io.Copy(struct{ io.Writer }{w}, body)
	}
	if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		return counted.n, &begunError{err}
	}
	return counted.n, nil
}

// sameMachine reports whether a caller is on this machine: to compress a page, and to decompress it, takes longer than to copy it.
func sameMachine(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

func setHead(h http.Header, contentType, coding string, length int64) {
	h["Content-Type"] = nil // so that none is guessed
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
}

// undecoded is the error of a body in a coding that its caller does not accept and that cannot be decoded.
func undecoded(name string, err error) error {
	reason := fmt.Sprintf("exporter answered with the content coding %.40q, which the caller does not accept", name)
	if !errors.Is(err, coding.ErrUnknown) {
		reason = "exporter's answer cannot be decoded: " + err.Error()
	}
	return &domain.ScrapeError{Fault: domain.FaultExporter, Reason: reason}
}

// errDecoders is the error of a body that cannot be decoded now. Exporters use no coding that their caller does not accept.
var errDecoders = &domain.ScrapeError{Fault: domain.FaultExporter, Reason: "exporter answered with the content coding \"zstd\", which the caller does not accept, and too many such answers are decoded"}

// counter counts what is read.
type counter struct {
	from   *scrapeio.Response
	n      int64
	onRead func(all int64) // may be nil
}

func (c *counter) Read(b []byte) (n int, err error) {
	n, err = c.from.Read(b)
	c.count(n)
	return n, err
}

func (c *counter) count(n int) {
	c.n += int64(n)
	if c.onRead != nil {
		c.onRead(c.n)
	}
}

// WriteTo implements io.WriterTo, for io.Copy.
func (c *counter) WriteTo(w io.Writer) (int64, error) { return c.from.WriteTo(counting{w, c}) }

// counting counts what was written.
type counting struct {
	io.Writer
	counter *counter
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.counter.count(n)
	return n, err
}

// enter takes one of the tokens of a channel, and reports whether there was one.
func enter(tokens chan struct{}) bool {
	select {
	case tokens <- struct{}{}:
		return true
	default:
		return false
	}
}

func leave(tokens chan struct{}) { <-tokens }

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

// failure returns the status and the text for a failed scrape: 404 for an unknown alias, 503 while the table is not loaded, 400 for what
// a target does not allow, 504 for a timeout, 502 for all other errors.
func failure(err error) (code int, reason string) {
	remote, isRemote := errors.AsType[*domain.RemoteError](err)
	reported, isReported := errors.AsType[*domain.ScrapeError](err)
	switch {
	case errors.Is(err, domain.ErrUnknownAlias):
		return http.StatusNotFound, "Unknown alias"
	case errors.Is(err, domain.ErrNotLoaded):
		return http.StatusServiceUnavailable, "Starting: " + err.Error()
	case isRemote:
		return http.StatusBadGateway, "Upstream error: " + oneLine(remote.Message)
	case isReported && reported.Fault == domain.FaultRequest:
		return http.StatusBadRequest, "Not allowed: " + oneLine(reported.Reason)
	case errors.Is(err, domain.ErrTimeout) && !errors.Is(err, domain.ErrNotConnected):
		return http.StatusGatewayTimeout, "Upstream timed out: " + oneLine(err.Error())
	case isReported:
		return http.StatusBadGateway, "Upstream error: " + oneLine(reported.Reason)
	default:
		return http.StatusBadGateway, "Upstream unavailable: " + oneLine(domain.Describe(err, domain.PeerClient))
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
