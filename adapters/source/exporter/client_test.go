package exporter_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/domain"
)

// quiet starts a server that logs nothing.
func quiet(t *testing.T, h http.HandlerFunc, change func(*httptest.Server)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if change != nil {
		change(server)
	}
	if server.TLS == nil {
		server.Start()
	} else {
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return server
}

// with returns a source for an exporter, with a configuration of its HTTP client.
func with(t *testing.T, l loop, target string, client config.HTTPClientConfig) *source.Source {
	t.Helper()
	return scrapes(t, l, target, func(c *exporter.Config) { c.Client = client })
}

func overwrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCredentialsOfEachKindReachTheExporter(t *testing.T) {
	var seen string
	server := quiet(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }, nil)
	l := make(loop, 8)
	username, password := write(t, "username", []byte("you\n")), write(t, "password", []byte("hunter3\n"))
	for want, client := range map[string]config.HTTPClientConfig{
		"Basic bWU6aHVudGVyMg==":  {BasicAuth: &config.BasicAuth{Username: "me", Password: "hunter2"}},
		"Basic eW91Omh1bnRlcjM=":  {BasicAuth: &config.BasicAuth{UsernameFile: username, PasswordFile: password}},
		"Bearer hunter2":          {Authorization: &config.Authorization{Credentials: "hunter2"}},
		"Token hunter2":           {Authorization: &config.Authorization{Type: "Token", Credentials: "hunter2"}},
		"Bearer hunter3":          {Authorization: &config.Authorization{CredentialsFile: password}},
		"Bearer of the old field": {BearerToken: "of the old field"},
		"Bearer you":              {BearerTokenFile: username},
		"Bearer of the caller":    {},
	} {
		seen = "nothing"
		if _, err := get(l, with(t, l, server.URL, client), as("Authorization", "Bearer of the caller")); err != nil || seen != want {
			t.Errorf("%q, %v; want %q", seen, err, want)
		}
	}
}

// tokens is a token server that accepts one client secret, and counts the tokens.
func tokens(t *testing.T, accept *string) *httptest.Server {
	given := 0
	return quiet(t, func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id != "me" || secret != *accept || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "metrics" || r.FormValue("resource") != "x" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "wrong secret %s"}`, secret)
			return
		}
		given++
		if r.UserAgent() != "dhtprom-client" || !r.Close {
			t.Errorf("asked by %q, the connection ends: %v", r.UserAgent(), r.Close)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": "token %d", "token_type": "Bearer"}`, given)
	}, nil)
}

func TestTokensOfOAuth2ReachTheExporter(t *testing.T) {
	var seen string
	exporter := quiet(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }, nil)
	accept, file := "hunter2", write(t, "secret", []byte("hunter2\n"))
	server := tokens(t, &accept)
	oauth := func() *config.OAuth2 {
		return &config.OAuth2{
			ClientID: "me", TokenURL: server.URL + "/token?key=hunter4", Scopes: []string{"metrics"}, EndpointParams: map[string]string{"resource": "x"},
		}
	}
	l := make(loop, 8)
	inline, ofFile := oauth(), oauth()
	inline.ClientSecret, ofFile.ClientSecretFile = "hunter2", file
	s := with(t, l, exporter.URL, config.HTTPClientConfig{OAuth2: inline})
	changing := with(t, l, exporter.URL, config.HTTPClientConfig{OAuth2: ofFile})
	for _, step := range []struct {
		source *source.Source
		want   string
	}{{s, "Bearer token 1"}, {s, "Bearer token 1"}, {changing, "Bearer token 2"}} {
		if _, err := get(l, step.source, as()); err != nil || seen != step.want {
			t.Errorf("%q, %v; want %q", seen, err, step.want)
		}
	}
	accept, seen = "hunter3", ""
	overwrite(t, file, "hunter3\n")
	if _, err := get(l, changing, as()); err != nil || seen != "Bearer token 3" {
		t.Errorf("with another secret: %q, %v", seen, err)
	}
	// Neither secret, nor URL, nor the answer of the token server is in an error.
	for _, step := range []struct {
		content, want string
	}{{"hunter9", "token server answered 401 Unauthorized"}, {"", "is empty"}} {
		overwrite(t, file, step.content)
		_, err := get(l, changing, as())
		checkUnprepared(t, err, step.want)
	}
	server.Close()
	overwrite(t, file, "hunter8")
	_, err := get(l, changing, as())
	checkUnprepared(t, err, "connection refused")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err = get(l, changing, as())
	checkUnprepared(t, err, "no such file")
}

// checkUnprepared checks the error of a request that was not sent.
func checkUnprepared(t *testing.T, err error, want string) {
	t.Helper()
	reported, ok := errors.AsType[*domain.ScrapeError](err)
	if !ok || reported.Fault != domain.FaultClient || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") ||
		strings.ContainsAny(reported.Reason, "/:") {
		t.Errorf("%v, reported %+v; want %q", err, reported, want)
	}
}

func TestTokensOfOAuth2BySignature(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	var seen string
	exporter := quiet(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }, nil)
	server := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Count(r.FormValue("assertion"), ".") != 2 {
			t.Errorf("assertion %q", r.FormValue("assertion"))
		}
		_, _ = io.WriteString(w, `{"access_token": "signed", "token_type": "Bearer"}`)
	}, nil)
	l := make(loop, 8)
	for name, change := range map[string]func(*config.OAuth2){
		"inline": func(o *config.OAuth2) { o.ClientCertificateKey = config.Secret(text) },
		"file":   func(o *config.OAuth2) { o.ClientCertificateKeyFile = write(t, "key.pem", text) },
	} {
		o := &config.OAuth2{ClientID: "me", TokenURL: server.URL, GrantType: "urn:ietf:params:oauth:grant-type:jwt-bearer"}
		change(o)
		seen = ""
		if _, err := get(l, with(t, l, exporter.URL, config.HTTPClientConfig{OAuth2: o}), as()); err != nil || seen != "Bearer signed" {
			t.Errorf("%s: %q, %v", name, seen, err)
		}
	}
}

// A token server that accepts connections and never answers accumulates neither them nor scrapes.
func TestTokenServersThatHangAreLeft(t *testing.T) {
	t.Parallel()
	asked, closed := make(chan bool, 10), make(chan bool, 10)
	server := quiet(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- true
		<-r.Context().Done()
		closed <- true
	}, nil)
	l := make(loop, 8)
	s := with(t, l, "http://127.0.0.1:1/", config.HTTPClientConfig{OAuth2: &config.OAuth2{ClientID: "me", ClientSecret: "hunter2", TokenURL: server.URL}})
	r := as()
	r.Within = 50 * time.Millisecond
	for range 3 {
		began := time.Now()
		_, err := get(l, s, r)
		if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || reported.Fault != domain.FaultTime || time.Since(began) > 5*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	}
	if <-asked; len(asked) > 0 {
		t.Error("asked again while a request runs")
	}
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Error("the connection stays open")
	}
}

// Scrapes share an attempt to get a token.
func TestScrapesShareARequestForAToken(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int64
	server := quiet(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-release
		w.WriteHeader(http.StatusUnauthorized)
	}, nil)
	l := make(loop, 8)
	s := with(t, l, "http://127.0.0.1:1/", config.HTTPClientConfig{OAuth2: &config.OAuth2{ClientID: "me", ClientSecret: "hunter2", TokenURL: server.URL}})
	for range 4 {
		if _, err := get(l, s, domain.ScrapeRequest{Within: 20 * time.Millisecond}); err == nil {
			t.Error("answered without a token")
		}
	}
	close(release)
	_, err := get(l, s, as())
	checkUnprepared(t, err, "401 Unauthorized")
	if n := asked.Load(); n > 4 { // an attempt is two requests: package oauth2 tries two styles of authentication
		t.Errorf("%d requests to the token server", n)
	}
}

// exporterTLS starts an exporter that requires a client certificate of one authority.
func exporterTLS(t *testing.T, pair tls.Certificate, clientCert string, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, clientCert)))
	return quiet(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "asked_over %d\n", r.ProtoMajor) }, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		if change != nil {
			change(s.TLS)
		}
	})
}

func TestTLSIsConfiguredInline(t *testing.T) {
	pair, serverCert, _ := certificate(t)
	_, clientCert, clientKey := certificate(t)
	server := exporterTLS(t, pair, clientCert, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	l := make(loop, 8)
	for name, c := range map[string]struct {
		change func(*config.HTTPClientConfig)
		want   string // "" for an error
	}{
		"all inline":   {func(*config.HTTPClientConfig) {}, "asked_over 1\n"},
		"HTTP/2":       {func(c *config.HTTPClientConfig) { c.EnableHTTP2 = true }, "asked_over 2\n"},
		"a version":    {func(c *config.HTTPClientConfig) { c.TLSConfig.MaxVersion = config.TLSVersions["TLS12"] }, "asked_over 1\n"},
		"min version":  {func(c *config.HTTPClientConfig) { c.TLSConfig.MinVersion = config.TLSVersions["TLS13"] }, ""},
		"max version":  {func(c *config.HTTPClientConfig) { c.TLSConfig.MaxVersion = config.TLSVersions["TLS11"] }, ""},
		"no authority": {func(c *config.HTTPClientConfig) { c.TLSConfig.CA = "" }, ""},
	} {
		client := config.HTTPClientConfig{TLSConfig: config.TLSConfig{
			CA: read(t, serverCert), Cert: read(t, clientCert), Key: config.Secret(read(t, clientKey)), ServerName: "exporter.example",
		}}
		c.change(&client)
		p, err := get(l, with(t, l, server.URL, client), as())
		if (err == nil) != (c.want != "") || string(p.Body) != c.want {
			t.Errorf("%s: %q, %v", name, p.Body, err)
		}
	}
}

// Certificates that were replaced on disk are used by the next scrape, which has a connection of its own.
func TestRotatedCertificatesTakeEffectAtTheNextScrape(t *testing.T) {
	firstPair, firstCA, _ := certificate(t)
	secondPair, secondCA, _ := certificate(t)
	_, firstCert, firstKey := certificate(t)
	_, secondCert, secondKey := certificate(t)
	pairs := map[string]tls.Certificate{"first": firstPair, "second": secondPair}
	serving, seen := "first", []byte(nil)
	var opened atomic.Int64
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, firstCert) + read(t, secondCert)))
	server := quiet(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.TLS.PeerCertificates[0].Raw }, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair := pairs[serving]
			return &pair, nil
		}}
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
	})
	ca, cert, key := write(t, "ca.pem", []byte(read(t, firstCA))), write(t, "cert.pem", []byte(read(t, firstCert))), write(t, "key.pem", []byte(read(t, firstKey)))
	l := make(loop, 8)
	s := with(t, l, server.URL, config.HTTPClientConfig{
		EnableHTTP2: true, // this exporter has HTTP/1.1 only
		TLSConfig:   config.TLSConfig{CAFile: ca, CertFile: cert, KeyFile: key, ServerName: "exporter.example"},
	})
	shows := func(path string) bool {
		block, _ := pem.Decode([]byte(read(t, path)))
		return bytes.Equal(seen, block.Bytes)
	}
	for range 2 {
		if _, err := get(l, s, as()); err != nil || !shows(firstCert) {
			t.Fatal(err)
		}
	}
	if opened.Load() != 1 {
		t.Errorf("%d connections for two scrapes", opened.Load())
	}
	for _, half := range []struct{ path, content, before string }{{key, secondKey, firstKey}, {cert, secondCert, firstCert}} {
		overwrite(t, half.path, read(t, half.content))
		if _, err := get(l, s, as()); err == nil {
			t.Errorf("%s has changed alone, and the old connection is used", half.path)
		}
		overwrite(t, half.path, read(t, half.before))
		if _, err := get(l, s, as()); err != nil {
			t.Error(err)
		}
	}
	overwrite(t, cert, read(t, secondCert))
	overwrite(t, key, read(t, secondKey))
	if _, err := get(l, s, as()); err != nil || !shows(secondCert) {
		t.Errorf("another client certificate: %v, shown: %v", err, shows(secondCert))
	}
	serving = "second"
	overwrite(t, ca, read(t, secondCA))
	if _, err := get(l, s, as()); err != nil {
		t.Errorf("another authority: %v", err)
	}
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	_, err := get(l, s, as())
	checkUnprepared(t, err, "no such file")
}

// proxy forwards requests, and connects to every host as if it were the one at an address.
func proxy(t *testing.T, exporter *httptest.Server) (server *httptest.Server, seen *[]string) {
	seen = new([]string)
	address := exporter.Listener.Addr().String()
	return quiet(t, func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
		*seen = append(*seen, fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("X-Site"), user))
		if r.Method != http.MethodConnect {
			fmt.Fprintln(w, "through_proxy 1")
			return
		}
		far, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}, nil), seen
}

func TestProxiesAreUsedWhereConfigured(t *testing.T) {
	pair, ca, _ := certificate(t)
	exporter := quiet(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") }, func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	})
	plain := quiet(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "direct 1") }, nil)
	server, seen := proxy(t, exporter)
	withUser := parsed(t, server.URL)
	withUser.User = url.UserPassword("me", "hunter2")
	toProxy := config.ProxyConfig{ProxyURL: config.URL{URL: withUser}}
	connecting := toProxy
	connecting.ProxyConnectHeader = config.ProxyHeader{"X-Site": {"berlin"}}
	excepted := toProxy
	excepted.NoProxy = "127.0.0.1"
	t.Setenv("HTTP_PROXY", server.URL)
	l := make(loop, 8)
	for name, c := range map[string]struct {
		target string
		proxy  config.ProxyConfig
		body   string
		seen   []string
	}{
		"http":             {"http://exporter.example/metrics", toProxy, "through_proxy 1\n", []string{"GET http://exporter.example/metrics  Basic"}},
		"https":            {"https://exporter.example/metrics", connecting, "up 1\n", []string{"CONNECT exporter.example:443 berlin Basic"}},
		"not for this":     {plain.URL, excepted, "direct 1\n", nil},
		"environment":      {"http://exporter.example/metrics", config.ProxyConfig{ProxyFromEnvironment: true}, "through_proxy 1\n", []string{"GET http://exporter.example/metrics  "}},
		"none by default":  {"http://name.invalid/metrics", config.ProxyConfig{}, "", nil},
		"a target nearby ": {plain.URL, config.ProxyConfig{ProxyFromEnvironment: true}, "direct 1\n", nil},
	} {
		*seen = nil
		p, err := get(l, with(t, l, c.target, config.HTTPClientConfig{ProxyConfig: c.proxy, TLSConfig: config.TLSConfig{CAFile: ca}}), as())
		if string(p.Body) != c.body || (err == nil) != (c.body != "") || !slices.Equal(*seen, c.seen) {
			t.Errorf("%s: %q, the proxy saw %q, %v", name, p.Body, *seen, err)
		}
	}
	server.Close()
	_, err := get(l, with(t, l, "http://exporter.example/", config.HTTPClientConfig{ProxyConfig: toProxy}), as())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// Headers of the configuration win over those of the caller.
func TestHeadersOfTheConfigurationWin(t *testing.T) {
	var seen http.Header
	server := quiet(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }, nil)
	file := write(t, "value", []byte(" of the file\n"))
	l := make(loop, 8)
	s := scrapes(t, l, server.URL, func(c *exporter.Config) {
		c.Header = http.Header{"user-agent": {"operator"}}
		c.Client.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{
			"accept": {Values: []string{"a/b", "c/d"}}, "X-Key": {Values: []string{"1"}, Secrets: []config.Secret{"hunter2"}, Files: []string{file}}, "Tracestate": {},
		}}
	})
	r := as("Accept", "text/plain", "User-Agent", "Prometheus", "Traceparent", "00-1", "Tracestate", "a=b")
	for name, want := range map[string][]string{
		"Accept": {"a/b", "c/d"}, "X-Key": {"1", "hunter2", "of the file"}, "User-Agent": {"operator"}, "Traceparent": {"00-1"}, "Tracestate": {"a=b"},
	} {
		if _, err := get(l, s, r); err != nil || !slices.Equal(seen[name], want) {
			t.Errorf("%s: %q, %v; want %q", name, seen[name], err, want)
		}
	}
	overwrite(t, file, "changed")
	if _, err := get(l, s, r); err != nil || !slices.Equal(seen["X-Key"], []string{"1", "hunter2", "changed"}) {
		t.Errorf("%q, %v", seen["X-Key"], err)
	}
	overwrite(t, file, "hunter2\nhunter3")
	_, err := get(l, s, r)
	checkUnprepared(t, err, "several lines")
}

func TestRedirectsAreFollowedWhereConfigured(t *testing.T) {
	var elsewhere, seen string
	other := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		fmt.Fprintln(w, "other 1")
	}, nil)
	elsewhere = strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	server := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token": "x", "token_type": "Bearer"}`)
		case "/metrics":
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/elsewhere":
			fmt.Fprintln(w, "up 1")
		}
	}, nil)
	l := make(loop, 8)
	for to, want := range map[string]string{"/elsewhere": "up 1\n", "/circle": "stopped after 10 redirects", "http://169.254.169.254/": "link-local address 169.254.169.254", elsewhere: "other 1"} {
		s := with(t, l, server.URL+"/metrics?to="+url.QueryEscape(to), config.HTTPClientConfig{
			FollowRedirects: true, OAuth2: &config.OAuth2{ClientID: "me", TokenURL: server.URL + "/token"},
		})
		p, err := get(l, s, as())
		if got := string(p.Body) + fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v", to, p.Body, err)
		}
	}
	if seen != "" {
		t.Errorf("another host got %q", seen)
	}
}

func TestConnectionsServeSeveralScrapes(t *testing.T) {
	var opened atomic.Int64
	server := quiet(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") }, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
	})
	l := make(loop, 8)
	s := with(t, l, server.URL, config.HTTPClientConfig{BasicAuth: &config.BasicAuth{Username: "me"}})
	for range 3 {
		if _, err := get(l, s, as()); err != nil {
			t.Fatal(err)
		}
	}
	if opened.Load() != 1 {
		t.Errorf("%d connections for three scrapes", opened.Load())
	}
}

func TestClientConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	for want, client := range map[string]config.HTTPClientConfig{
		"at most one of basic_auth password":                                      {BasicAuth: &config.BasicAuth{Password: "hunter2", PasswordFile: "x"}},
		"cannot use secret ref without manager (1)":                               {BasicAuth: &config.BasicAuth{UsernameRef: "x"}},
		"cannot use secret ref without manager (2)":                               {BasicAuth: &config.BasicAuth{PasswordRef: "x"}},
		"cannot use secret ref without manager (3)":                               {Authorization: &config.Authorization{CredentialsRef: "x"}},
		"cannot use secret ref without manager (4)":                               {OAuth2: &config.OAuth2{ClientID: "a", TokenURL: "b", ClientSecretRef: "x"}},
		"cannot use secret ref without manager (6)":                               {OAuth2: &config.OAuth2{ClientID: "a", TokenURL: "b", ClientCertificateKeyRef: "x"}},
		"cannot use secret ref without manager (5)":                               {TLSConfig: config.TLSConfig{CARef: "x"}},
		"oauth2: at most one of ca":                                               {OAuth2: &config.OAuth2{ClientID: "a", TokenURL: "b", TLSConfig: config.TLSConfig{CA: "x", CAFile: "y"}}},
		"oauth2: if no_proxy":                                                     {OAuth2: &config.OAuth2{ClientID: "a", TokenURL: "b", ProxyConfig: config.ProxyConfig{NoProxy: "x"}}},
		"oauth2: unable to read CA cert":                                          {OAuth2: &config.OAuth2{ClientID: "a", TokenURL: "b", TLSConfig: config.TLSConfig{CAFile: "/nowhere"}}},
		"a Unix socket cannot be reached through a proxy":                         {ProxyConfig: config.ProxyConfig{ProxyFromEnvironment: true}},
		"a Unix socket cannot be reached through a proxy (2)":                     {ProxyConfig: config.ProxyConfig{ProxyURL: config.URL{URL: parsed(t, "http://localhost:1")}}},
		`setting header "Authorization" is not allowed`:                           {HTTPHeaders: headers("authorization", config.Header{Secrets: []config.Secret{"hunter2"}})},
		`invalid header name "X Y"`:                                               {HTTPHeaders: headers("X Y", config.Header{})},
		"the value of X-Y has":                                                    {HTTPHeaders: headers("x-y", config.Header{Secrets: []config.Secret{"hunter2\n"}})},
		"X-Tenant is set by headers and by http_headers":                          {HTTPHeaders: headers("x-tenant", config.Header{Values: []string{"x"}})},
		"want one kind of authorization, got one more in the URL (user)":          {BasicAuth: &config.BasicAuth{Username: "me"}},
		"want one kind of authorization, got one more in the URL (bearer)":        {BearerToken: "hunter2"},
		"want one kind of authorization, got one more in the URL (token server) ": {OAuth2: &config.OAuth2{ClientID: "a", TokenURL: "b"}},
		"tls_config.max_version must be greater than or equal":                    {TLSConfig: config.TLSConfig{MinVersion: config.TLSVersions["TLS13"], MaxVersion: config.TLSVersions["TLS12"]}},
	} {
		want, _, _ = strings.Cut(want, " (")
		target := "http://localhost/"
		switch {
		case strings.Contains(want, "Unix socket"):
			target = "unix:///run/x.sock"
		case strings.Contains(want, "in the URL"):
			target = "http://me:hunter2@localhost/"
		}
		cfg := exporter.Config{Client: client, Header: http.Header{"X-Tenant": {"blue"}}}
		var err error
		if cfg.Target, err = exporter.ParseTarget(target); err != nil {
			t.Fatal(err)
		}
		if _, err := cfg.Source(make(loop, 8)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A process that embeds the client has its own metrics in the default registry, and no others.
func TestScrapesAddNoMetricsToTheDefaultRegistry(t *testing.T) {
	s, l, _ := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") })
	if _, err := get(l, s, as()); err != nil {
		t.Fatal(err)
	}
	all, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if !strings.HasPrefix(f.GetName(), "go_") && !strings.HasPrefix(f.GetName(), "process_") {
			t.Errorf("the default registry has %s", f.GetName())
		}
	}
}

// A configuration can be logged.
func TestConfigurationsPrintNoSecrets(t *testing.T) {
	cfg := exporter.Config{Client: config.HTTPClientConfig{
		BasicAuth: &config.BasicAuth{Password: "hunter2"}, HTTPHeaders: headers("X", config.Header{Secrets: []config.Secret{"hunter2"}}),
	}, Header: http.Header{"X-Key": {"hunter2"}}}
	var err error
	if cfg.Target, err = exporter.ParseTarget("http://me:hunter2@localhost/"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprint(&cfg), fmt.Sprint(cfg.Client)} {
		if strings.Contains(text, "hunter2") {
			t.Error(text)
		}
	}
}

// Reloads compare a configuration with the one read before.
func TestConfigurationsStayAsTheyAre(t *testing.T) {
	for name, client := range map[string]func() config.HTTPClientConfig{
		"a token": func() config.HTTPClientConfig {
			return config.HTTPClientConfig{Authorization: &config.Authorization{Credentials: "x"}}
		},
		"OAuth2 through a proxy": func() config.HTTPClientConfig {
			return config.HTTPClientConfig{OAuth2: &config.OAuth2{
				ClientID: "me", ClientSecret: "x", TokenURL: "http://127.0.0.1:1/",
				ProxyConfig: config.ProxyConfig{ProxyURL: config.URL{URL: parsed(t, "http://127.0.0.1:1/")}},
			}}
		},
	} {
		cfg := exporter.Config{Target: exporter.Target{URL: parsed(t, "http://127.0.0.1:1/")}, Client: client()}
		l := make(loop, 8)
		s, err := cfg.Source(l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := get(l, s, as()); err == nil {
			t.Error("a page of a port without an exporter")
		}
		if want := (exporter.Config{Target: exporter.Target{URL: parsed(t, "http://127.0.0.1:1/")}, Client: client()}); !reflect.DeepEqual(cfg, want) {
			t.Errorf("%s: %+v", name, cfg)
		}
	}
}
