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
	// accept requests text. OpenMetrics is recognizable by its last line, so the two formats can be distinguished without the
	// header, which the wire does not carry. Protobuf is never requested.
	accept = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1"
	agent  = "dhtprom-client"

	// maxHeader bounds the header of an answer, maxStatus the status line in an error, maxCredential a file with a password.
	maxHeader     = 64 << 10
	maxStatus     = 200
	maxCredential = 64 << 10

	// handshakeTimeout bounds a TLS handshake, which continues after its request has ended.
	handshakeTimeout = 10 * time.Second
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

// HTTPConfig configures the requests to one exporter.
type HTTPConfig struct {
	Target
	Timeout time.Duration // limits one request, if shorter than the limit of the collection; 0 for no other limit
	// MaxBytes limits the metrics, after decompression; 0 is domain.MaxBody, the maximum.
	MaxBytes int
	Header   http.Header // sent with each request, in place of the default headers

	Username string // with PasswordFile: basic authentication
	// PasswordFile and BearerFile are read for each request, so that they can be replaced.
	PasswordFile string
	BearerFile   string
	TLS          TLSConfig

	// Check rejects an answer that does not look like metrics, such as the login page of a proxy.
	Check bool
}

// ownHeaders are the headers that HTTPConfig.Header must not have, with the reason.
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

// exporter scrapes one target.
type exporter struct {
	cfg    HTTPConfig
	client *http.Client
}

// HTTP returns a source that scrapes an exporter. Redirects are not followed, and proxies of the environment are not used.
// It uses HTTP/1.1, where everything that an exporter can send is bounded: net/http answers pings and settings of HTTP/2
// without a limit, between collections, too. Files for TLS are read here, so that errors in them are reported at the start.
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
		// A connection that is not ready when its request ends serves the next one, so it needs a timeout of its own.
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           2,
		IdleConnTimeout:        2 * time.Minute,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // decode decompresses, within a limit
	}
}

// dialer returns a function that connects to the target only. A name that resolves to a link-local address is rejected:
// exporters have no such names, and the metadata services of clouds serve credentials on such addresses.
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
		return fmt.Errorf("the name resolves to the link-local address %s; use the address itself if that is intended", a.Addr())
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
		// The text of url.Error repeats the URL with its password.
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
		return nil, fmt.Errorf("answered with %s, which is not metrics text", kind)
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

// clip truncates the text of an exporter in an error: net/http accepts a status line as long as a header.
func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "") }

// read reads an answer of at most limit bytes.
func read(res *http.Response, limit int) ([]byte, error) {
	// One byte above the limit shows that the answer is too large; the rest need not be read.
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

// CheckCredentials reads the files with passwords and tokens and returns the first error, for a check before the first
// scrape.
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

// readCredential reads a file with one password or token. It trims white space and a byte order mark, as Windows editors
// write.
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
		return "", fmt.Errorf("%s has control characters, which are invalid in a header: %s", path, credential)
	}
	return text, nil
}
