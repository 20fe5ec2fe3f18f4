package exporter

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/config"

	"github.com/dhtprom/dhtprom/adapters/source"
)

// tokenTimeout bounds a request to a token server: package oauth2 sends it without the context of the scrape.
const tokenTimeout = 10 * time.Second

// oauth adds a token to the requests to an exporter. One goroutine at a time gets it from the round tripper of package config, for all
// scrapes that wait; these stop waiting at their deadlines.
type oauth struct {
	next   http.RoundTripper
	target *Config
	tokens http.RoundTripper // answers requests instead of sending them

	mu      sync.Mutex
	current *fetch
}

// fetch is one attempt to get a token.
type fetch struct {
	done          chan struct{}
	authorization string
	err           error
}

func newOAuth(c *Config, next http.RoundTripper) *oauth {
	return &oauth{next: next, target: c, tokens: config.NewOAuth2RoundTripper(oauthSecret(c.Client.OAuth2), c.Client.OAuth2, answerer{},
		config.WithDialContextFunc(c.dialToken), config.WithKeepAlivesDisabled())}
}

// answerer answers each request without sending it.
type answerer struct{}

// RoundTrip implements http.RoundTripper.
func (answerer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{Request: r, Body: http.NoBody}, nil
}

// RoundTrip implements http.RoundTripper. A request that was redirected to another host gets no token.
func (o *oauth) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Hostname() != o.target.URL.Hostname() {
		return o.next.RoundTrip(r)
	}
	f := o.fetch()
	select {
	case <-f.done:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", f.authorization)
	return o.next.RoundTrip(r)
}

// CloseIdleConnections closes those to the exporter; those to the token server are not kept.
func (o *oauth) CloseIdleConnections() {
	if next, ok := o.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// fetch returns the attempt that is running, or starts one. It ends at once if there is a valid token.
func (o *oauth) fetch() *fetch {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current != nil {
		return o.current
	}
	f := &fetch{done: make(chan struct{})}
	o.current = f
	go func() {
		f.authorization, f.err = o.token()
		o.mu.Lock()
		o.current = nil
		o.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (o *oauth) token() (string, error) {
	probe, err := http.NewRequest(http.MethodGet, o.target.URL.String(), nil)
	if err != nil {
		return "", err
	}
	probe.Header.Set("User-Agent", source.UserAgent)
	res, err := o.tokens.RoundTrip(probe)
	if err != nil {
		return "", err
	}
	return res.Request.Header.Get("Authorization"), res.Body.Close()
}

// dialToken connects to the token server. Each connection serves one request.
func (c *Config) dialToken(ctx context.Context, network, address string) (net.Conn, error) {
	end := time.Now().Add(tokenTimeout)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := c.dialTCP(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(end)
}
