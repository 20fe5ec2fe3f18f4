package pipes

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// proxy is an HTTP proxy.
type proxy struct {
	addr   string
	tls    *tls.Config // nil for a connection in the clear
	header http.Header
}

// newProxy returns the proxy of a URL. secure has the certificates to trust; nil for the system's.
func newProxy(u *url.URL, secure *tls.Config) (*proxy, error) {
	ports := map[string]string{"http": "80", "https": "443"}
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	if ports[u.Scheme] == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("pipes: want a proxy as http://HOST:PORT or https://HOST:PORT, got %q", u.Redacted())
	}
	p := &proxy{addr: net.JoinHostPort(u.Hostname(), port), header: http.Header{"User-Agent": {"dhtprom"}}}
	if u.Scheme == "https" {
		p.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		if secure != nil {
			p.tls.RootCAs = secure.RootCAs
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(u.User.Username(), password)
		p.header.Set("Proxy-Authorization", r.Header.Get("Authorization"))
	}
	return p, nil
}

// connect makes the proxy connect to a server.
func (p *proxy) connect(ctx context.Context, conn net.Conn, server string) (net.Conn, error) {
	if p.tls != nil {
		secure := tls.Client(conn, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: server}, Host: server, Header: p.header}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	buffer := bufio.NewReader(limited)
	answer, err := http.ReadResponse(buffer, request)
	if err != nil {
		if limited.N <= 0 {
			return nil, fmt.Errorf("the answer has more than %d bytes", maxProxyAnswer)
		}
		return nil, fmt.Errorf("the answer is no HTTP: %w", err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, refusal(answer)
	}
	return &readAhead{Conn: conn, first: buffer}, nil
}

// refusal returns the error of a proxy that does not connect.
func refusal(answer *http.Response) error {
	status := answer.Status // may be of any length, with control characters
	if len(status) > proxyStatus || strings.ContainsFunc(status, func(r rune) bool { return !unicode.IsPrint(r) }) {
		status = fmt.Sprintf("%q", status[:min(len(status), proxyStatus)])
	}
	switch answer.StatusCode {
	case http.StatusProxyAuthRequired:
		scheme, _, _ := strings.Cut(answer.Header.Get("Proxy-Authenticate"), " ")
		scheme = scheme[:min(len(scheme), proxyStatus)]
		return fmt.Errorf("%s: it wants user and password by %q; basic is supported, as http://user:password@host:port", status, scheme)
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: it does not allow CONNECT to this host and port; many proxies allow port 443 only", status)
	}
	return errors.New(status)
}

// readAhead is a connection of which some bytes were read already.
type readAhead struct {
	net.Conn
	first *bufio.Reader // nil when they are used up
}

func (r *readAhead) Read(b []byte) (int, error) {
	if r.first != nil {
		if r.first.Buffered() > 0 {
			return r.first.Read(b)
		}
		r.first = nil
	}
	return r.Conn.Read(b)
}
