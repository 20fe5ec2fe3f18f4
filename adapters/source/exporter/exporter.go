// Package exporter implements the source of metrics that scrapes an exporter over HTTP. A Config is the HTTP of a client.Target.
//
// Its HTTP client is that of a scrape_config of Prometheus, from github.com/prometheus/common/config with its modules. Services that serve
// their own registry import package client alone, which does not link them.
package exporter

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/common/config"
	"golang.org/x/oauth2"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/source/families"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/coding"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

const (
	// accept goes with requests for text. OpenMetrics is recognizable by its last line, so the two formats can be distinguished
	// without the header, which the reply to such a request does not carry.
	accept = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1"

	// defaultMaxBytes bounds a page in bytes, where its target has no bound of its own.
	defaultMaxBytes = 64 << 20
	// MaxPage is the largest bound that a target may have, in bytes.
	MaxPage = 1 << 30

	// maxHeader bounds the header of an answer, maxStatus the status line in an error, maxCredential a file with a password.
	maxHeader     = 64 << 10
	maxStatus     = 200
	maxCredential = 64 << 10
)

// Target is the address of an exporter. It comes from the client's configuration only.
type Target struct {
	URL    *url.URL
	Socket string // the Unix socket that it listens on; empty for TCP
}

// String returns the target without a password.
func (t Target) String() string {
	if t.Socket != "" {
		return "unix://" + t.Socket + ":" + t.URL.RequestURI()
	}
	return t.URL.Redacted()
}

const example = "want something like http://localhost:9100/metrics or unix:///run/exporter.sock:/metrics"

// ParseTarget parses a target: http://host:port/path, https://host:port/path, or unix:///path/of/socket:/path, where the
// default of /path is /metrics.
func ParseTarget(text string) (Target, error) {
	if socket, ok := strings.CutPrefix(text, "unix://"); ok {
		return parseSocket(socket)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The parser's error quotes the URL, which may have a password.
		return Target{}, errors.New("invalid URL: " + example)
	case u.Scheme != "http" && u.Scheme != "https":
		return Target{}, errors.New("unsupported scheme: " + example)
	case u.Hostname() == "":
		return Target{}, errors.New("no host in the URL: " + example)
	}
	return Target{URL: u}, nil
}

func parseSocket(text string) (Target, error) {
	path, rest, cut := strings.Cut(text, ":")
	if !cut {
		rest = "/metrics"
	}
	if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") {
		return Target{}, errors.New("no absolute path of a socket: " + example)
	}
	u, err := url.Parse("http://localhost" + rest)
	if err != nil || !strings.HasPrefix(rest, "/") {
		return Target{}, errors.New("no path after the socket: " + example)
	}
	return Target{URL: u, Socket: path}, nil
}

// Config configures the requests to one exporter.
type Config struct {
	Target
	Timeout time.Duration // limits one request, if shorter than the limit of the collection; 0 for no other limit
	// MaxBytes limits a page, as it comes from the exporter; 0 is 64 MiB, 1 GiB the maximum. Scrapers of older versions and of other
	// implementations get at most domain.MaxBody, after decompression.
	MaxBytes int
	Header   http.Header // sent with each request, in place of the caller's; unlike Client.HTTPHeaders, it may have Host and User-Agent

	// AllowParams are the parameters that a scrape may have. They replace those of the URL with the same name. A scrape with others is
	// rejected.
	AllowParams []string
	// Families selects the metric families that are passed on, by name.
	Families families.Rules

	// Client is the rest of a scrape_config of Prometheus that configures its HTTP client: credentials, TLS, proxy, headers. Unlike there,
	// redirects are not followed and HTTP/2 is not used unless it enables them; the zero value does not. Files are read for each
	// request, so that they can be replaced.
	Client config.HTTPClientConfig

	// Check rejects an answer that does not look like metrics, such as the login page of a proxy.
	Check bool
}

// ownHeaders are the headers that Config.Header must not have, with the reason.
var ownHeaders = map[string]string{
	"Accept-Encoding":   "the client decompresses answers",
	"Authorization":     "use a password file or a token file",
	"Connection":        "it is not an end-to-end header",
	"Content-Length":    "the request has no body",
	"Transfer-Encoding": "the request has no body",
}

// CheckHeader returns an error for a header that cannot be sent. The error does not quote the value.
func CheckHeader(name, value string) error {
	valid := func(r rune) bool {
		return r == '!' || r == '#' || r == '$' || r == '%' || r == '&' || r == '\'' || r == '*' || r == '+' || r == '-' || r == '.' ||
			r == '^' || r == '_' || r == '`' || r == '|' || r == '~' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !valid(r) }) {
		return fmt.Errorf("invalid header name %q", name)
	}
	name = http.CanonicalHeaderKey(name)
	if why := ownHeaders[name]; why != "" {
		return fmt.Errorf("%s cannot be set: %s", name, why)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("the value of %s has an invalid character", name)
	}
	return nil
}

func (c *Config) check() error {
	switch {
	case c.URL == nil:
		return errNoURL
	case c.Timeout < 0:
		return fmt.Errorf("want a timeout above zero, got %s", c.Timeout)
	case c.MaxBytes < 0 || c.MaxBytes > MaxPage:
		return fmt.Errorf("want a size limit of at most %d bytes, got %d", MaxPage, c.MaxBytes)
	}
	for name, values := range c.Header {
		for _, v := range values {
			if err := CheckHeader(name, v); err != nil {
				return err
			}
		}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	return c.checkClient()
}

var errNoURL = errors.New("want the URL of an exporter")

// exporter scrapes one target.
type exporter struct {
	cfg     Config
	client  *http.Client
	dropped *source.Dropped
}

// Source returns a source that scrapes the exporter. Unless c.Client enables it, redirects are not followed, proxies of the environment are
// not used, and neither is HTTP/2: everything that an exporter can send over HTTP/1.1 is bounded, but net/http answers pings and settings
// of HTTP/2 without a limit, between collections, too. Files for TLS are read here, so that errors in them are reported at the start.
func (c *Config) Source(loop host.Loop) (*source.Source, error) {
	if c == nil {
		return nil, errNoURL
	}
	cfg := c.clone()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	rt, err := cfg.roundTripper()
	if err != nil {
		return nil, err
	}
	x := &exporter{cfg: cfg, client: &http.Client{Transport: rt}}
	if !cfg.Client.FollowRedirects {
		x.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	s := source.New(loop, func(ctx context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
		if err := x.scrape(ctx, r, w); err != nil {
			return fmt.Errorf("scraping %s: %w", cfg.Target, err)
		}
		return nil
	})
	x.dropped = s.Dropped()
	return s, nil
}

// clone returns a copy to validate and use: package config sets fields of the structs behind its pointers, but a configuration stays as its
// caller wrote it, so that it can be compared with a later one.
func (c *Config) clone() Config {
	clone := *c
	if a := c.Client.Authorization; a != nil {
		own := *a
		clone.Client.Authorization = &own
	}
	if a := c.Client.OAuth2; a != nil {
		own := *a
		clone.Client.OAuth2 = &own
	}
	return clone
}

func (e *exporter) scrape(ctx context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
	if e.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.cfg.Timeout)
		defer cancel()
	}
	req, err := e.request(ctx, r)
	if _, rejected := errors.AsType[*domain.ScrapeError](err); rejected {
		return err
	}
	if err != nil {
		return unprepared(err)
	}
	res, err := e.client.Do(req)
	if err != nil {
		// The text of url.Error repeats the URL with its password.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return unreachable(err)
	}
	defer res.Body.Close()
	if res.StatusCode < http.StatusOK {
		// 101 is no answer to a GET without Upgrade, and the context does not end its body. The others are not HTTP, and scrapers accept
		// no status below 100.
		err := fmt.Errorf("exporter answered %03d", res.StatusCode)
		return source.Fail(err, domain.FaultExporter, "%s", err)
	}
	if r.Text {
		body, err := e.text(res)
		if err != nil {
			return err
		}
		return source.WritePage(w, r, scrape.Text(body))
	}
	return e.pass(res, r, w)
}

// unprepared classifies an error before the request is sent. It names no token URL, whose query may have a secret, and quotes no
// answer of the token server.
func unprepared(err error) error {
	what := "the client cannot read the credentials of the exporter"
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		what, err = "the token server gives the client no token for the exporter", fmt.Errorf("token server answered %s", clip(answer.Response.Status))
	} else if lost, ok := errors.AsType[*url.Error](err); ok {
		what, err = "no answer of the token server of the exporter", fmt.Errorf("token server: %w", lost.Err)
	}
	return source.Fail(err, domain.FaultClient, "%s", what)
}

// unreachable classifies an error without an answer.
func unreachable(err error) error {
	_, isUnprepared := errors.AsType[*unpreparedError](err)
	_, isCert := errors.AsType[*tls.CertificateVerificationError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	what := "no answer of the exporter"
	switch {
	case isUnprepared:
		return unprepared(err)
	case errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		what = "exporter refused the connection"
	case errors.Is(err, os.ErrNotExist):
		what = "the exporter's socket does not exist"
	case isCert:
		what = "the exporter's certificate is not valid"
	case isDNS:
		what = "the exporter's name cannot be resolved"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		what = "the exporter's address cannot be reached"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		what = "exporter closed the connection without an answer"
	}
	return source.Fail(err, domain.FaultExporter, "%s", what)
}

// pass passes an answer on as it is.
func (e *exporter) pass(res *http.Response, r domain.ScrapeRequest, w *scrapeio.Writer) error {
	head := source.HeadOf(res.StatusCode, res.Header)
	head.Length = res.ContentLength
	if limit := int64(e.cfg.MaxBytes); head.Length > limit {
		return tooLarge(head.Length, limit)
	}
	body := io.Reader(res.Body)
	if e.cfg.Check && res.StatusCode == http.StatusOK {
		var whole bytes.Buffer
		if err := e.copy(&whole, body); err != nil {
			return err
		}
		if err := e.check(head, whole.Bytes()); err != nil {
			return source.Fail(err, domain.FaultExporter, "%s", err)
		}
		body = &whole
	}
	if !e.cfg.Families.Empty() && res.StatusCode == http.StatusOK {
		page, err := e.filter(head, body)
		if err != nil {
			return err
		}
		defer page.Close()
		body, head.Coding, head.Length = page, "", -1
		r.Compress = r.Compress || coding.Accepts([]string{r.Field("Accept-Encoding")}, coding.Gzip)
	}
	out := source.NewCompressor(w, r)
	out.Head(head)
	if err := e.copy(out, body); err != nil {
		return err
	}
	return out.Close()
}

// copy copies a body, in full windows of the scrape.
func (e *exporter) copy(out io.Writer, body io.Reader) error {
	window := windows.Get().(*[ports.FirstWindow]byte)
	defer windows.Put(window)
	for total := int64(0); ; {
		n, err := fill(body, window[:])
		if total += int64(n); total > int64(e.cfg.MaxBytes) {
			return tooLarge(total, int64(e.cfg.MaxBytes))
		}
		if _, err := out.Write(window[:n]); err != nil {
			return err
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			if _, known := errors.AsType[*domain.ScrapeError](err); known {
				return err
			}
			return source.Fail(err, domain.FaultExporter, "exporter broke off after %d bytes", total)
		}
	}
}

// windows are the buffers in which bodies are read: the larger they are, the fewer system calls there are.
var windows = sync.Pool{New: func() any { return new([ports.FirstWindow]byte) }}

// fill reads until a buffer is full, or until the error that ends the body.
func fill(body io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = body.Read(b[n:])
		n += m
	}
	return n, err
}

// tooLarge is the error of a page of size bytes or more.
func tooLarge(size, limit int64) error {
	err := fmt.Errorf("metrics are %d bytes or more, the limit is %d", size, limit)
	return source.Fail(err, domain.FaultClient, "%s", err)
}

// check rejects text that does not look like metrics. What is not text, or in another coding than gzip, passes.
func (e *exporter) check(h domain.ScrapeHead, body []byte) error {
	if name := coding.Name(h.Coding); mediaType(h.ContentType) == protobufType || name != "" && name != coding.Gzip {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(decode(h.Coding, bytes.NewReader(body)), int64(e.cfg.MaxBytes)+1))
	if err == nil && len(text) > e.cfg.MaxBytes {
		err = tooLarge(int64(len(text)), int64(e.cfg.MaxBytes))
	}
	if err == nil {
		err = CheckText(text)
	}
	return err
}

// text reads the answer to a request for text.
func (e *exporter) text(res *http.Response) ([]byte, error) {
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", clip(res.Status))
	}
	if kind := mediaType(res.Header.Get("Content-Type")); kind == "text/html" || kind == protobufType {
		return nil, fmt.Errorf("answered with %s, which is not metrics text", kind)
	}
	body, err := read(res, min(e.cfg.MaxBytes, domain.MaxBody))
	if err == nil && e.cfg.Check {
		err = CheckText(body)
	}
	if err == nil && !e.cfg.Families.Empty() {
		body, err = e.filterText(res.Header.Get("Content-Type"), body)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// clip truncates the text of an exporter in an error: net/http accepts a status line as long as a header.
func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "") }

// read reads an answer of at most limit bytes.
func read(res *http.Response, limit int) ([]byte, error) {
	// One byte above the limit shows that the answer is too large; the rest need not be read.
	body, err := io.ReadAll(io.LimitReader(decode(res.Header.Get("Content-Encoding"), res.Body), int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(body) <= limit {
		return body, nil
	}
	size := len(body)
	if res.ContentLength > int64(size) && res.Header.Get("Content-Encoding") == "" {
		size = int(min(res.ContentLength, 1<<40))
	}
	if limit < domain.MaxBody {
		return nil, fmt.Errorf("metrics are %d bytes or more, the limit is %d", size, limit)
	}
	return nil, &domain.BodyTooLargeError{Size: size, Max: domain.MaxBody}
}

func (e *exporter) request(ctx context.Context, r domain.ScrapeRequest) (*http.Request, error) {
	target := *e.cfg.URL
	var err error
	if target.RawQuery, err = e.cfg.query(r.Query); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	if r.Text {
		req.Header.Set("Accept", accept)
		req.Header.Set("Accept-Encoding", "gzip")
		req.Header.Set("User-Agent", source.UserAgent)
	} else {
		source.PassHeader(req.Header, r)
		if c := &e.cfg.Client; c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil {
			req.Header.Del("Authorization") // the configured one is set later, where there is none
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(time.Until(deadline).Seconds(), 'f', 3, 64))
	}
	for name, values := range e.cfg.Header {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if e.cfg.Client.HTTPHeaders == nil {
		return req, nil
	}
	for name, h := range e.cfg.Client.HTTPHeaders.Headers {
		all, err := values(h)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			req.Header[http.CanonicalHeaderKey(name)] = all
		}
	}
	return req, nil
}
