package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

const (
	// accept asks exporters for text: OpenMetrics says by its last line that it is, so both can be told apart without
	// the header, which the wire does not carry. Protobuf is never asked for.
	accept = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1"
	agent  = "dhtprom-client"

	// maxHeader bounds the header of an answer, maxStatus the status line in an error, maxCredential a file with a password.
	maxHeader     = 64 << 10
	maxStatus     = 200
	maxCredential = 64 << 10

	// handshakeTimeout bounds a TLS handshake, which goes on when its request has ended.
	handshakeTimeout = 10 * time.Second
)

// Target is where an exporter is. It comes from whoever runs the client and from nobody else.
type Target struct {
	URL    *url.URL
	Socket string // the Unix socket that it listens on; empty for TCP
}

// String is the target without a password.
func (t Target) String() string {
	if t.Socket != "" {
		return "unix://" + t.Socket + ":" + t.URL.RequestURI()
	}
	return t.URL.Redacted()
}

const example = "want something like http://localhost:9100/metrics or unix:///run/exporter.sock:/metrics"

// ParseTarget reads where an exporter is: http://host:port/path, https://host:port/path, or
// unix:///path/of/socket:/path, where /path may be left out and is /metrics then.
func ParseTarget(text string) (Target, error) {
	if socket, ok := strings.CutPrefix(text, "unix://"); ok {
		return parseSocket(socket)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The parser's error quotes the URL, which may have a password.
		return Target{}, errors.New("is not a URL: " + example)
	case u.Scheme != "http" && u.Scheme != "https":
		return Target{}, errors.New("has no scheme that is known here: " + example)
	case u.Hostname() == "":
		return Target{}, errors.New("has no host: " + example)
	}
	return Target{URL: u}, nil
}

func parseSocket(text string) (Target, error) {
	path, rest, cut := strings.Cut(text, ":")
	if !cut {
		rest = "/metrics"
	}
	if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") {
		return Target{}, errors.New("has no absolute path of a socket: " + example)
	}
	u, err := url.Parse("http://localhost" + rest)
	if err != nil || !strings.HasPrefix(rest, "/") {
		return Target{}, errors.New("has no path after the socket: " + example)
	}
	return Target{URL: u, Socket: path}, nil
}

// HTTPConfig is an exporter and how it is asked.
type HTTPConfig struct {
	Target
	Timeout time.Duration // bounds the whole of one request, where that is less than the collection may take; 0 for no other bound
	// MaxBytes bounds the metrics, after decompression; 0 is domain.MaxBody, which nothing can be above.
	MaxBytes int
	Header   http.Header // sent with each request, in place of what is sent otherwise

	Username string // with PasswordFile: basic authentication
	// PasswordFile and BearerFile are read at each request, so that they can be replaced.
	PasswordFile string
	BearerFile   string
	TLS          TLSConfig

	// Check refuses an answer that does not look like metrics, as the login page of a proxy does.
	Check bool
}

// ownHeaders are those that HTTPConfig.Header may not have, with the reason.
var ownHeaders = map[string]string{
	"Accept-Encoding":   "compression is undone here",
	"Authorization":     "there is a setting with a file for it",
	"Connection":        "it is not end to end",
	"Content-Length":    "there is no body",
	"Transfer-Encoding": "there is no body",
}

// CheckHeader refuses a header that cannot be sent. It does not quote the value.
func CheckHeader(name, value string) error {
	valid := func(r rune) bool {
		return r == '!' || r == '#' || r == '$' || r == '%' || r == '&' || r == '\'' || r == '*' || r == '+' || r == '-' || r == '.' ||
			r == '^' || r == '_' || r == '`' || r == '|' || r == '~' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !valid(r) }) {
		return fmt.Errorf("%q is no name of a header", name)
	}
	name = http.CanonicalHeaderKey(name)
	if why := ownHeaders[name]; why != "" {
		return fmt.Errorf("%s cannot be set: %s", name, why)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("the value of %s has a character that headers cannot have", name)
	}
	return nil
}

func (c *HTTPConfig) check() error {
	switch {
	case c.URL == nil:
		return errors.New("want the URL of an exporter")
	case c.Timeout < 0:
		return fmt.Errorf("want a timeout above zero, got %s", c.Timeout)
	case c.MaxBytes < 0 || c.MaxBytes > domain.MaxBody:
		return fmt.Errorf("want a size limit of at most %d bytes, got %d", domain.MaxBody, c.MaxBytes)
	case (c.Username != "" || c.PasswordFile != "") && c.BearerFile != "":
		return errors.New("want one kind of authorization, got two")
	case (c.Username != "" || c.PasswordFile != "" || c.BearerFile != "") && c.URL.User != nil:
		return errors.New("want one kind of authorization, got one more in the URL")
	}
	for name, values := range c.Header {
		for _, v := range values {
			if err := CheckHeader(name, v); err != nil {
				return err
			}
		}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = domain.MaxBody
	}
	return nil
}

// exporter asks one target.
type exporter struct {
	cfg    HTTPConfig
	client *http.Client
}

// HTTP is a source that scrapes an exporter. It is asked as it is named; redirects are not followed, proxies of the
// environment not used, and the whole takes no longer than the collection may. It speaks HTTP/1.1, where all that an exporter can send
// is bounded: HTTP/2 has pings and settings, which net/http answers for as long as they come, between collections, too. Files for TLS are read once here, so
// that what is wrong with them is known at the start.
func HTTP(loop host.Loop, cfg HTTPConfig) (*Source, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	x := &exporter{cfg: cfg, client: &http.Client{
		Transport:     newTransport(cfg.dialer(), tlsConfig),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return &Source{loop: loop, collect: func(ctx context.Context) ([]byte, error) {
		body, err := x.scrape(ctx)
		if err != nil {
			return nil, fmt.Errorf("scraping %s: %w", cfg.Target, err)
		}
		return body, nil
	}}, nil
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

func newTransport(d dial, tlsConfig *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:     d,
		TLSClientConfig: tlsConfig,
		// A connection that is not ready when its request ends is for the next one, so the end of the request does not end it.
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           2,
		IdleConnTimeout:        2 * time.Minute,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // it is undone here, within a bound
	}
}

// dialer connects to the target and to nothing else. A name that leads to a link-local address is refused: no exporter
// has one under a name, but the metadata services of clouds are there, credentials and all.
func (c *HTTPConfig) dialer() dial {
	if c.Socket != "" {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		}
	}
	var d net.Dialer
	if _, err := netip.ParseAddr(c.URL.Hostname()); err != nil {
		d.Control = refuseLinkLocal
	}
	return d.DialContext
}

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err == nil && a.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("the name leads to the link-local address %s; give the address itself if that is meant", a.Addr())
	}
	return nil
}

func (e *exporter) scrape(ctx context.Context) ([]byte, error) {
	if e.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.cfg.Timeout)
		defer cancel()
	}
	req, err := e.request(ctx)
	if err != nil {
		return nil, err
	}
	res, err := e.client.Do(req)
	if err != nil {
		// Its own text repeats the URL, password and all.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", clip(res.Status))
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/html" || kind == "application/vnd.google.protobuf" {
		return nil, fmt.Errorf("answered with %s, which is no metrics text", kind)
	}
	body, err := read(res, e.cfg.MaxBytes)
	if err == nil && e.cfg.Check {
		err = CheckText(body)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// clip bounds the text of an exporter in an error: net/http takes a status line as long as a header.
func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "") }

// read reads an answer of at most limit bytes.
func read(res *http.Response, limit int) ([]byte, error) {
	// One byte more than may be sent tells that it is too much; the rest need not be read.
	body, err := io.ReadAll(io.LimitReader(decode(res), int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(body) <= limit {
		return body, nil
	}
	size := len(body)
	if res.ContentLength > int64(size) {
		size = int(min(res.ContentLength, 1<<40))
	}
	if limit < domain.MaxBody {
		return nil, fmt.Errorf("metrics are %d bytes or more, the limit is %d", size, limit)
	}
	return nil, &domain.BodyTooLargeError{Size: size, Max: domain.MaxBody}
}

func (e *exporter) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.cfg.URL.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", agent)
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
	switch {
	case e.cfg.BearerFile != "":
		token, err := readCredential(e.cfg.BearerFile)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	case e.cfg.Username != "" || e.cfg.PasswordFile != "":
		password := ""
		if e.cfg.PasswordFile != "" {
			if password, err = readCredential(e.cfg.PasswordFile); err != nil {
				return nil, err
			}
		}
		req.SetBasicAuth(e.cfg.Username, password)
	}
	return req, nil
}

// CheckCredentials reads the files with passwords and tokens and says what is wrong with one. It is for those who want to
// know before the first scrape.
func (c *HTTPConfig) CheckCredentials() error {
	for _, path := range []string{c.PasswordFile, c.BearerFile} {
		if path == "" {
			continue
		}
		if _, err := readCredential(path); err != nil {
			return err
		}
	}
	return nil
}

const credential = "want a file with one password or token, in UTF-8 and on one line"

// readCredential reads a file with one password or token. White space around it is not part of it, nor is the byte order
// mark that editors of Windows write.
func readCredential(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return "", fmt.Errorf("%s is not a regular file: %s", path, credential)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(b), "\uFEFF"))
	switch {
	case len(b) > maxCredential:
		return "", fmt.Errorf("%s is larger than %d bytes: %s", path, maxCredential, credential)
	case !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0: // UTF-16, as PowerShell writes it, is one or the other
		return "", fmt.Errorf("%s is not UTF-8: %s", path, credential)
	case text == "":
		return "", fmt.Errorf("%s is empty: %s", path, credential)
	case strings.ContainsAny(text, "\r\n"):
		return "", fmt.Errorf("%s has several lines: %s", path, credential)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("%s has control characters, which a header cannot have: %s", path, credential)
	}
	return text, nil
}
