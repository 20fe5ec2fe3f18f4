package exporter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/common/config"
)

const (
	// handshakeTimeout bounds a TLS handshake, which continues after its request has ended.
	handshakeTimeout = 10 * time.Second
	// pingTimeout is the silence after which a connection of HTTP/2 is probed, as in package config.
	pingTimeout = time.Minute
)

// checkClient returns the first error of the configuration of the HTTP client, without reading files.
func (c *Config) checkClient() error {
	client := &c.Client
	if err := client.Validate(); err != nil {
		return err
	}
	basic, auth, oauth := client.BasicAuth, client.Authorization, client.OAuth2
	if oauth != nil {
		if err := oauth.ProxyConfig.Validate(); err != nil {
			return fmt.Errorf("oauth2: %w", err)
		}
	}
	switch {
	case (basic != nil || auth != nil || oauth != nil) && c.URL.User != nil:
		return errors.New("want one kind of authorization, got one more in the URL")
	case basic != nil && basic.UsernameRef+basic.PasswordRef != "", auth != nil && auth.CredentialsRef != "",
		oauth != nil && oauth.ClientSecretRef+oauth.ClientCertificateKeyRef != "":
		return errors.New("cannot use secret ref without manager")
	case c.Socket != "" && (client.ProxyFromEnvironment || client.ProxyURL.URL != nil):
		return errors.New("a Unix socket cannot be reached through a proxy")
	}
	if client.HTTPHeaders == nil {
		return nil
	}
	for name, h := range client.HTTPHeaders.Headers {
		if err := CheckHeader(name, ""); err != nil {
			return err
		}
		for _, v := range inline(h) {
			if err := CheckHeader(name, v); err != nil {
				return err
			}
		}
		for other := range c.Header {
			if http.CanonicalHeaderKey(name) == http.CanonicalHeaderKey(other) {
				return fmt.Errorf("%s is set by headers and by http_headers", http.CanonicalHeaderKey(name))
			}
		}
	}
	return nil
}

// roundTripper returns what sends the requests: the layers that config.NewRoundTripperFromConfig stacks, on a transport with limits for
// headers and connections and without metrics in the default registry, and with credential as the reader of files.
func (c *Config) roundTripper() (http.RoundTripper, error) {
	client := &c.Client
	tlsConfig, err := config.NewTLSConfig(&client.TLSConfig)
	if err != nil {
		return nil, err
	}
	if client.OAuth2 != nil {
		if _, err := config.NewTLSConfig(&client.OAuth2.TLSConfig); err != nil {
			return nil, fmt.Errorf("oauth2: %w", err)
		}
	}
	files := config.TLSRoundTripperSettings{
		CA: watched(client.TLSConfig.CAFile), Cert: watched(client.TLSConfig.CertFile), Key: watched(client.TLSConfig.KeyFile),
	}
	rt, err := config.NewTLSRoundTripper(tlsConfig, files, func(t *tls.Config) (http.RoundTripper, error) {
		transport := newTransport(c.dialer(), t)
		transport.Proxy, transport.ProxyConnectHeader = client.Proxy(), client.GetProxyConnectHeader()
		if client.EnableHTTP2 {
			transport.Protocols, transport.HTTP2 = &http.Protocols{}, &http.HTTP2Config{SendPingTimeout: pingTimeout}
			transport.Protocols.SetHTTP1(true)
			transport.Protocols.SetHTTP2(true)
		}
		return c.authorizer(transport), nil
	})
	if err != nil {
		return nil, err
	}
	return &preparer{rt}, nil
}

// authorizer adds the credentials of the target to requests.
func (c *Config) authorizer(next http.RoundTripper) http.RoundTripper {
	switch client := &c.Client; {
	case client.Authorization != nil:
		a := client.Authorization
		return config.NewAuthorizationCredentialsRoundTripper(a.Type, secret(a.Credentials, a.CredentialsFile), next)
	case client.BasicAuth != nil:
		a := client.BasicAuth
		return config.NewBasicAuthRoundTripper(secret(config.Secret(a.Username), a.UsernameFile), secret(a.Password, a.PasswordFile), next)
	case client.OAuth2 != nil:
		return newOAuth(c, next)
	}
	return next
}

// preparer marks the errors of requests that were not sent: a file cannot be read, or a token server gives no token.
type preparer struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (p *preparer) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := false
	trace := &httptrace.ClientTrace{GetConn: func(string) { sent = true }}
	res, err := p.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil && !sent && r.Context().Err() == nil {
		err = &unpreparedError{err}
	}
	return res, err
}

type unpreparedError struct{ error }

func (e *unpreparedError) Unwrap() error { return e.error }

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

// dialer returns a function that connects to the target, to its proxy, or to where the target redirects.
func (c *Config) dialer() dial {
	if c.Socket != "" {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		}
	}
	return c.dialTCP
}

// dialTCP rejects link-local addresses, other than those that the configuration contains: exporters have no names that resolve to
// them, redirects should not lead to them, and the metadata services of clouds serve credentials on them.
func (c *Config) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if host, _, _ := net.SplitHostPort(address); !isAddress(host) || !slices.Contains(c.hosts(), host) {
		d.Control = refuseLinkLocal
	}
	return d.DialContext(ctx, network, address)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// hosts returns the hosts that the configuration contains.
func (c *Config) hosts() []string {
	hosts := []string{c.URL.Hostname()}
	if proxy := c.Client.ProxyURL.URL; proxy != nil {
		hosts = append(hosts, proxy.Hostname())
	}
	if oauth := c.Client.OAuth2; oauth != nil {
		if u, err := url.Parse(oauth.TokenURL); err == nil {
			hosts = append(hosts, u.Hostname())
		}
		if proxy := oauth.ProxyURL.URL; proxy != nil {
			hosts = append(hosts, proxy.Hostname())
		}
	}
	return hosts
}

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err == nil && a.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("the name resolves to the link-local address %s; use the address itself if that is intended", a.Addr())
	}
	return nil
}
