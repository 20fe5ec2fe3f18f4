package pipes_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/pipes"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/ports/host/hosttest"
	"github.com/dhtprom/dhtprom/ports/pipe"
	"github.com/dhtprom/dhtprom/ports/pipe/pipetest"
)

// end is the server's end of a pipe.
type end struct{ conn net.Conn }

func (e end) Echo() {
	go func() {
		_, _ = io.Copy(e.conn, e.conn) // until either side ends it
		_ = e.conn.Close()
	}()
}

func (e end) Stall() {}

func (e end) Close() {
	if secure, ok := e.conn.(*tls.Conn); ok {
		_ = secure.CloseWrite()
		return
	}
	_ = e.conn.(*net.TCPConn).CloseWrite()
}

func (e end) Break() {
	raw := e.conn
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	_ = raw.(*net.TCPConn).SetLinger(0) // a reset
	_ = raw.Close()
}

// certificate returns the configurations of a server and of clients that trust it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS, &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newHost returns a host and its Await.
func newHost(t *testing.T) (*udp.Host, func(t *testing.T, f func(done func()))) {
	t.Helper()
	h := udp.New(udp.Options{})
	t.Cleanup(h.Close)
	return h, func(t *testing.T, f func(done func())) {
		t.Helper()
		called := make(chan struct{}, 1)
		h.Post(func() { f(func() { called <- struct{}{} }) })
		select {
		case <-called:
		case <-time.After(hosttest.Deadline):
			t.Fatal("done was not called in time")
		}
	}
}

func TestPipesKeepTheContract(t *testing.T) {
	for _, form := range []string{"TCP", "TLS", "TLS through a proxy"} {
		t.Run(form, func(t *testing.T) {
			pipetest.Run(t, func(t *testing.T) pipetest.Rig {
				h, await := newHost(t)
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				cfg := pipes.Config{Server: l.Addr().String()}
				if form != "TCP" {
					var server *tls.Config
					server, cfg.TLS = certificate(t)
					l = tls.NewListener(l, server)
				}
				if strings.HasSuffix(form, "proxy") {
					cfg.Proxy, _ = url.Parse(newProxy(t, "").URL)
				}
				dialer, err := pipes.New(h, cfg)
				if err != nil {
					t.Fatal(err)
				}
				refused, err := pipes.New(h, pipes.Config{Server: closedPort(t)})
				if err != nil {
					t.Fatal(err)
				}
				return pipetest.Rig{Dialer: dialer, Refused: refused, Await: await, Accept: func(f func(pipetest.Server)) {
					go func() {
						conn, err := l.Accept()
						if err != nil {
							return // the test is over
						}
						t.Cleanup(func() { _ = conn.Close() })
						if secure, ok := conn.(*tls.Conn); ok && secure.Handshake() != nil {
							return
						}
						h.Post(func() { f(end{conn}) })
					}()
				}}
			})
		})
	}
}

// newProxy returns a proxy that connects those who have the credentials, if there are any.
func newProxy(t *testing.T, credentials string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		user, password, _ := request.BasicAuth()
		switch {
		case r.Method != http.MethodConnect:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case credentials != "" && user+":"+password != credentials:
			w.Header().Set("Proxy-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(to, buffered)
			_ = to.(*net.TCPConn).CloseWrite()
		}()
		_, err = io.Copy(from, to)
		if err != nil {
			_ = from.(*net.TCPConn).SetLinger(0)
		}
		_ = from.Close()
		_ = to.Close()
	}))
	t.Cleanup(s.Close)
	return s
}

// dial opens a pipe and returns the error; a pipe is closed.
func dial(t *testing.T, cfg pipes.Config) (err error) {
	t.Helper()
	h, await := newHost(t)
	d, err := pipes.New(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	await(t, func(done func()) {
		d.Dial(func(p pipe.Pipe, failure error) {
			if err = failure; p != nil {
				p.Close()
			}
			done()
		})
	})
	return err
}

// answering returns a proxy that answers each request with a text.
func answering(t *testing.T, text string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve(l, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	})
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// serve calls f with each connection, on a goroutine, until the listener closes.
func serve(l net.Listener, f func(net.Conn)) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f(conn)
		}
	}()
}

func TestErrorsNameTheStepAndTheRemedy(t *testing.T) {
	server, trusted := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve(l, func(conn net.Conn) { _ = conn.(*tls.Conn).HandshakeContext(context.Background()) })
	addr := l.Addr().String()
	guarded, _ := url.Parse(newProxy(t, "alice:secret").URL)
	known := *guarded
	known.User = url.UserPassword("alice", "secret")
	wrong := trusted.Clone()
	wrong.ServerName = "other.test"

	tests := []struct {
		name string
		cfg  pipes.Config
		step pipe.Step
		text string // of the error; empty for success
	}{
		{"trusted", pipes.Config{Server: addr, TLS: trusted}, 0, ""},
		{"unknown certificate", pipes.Config{Server: addr, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, pipe.TLS, "certificate"},
		{"certificate of another name", pipes.Config{Server: addr, TLS: wrong}, pipe.TLS, "other.test"},
		{"unknown name", pipes.Config{Server: "turn.invalid:443"}, pipe.Lookup, "turn.invalid"},
		{"proxy with credentials", pipes.Config{Server: addr, TLS: trusted, Proxy: &known}, 0, ""},
		{"proxy without", pipes.Config{Server: addr, TLS: trusted, Proxy: guarded}, pipe.Proxy, `wants user and password by "Basic"`},
		{"proxy that cannot connect", pipes.Config{Server: closedPort(t), Proxy: &known}, pipe.Proxy, "502 Bad Gateway"},
		{"proxy that refuses", pipes.Config{Server: addr, Proxy: answering(t, "HTTP/1.1 403 Forbidden\r\n\r\n")}, pipe.Proxy, "allow port 443 only"},
		{"status with control characters", pipes.Config{Server: addr, Proxy: answering(t, "HTTP/1.1 502 \x1b[2J\r\n\r\n")}, pipe.Proxy, `"502 \x1b[2J"`},
		{"long status", pipes.Config{Server: addr, Proxy: answering(t, "HTTP/1.1 502 "+strings.Repeat("x", 8000)+"\r\n\r\n")}, pipe.Proxy, strings.Repeat("x", 90) + `"`},
		{"no proxy", pipes.Config{Server: addr, Proxy: answering(t, "220 mail.example\r\n")}, pipe.Proxy, "no HTTP"},
		{"endless answer", pipes.Config{Server: addr, Proxy: answering(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<16))}, pipe.Proxy, "more than 16384 bytes"},
		{"absent proxy", pipes.Config{Server: addr, Proxy: &url.URL{Scheme: "http", Host: closedPort(t)}}, pipe.Connect, "refused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := dial(t, test.cfg)
			failure, ok := errors.AsType[*pipe.Error](err)
			switch {
			case test.text == "" && err == nil:
			case test.text == "" || !ok || failure.Step != test.step || !strings.Contains(fmt.Sprint(err), test.text):
				t.Errorf("%v, want an error of step %v with %q", err, test.step, test.text)
			}
		})
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	h, _ := newHost(t)
	for _, cfg := range []pipes.Config{
		{Server: "turn.example"},
		{Server: ":443"},
		{Server: "turn.example:443", Proxy: &url.URL{Scheme: "socks5", Host: "proxy:1080"}},
		{Server: "turn.example:443", Proxy: &url.URL{Scheme: "http"}},
	} {
		if _, err := pipes.New(h, cfg); err == nil {
			t.Errorf("no error for %+v", cfg)
		}
	}
	_, err := pipes.New(h, pipes.Config{Server: "turn.example:443", Proxy: &url.URL{Scheme: "ftp", Host: "p", User: url.UserPassword("u", "hidden")}})
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("the password is in %v", err)
	}
}

// A dial whose host closes leaves no connection behind.
func TestPipesEndWithTheHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, await := newHost(t)
	d, err := pipes.New(h, pipes.Config{Server: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func(done func()) { d.Dial(func(pipe.Pipe, error) { done() }) })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h.Close()
	_ = conn.SetReadDeadline(time.Now().Add(hosttest.Deadline))
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want the end", err)
	}
}
