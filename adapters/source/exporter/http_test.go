package exporter_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/config"

	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExporterOnAUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "dhtprom") // the path of a socket may have 100 characters, t.TempDir has more
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "x.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "asked{uri=%q} 1\n", r.RequestURI)
	}))
	server.Listener = ln
	server.Start()
	defer server.Close()
	l := make(loop, 8)
	for target, want := range map[string]string{
		"unix://" + socket: "/metrics", "unix://" + socket + ":/other?a=b": "/other?a=b",
	} {
		if body, err := collect(l, scrapes(t, l, target, nil), 10*time.Second); err != nil || body != fmt.Sprintf("asked{uri=%q} 1\n", want) {
			t.Errorf("%s: %q, %v", target, body, err)
		}
	}
	_, err = collect(l, scrapes(t, l, "unix:///nowhere/x.sock", nil), 10*time.Second)
	if err == nil || !strings.Contains(err.Error(), "unix:///nowhere/x.sock:/metrics") {
		t.Errorf("%v", err)
	}
}

// Credentials are in files, read for each request, sent to the target only, and part of no error.
func TestCredentialsComeFromFilesThatMayChange(t *testing.T) {
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		if strings.Contains(r.URL.RawQuery, "refuse") {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "up 1\n")
	}))
	defer server.Close()
	l := make(loop, 8)
	password := write(t, "password", []byte("hunter2\n"))
	basic := scrapes(t, l, server.URL, func(c *exporter.Config) {
		c.Client.BasicAuth = &config.BasicAuth{Username: "me", PasswordFile: password}
	})
	if _, err := collect(l, basic, 10*time.Second); err != nil || seen != "Basic bWU6aHVudGVyMg==" {
		t.Errorf("%q, %v", seen, err)
	}
	token := write(t, "token", []byte("  first\n"))
	bearer := scrapes(t, l, server.URL, func(c *exporter.Config) { c.Client.Authorization = &config.Authorization{CredentialsFile: token} })
	for _, text := range []string{"first", "second"} {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := collect(l, bearer, 10*time.Second); err != nil || seen != "Bearer "+text {
			t.Errorf("%q, %v", seen, err)
		}
	}
	refused := scrapes(t, l, server.URL+"/?refuse", func(c *exporter.Config) {
		c.Client.BasicAuth = &config.BasicAuth{Username: "me", PasswordFile: password}
	})
	if _, err := collect(l, refused, 10*time.Second); err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	for name, content := range map[string]string{"from Windows": "\uFEFFfirst\r\n", "spaces": " \tfirst \n\n"} {
		if err := os.WriteFile(token, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := collect(l, bearer, 10*time.Second); err != nil || seen != "Bearer first" {
			t.Errorf("%s: %q, %v", name, seen, err)
		}
	}
	for says, content := range map[string]string{
		"is empty": " \n", "several lines": "hunter2\r\nhunter3", "larger than": strings.Repeat("hunter2", 20_000), "control characters": "hunter\x1b2",
		"not UTF-8": "\xff\xfeh\x00u\x00n\x00t\x00e\x00r\x00", "is not UTF-8": "h\x00unter2",
	} {
		if err := os.WriteFile(token, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := collect(l, bearer, 10*time.Second)
		for _, want := range []string{says, token, "want a file with one password or token"} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("want %q: %v", want, err)
			}
		}
	}
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(l, bearer, 10*time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestHeadersOfTheConfigurationReplaceOurs(t *testing.T) {
	var seen http.Header
	var host string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, host = r.Header, r.Host
		_, _ = io.WriteString(w, "up 1\n")
	}))
	defer server.Close()
	l := make(loop, 8)
	s := scrapes(t, l, server.URL, func(c *exporter.Config) {
		c.Header = http.Header{"accept": {"application/openmetrics-text"}, "X-Tenant": {"blue"}, "Host": {"exporter.example"}}
	})
	if _, err := collect(l, s, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if seen.Get("Accept") != "application/openmetrics-text" || seen.Get("X-Tenant") != "blue" || host != "exporter.example" {
		t.Errorf("%v, host %q", seen, host)
	}
}

func TestOwnTimeoutAndSizeLimitOfATarget(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, strings.Repeat("x 1\n", 1000))
	}))
	defer server.Close()
	defer close(release)
	l := make(loop, 8)
	slow := scrapes(t, l, server.URL+"/slow", func(c *exporter.Config) { c.Timeout = 20 * time.Millisecond })
	if _, err := collect(l, slow, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	for limit, fits := range map[int]bool{4000: true, 3999: false} {
		s := scrapes(t, l, server.URL, func(c *exporter.Config) { c.MaxBytes = limit })
		body, err := collect(l, s, 10*time.Second)
		if fits != (err == nil) || fits && len(body) != 4000 || !fits && !strings.Contains(err.Error(), "the limit is 3999") {
			t.Errorf("limit %d: %d bytes, %v", limit, len(body), err)
		}
	}
}

// certificate creates a self-signed certificate for localhost, and files with it.
func certificate(t *testing.T) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"exporter.example"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return pair, write(t, "cert.pem", certPEM), write(t, "key.pem", keyPEM)
}

func TestHTTPSWithAnOwnAuthorityAndAClientCertificate(t *testing.T) {
	serverPair, serverCert, _ := certificate(t)
	_, clientCert, clientKey := certificate(t)
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(clientCert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(pem)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != "HTTP/1.1" {
			t.Errorf("asked over %s", r.Proto)
		}
		_, _ = io.WriteString(w, "up 1\n")
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{serverPair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	defer server.Close()
	l := make(loop, 8)
	good := config.TLSConfig{CAFile: serverCert, CertFile: clientCert, KeyFile: clientKey, ServerName: "exporter.example"}
	get := func(c config.TLSConfig) error {
		_, err := collect(l, scrapes(t, l, server.URL, func(h *exporter.Config) { h.Client.TLSConfig = c }), 10*time.Second)
		return err
	}
	if err := get(good); err != nil {
		t.Error(err)
	}
	if err := get(config.TLSConfig{CertFile: clientCert, KeyFile: clientKey, InsecureSkipVerify: true}); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*config.TLSConfig){
		"no authority":          func(c *config.TLSConfig) { c.CAFile = "" },
		"another name":          func(c *config.TLSConfig) { c.ServerName = "other.example" },
		"no client certificate": func(c *config.TLSConfig) { c.CertFile, c.KeyFile = "", "" },
	} {
		c := good
		spoil(&c)
		if err := get(c); err == nil {
			t.Errorf("%s: it works", name)
		}
	}
}

// An exporter that accepts connections and never answers the TLS handshake does not accumulate them.
func TestHandshakesEndAfterTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var exporters []net.Conn
		transport := exporter.NewTransport(func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			mu.Lock()
			defer mu.Unlock()
			exporters = append(exporters, far)
			return near, nil
		}, &tls.Config{ServerName: "exporter.example"})
		for range 3 {
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://exporter.example/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := transport.RoundTrip(req); err == nil {
				t.Error("answered")
			}
			stop()
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for _, c := range exporters {
			_ = c.SetReadDeadline(time.Now())
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection is still there after a minute")
			}
			_ = c.Close()
		}
		if len(exporters) == 0 {
			t.Error("no connection")
		}
	})
}

func TestConfigurationsThatCannotWorkAreRefusedAtTheStart(t *testing.T) {
	_, cert, key := certificate(t)
	for want, spoil := range map[string]func(*exporter.Config){
		"URL":                   func(c *exporter.Config) { c.URL = nil },
		"timeout above zero":    func(c *exporter.Config) { c.Timeout = -1 },
		"size limit of at most": func(c *exporter.Config) { c.MaxBytes = 1<<30 + 1 },
		"at most one of basic_auth": func(c *exporter.Config) {
			c.Client.BasicAuth, c.Client.Authorization = &config.BasicAuth{Username: "me"}, &config.Authorization{CredentialsFile: "token"}
		},
		"Accept-Encoding cannot":    func(c *exporter.Config) { c.Header = http.Header{"accept-encoding": {"br"}} },
		"Authorization cannot":      func(c *exporter.Config) { c.Header = http.Header{"Authorization": {"hunter2"}} },
		`invalid header name "X Y"`: func(c *exporter.Config) { c.Header = http.Header{"X Y": {"1"}} },
		"the value of X-Y":          func(c *exporter.Config) { c.Header = http.Header{"X-Y": {"hunter2\r\nX-Z: 1"}} },
		"/nowhere":                  func(c *exporter.Config) { c.Client.TLSConfig.CAFile = "/nowhere" },
		"specified CA cert":         func(c *exporter.Config) { c.Client.TLSConfig.CAFile = write(t, "ca", []byte("hunter2")) },
		"when a client certificate": func(c *exporter.Config) { c.Client.TLSConfig.CertFile = cert },
		"specified client cert":     func(c *exporter.Config) { c.Client.TLSConfig.CertFile, c.Client.TLSConfig.KeyFile = key, cert },
	} {
		cfg := exporter.Config{}
		var err error
		if cfg.Target, err = exporter.ParseTarget("https://localhost/"); err != nil {
			t.Fatal(err)
		}
		spoil(&cfg)
		if _, err := cfg.Source(make(loop, 8)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// The metadata services of clouds serve credentials without authentication, on link-local addresses.
func TestNamesThatLeadToLinkLocalAddressesAreRefused(t *testing.T) {
	for address, refused := range map[string]bool{
		"169.254.169.254:80": true, "[fe80::1%eth0]:80": true, "[::ffff:169.254.169.254]:80": true,
		"127.0.0.1:9100": false, "[::1]:9100": false, "10.0.0.1:80": false, "192.0.2.1:443": false,
	} {
		if err := exporter.RefuseLinkLocal("tcp", address, nil); refused != (err != nil) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestWhatIsNoMetricsIsTold(t *testing.T) {
	for name, text := range map[string]string{
		"text format": "# HELP x Überwärmung\n# TYPE x gauge\nx 1\nx{a=\"b\",c=\"}\\\"\"} 2.5e-3 1700000000000\n\nup NaN\ny +Inf\n",
		"OpenMetrics": "# TYPE x counter\n# UNIT x seconds\nx_total{a=\"b\"} 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67\n# EOF\n",
		"UTF-8 names": "{\"my.dotted.metric\", region=\"eu\"} 1\n",
		"CRLF":        "x 1\r\ny 2\r\n",
		"no newline":  "x 1",
	} {
		if err := exporter.CheckText([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"a page":         {"<!DOCTYPE html>\n<title>Log in</title>", "line 1"},
		"JSON":           {"{\"status\": \"ok\"}\n", "line 1"},
		"prose":          {"x 1\nService Unavailable\n", "line 2"},
		"empty":          {"", "no sample"},
		"comments only":  {"# nothing here\n", "no sample"},
		"no value":       {"x\n", "line 1"},
		"three numbers":  {"x 1 2 3\n", "line 1"},
		"open labels":    {"x{a=\"b\n", "line 1"},
		"a number first": {"200 1\n", "line 1"},
		"not UTF-8":      {"x{a=\"\xff\"} 1\n", "UTF-8"},
	} {
		if err := exporter.CheckText([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, l, _ := serving(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "all is well") })
	if body, err := collect(l, s, 10*time.Second); err != nil || body != "all is well" {
		t.Errorf("unchecked: %q, %v", body, err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "all is well") }))
	defer server.Close()
	checked := scrapes(t, l, server.URL, func(c *exporter.Config) { c.Check = true })
	if _, err := collect(l, checked, 10*time.Second); err == nil || !strings.Contains(err.Error(), "not metrics text") {
		t.Errorf("checked: %v", err)
	}
}

func FuzzCheckText(f *testing.F) {
	f.Add([]byte("x{a=\"b\"} 1 2\n# EOF\n"))
	f.Add([]byte("{\"a\\\"}\"} 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var err error
		cost.Parsing.Check(t, len(b), func() { err = exporter.CheckText(b) })
		if err == nil && !bytes.ContainsAny(b, "0123456789aAfF") {
			t.Errorf("%q has no number", b)
		}
	})
}

// RFC 9110 5.6.2 lists the characters of a name.
func TestNamesOfHeadersAreTokens(t *testing.T) {
	const others = "!#$%&'*+-.^_`|~"
	for c := range 256 {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		token := letter || c >= '0' && c <= '9' || c < 128 && strings.ContainsRune(others, rune(c))
		if err := exporter.CheckHeader("x-"+string(rune(c)), "v"); (err == nil) != token {
			t.Errorf("name with %q: %v", rune(c), err)
		}
		if err := exporter.CheckHeader("x", string(rune(c))); (err == nil) != (c >= ' ' && c != 0x7f || c == '\t') {
			t.Errorf("value with %q: %v", rune(c), err)
		}
	}
}

func headers(name string, h config.Header) *config.Headers {
	return &config.Headers{Headers: map[string]config.Header{name: h}}
}

// What is not a regular file is rejected: a pipe without a writer would block a collection indefinitely.
func TestCredentialsAreRegularFiles(t *testing.T) {
	for _, path := range []string{t.TempDir(), os.DevNull} {
		for name, client := range map[string]config.HTTPClientConfig{
			"password": {BasicAuth: &config.BasicAuth{Username: "me", PasswordFile: path}}, "username": {BasicAuth: &config.BasicAuth{UsernameFile: path}},
			"credentials": {Authorization: &config.Authorization{CredentialsFile: path}}, "bearer token": {BearerTokenFile: path},
			"client secret": {OAuth2: &config.OAuth2{ClientSecretFile: path}}, "header": {HTTPHeaders: headers("X", config.Header{Files: []string{path}})},
		} {
			c := exporter.Config{Client: client}
			if err := c.CheckCredentials(); err == nil || !strings.Contains(err.Error(), path+" is not a regular file: want") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := (&exporter.Config{Client: config.HTTPClientConfig{BasicAuth: &config.BasicAuth{Username: "me"}}}).CheckCredentials(); err != nil {
		t.Errorf("no file: %v", err)
	}
}

// An exporter's status line is logged, and must not fill the log.
func TestLongStatusLinesAreCut(t *testing.T) {
	s, l, _ := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 500 "+strings.Repeat("wrong ", 10_000)+"\r\nContent-Length: 0\r\n\r\n")
	})
	if _, err := collect(l, s, 10*time.Second); err == nil || !strings.Contains(err.Error(), "500 wrong") || len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(fmt.Sprint(err)))
	}
}
