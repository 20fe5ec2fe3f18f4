// Package members reaches the HTTP servers of the other members of a group, to pass scrapes on to them: ports.Members. Package
// adapters/web/passon describes the requests.
//
// A member's URL should lead to it directly. A proxy on the way that drops responses with status 102 makes members appear to hang, so that
// scrapes of slow exporters are tried by two members.
package members

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

const (
	// patience limits the wait for a connection to a member, and then the wait for the first byte of its response: a working member responds
	// at once, however long the client takes. It is patienceShare of the time left, if that is less, so that there is time for another way.
	patience      = time.Second
	patienceShare = 4

	// maxConns bounds the connections to one member, and maxIdle those that are kept.
	maxConns = 1024
	maxIdle  = 256
	idleTime = time.Minute
	// maxHeader bounds the header of a response, and maxPage the page after it, in bytes.
	maxHeader = 64 << 10
	maxPage   = 1 << 30

	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
)

// Config configures the requests to other members.
type Config struct {
	Loop host.Loop
	// Seed authenticates requests. All members have the same.
	Seed domain.Seed
	// TLS is for members with an https URL; nil for the certificates of the system.
	TLS *tls.Config
}

// Members passes scrapes on.
type Members struct {
	loop      host.Loop
	key       *passon.Key
	transport *http.Transport
}

// New returns what reaches the other members.
func New(cfg Config) *Members {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true) // as the servers
	return &Members{loop: cfg.Loop, key: passon.NewKey(cfg.Seed), transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: patience}).DialContext, TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: patience,
		MaxConnsPerHost: maxConns, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: idleTime, MaxResponseHeaderBytes: maxHeader,
		DisableCompression: true, Protocols: protocols,
	}}
}

// Close closes the connections that are not in use.
func (m *Members) Close() { m.transport.CloseIdleConnections() }

// Source implements ports.Members.
func (m *Members) Source(to domain.Member, a domain.Alias) ports.MetricsSource {
	return &source{members: m, to: to, path: "/scrape/" + a.PathForm() + "/metrics"}
}

// source passes the scrapes of an alias on to a member.
type source struct {
	members *Members
	to      domain.Member
	path    string // below that of the member's URL
}

// Scrape implements ports.MetricsSource.
func (s *source) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return scrapeio.Serve(s.members.loop, r.Within, h, func(ctx context.Context, w *scrapeio.Writer) error {
		err := s.pass(ctx, r, w)
		if errors.Is(err, context.DeadlineExceeded) {
			err = &domain.TimeoutError{Waiting: "member " + s.to.Name + " of the group", After: r.Within.Round(time.Millisecond)}
		}
		return err
	})
}

// pass sends the request and copies the response.
func (s *source) pass(ctx context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
	req, err := s.request(ctx, r)
	if err != nil {
		return s.noAnswer(err)
	}
	res, err := s.send(req, r.Within)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return s.noAnswer(err)
	}
	defer res.Body.Close()
	if err := passon.Outcome(res); err != nil {
		return fmt.Errorf("member %s: %w", s.to.Name, err)
	}
	head := domain.ScrapeHead{
		Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), Coding: res.Header.Get("Content-Encoding"), Length: res.ContentLength,
	}
	if head.Length > maxPage {
		return tooLarge()
	}
	w.Head(head)
	return copyPage(w, res.Body)
}

func (s *source) noAnswer(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the text has the URL
	}
	return fmt.Errorf("%w: %s at %s: %w", domain.ErrNoAnswer, s.to.Name, s.to.URL, err)
}

func (s *source) request(ctx context.Context, r domain.ScrapeRequest) (*http.Request, error) {
	target, err := url.Parse(strings.TrimRight(s.to.URL, "/") + s.path)
	if err != nil {
		return nil, err
	}
	target.RawQuery = r.Query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, f := range r.Header {
		req.Header.Add(f.Name, f.Value)
	}
	if r.Field("User-Agent") == "" {
		req.Header["User-Agent"] = nil // instead of net/http's
	}
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set(timeoutHeader, strconv.FormatFloat(time.Until(deadline).Seconds(), 'f', 3, 64))
	}
	s.members.key.Sign(req, s.path)
	return req, nil
}

// errHangs ends requests to members that do not respond in time.
var errHangs = errors.New("it does not respond in time")

// send sends a request, and cancels it when the member takes too long to begin with its response.
func (s *source) send(req *http.Request, within time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	wait := min(patience, within/patienceShare)
	limit := time.AfterFunc(wait, func() { cancel(errHangs) })
	begun := atomic.Bool{}
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			if !begun.Load() {
				limit.Reset(wait)
			}
		},
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			begun.Store(true)
			limit.Stop()
			return nil
		},
	}
	res, err := s.members.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	limit.Stop()
	if err != nil {
		if context.Cause(ctx) == errHangs {
			err = errHangs
		}
		cancel(nil)
		return nil, err
	}
	res.Body = &body{res.Body, cancel}
	return res, nil
}

// body ends the context of its request when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// copyPage copies the body of a response, in full windows of the scrape.
func copyPage(w *scrapeio.Writer, from io.Reader) error {
	window := windows.Get().(*[ports.FirstWindow]byte)
	defer windows.Put(window)
	total := 0
	for {
		n, err := fill(from, window[:])
		if total += n; total > maxPage {
			return tooLarge()
		}
		if _, err := w.Write(window[:n]); err != nil {
			return err
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

var windows = sync.Pool{New: func() any { return new([ports.FirstWindow]byte) }}

// fill reads until a buffer is full, or until the error that ends the body.
func fill(from io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = from.Read(b[n:])
		n += m
	}
	return n, err
}

func tooLarge() error {
	return &domain.ScrapeError{Fault: domain.FaultClient, Reason: fmt.Sprintf("metrics are more than %d bytes", maxPage)}
}

var _ ports.Members = (*Members)(nil)
