package web_test

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web"
)

// pipeListener is a listener whose connections buffer nothing, so that a peer that does not read stops the writer at once.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
	return near
}

// get is the status of a request on a connection of its own; 0 where there is no answer in a minute.
func (l *pipeListener) get(t *testing.T, path string) int {
	t.Helper()
	c := l.dial()
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// overPipes serves a scraper with the timeouts of dhtprom-scraper until the test ends.
func overPipes(t *testing.T) *pipeListener {
	t.Helper()
	s := newScraper()
	s.bodies["web"] = strings.Repeat("a 1\n", 25_000)
	server := &http.Server{
		Handler: handler(t, newLoop(t), s), ReadTimeout: web.RequestTimeout, WriteTimeout: web.RequestTimeout,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// ended reports whether a connection is closed by its peer within a time, whatever else it sends.
func ended(c net.Conn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, net.ErrClosed) && !isTimeout(err)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// Callers that announce a body and never send it hold no page and no scrape, and are gone soon.
func TestBodiesThatNeverComeDelayNobody(t *testing.T) {
	for _, path := range []string{"/", "/metrics", "/scrape/web/metrics", "/api/v1/aliases", "/nowhere"} {
		for _, body := range []string{"Content-Length: 1", "Content-Length: 1000000", "Transfer-Encoding: chunked"} {
			synctest.Test(t, func(t *testing.T) {
				l := overPipes(t)
				var stalled []net.Conn
				for range 100 {
					c := l.dial()
					stalled = append(stalled, c)
					if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n"+body+"\r\n\r\n"); err != nil {
						t.Fatal(err)
					}
					res, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatalf("%s with %s: %v", path, body, err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
				}
				if code := l.get(t, "/-/healthy"); code != http.StatusOK {
					t.Errorf("%s with %s: beside them, health is answered with %d", path, body, code)
				}
				for _, c := range stalled {
					if !ended(c, 10*time.Second) {
						t.Fatalf("%s with %s: the connection stays", path, body)
					}
					_ = c.Close()
				}
			})
		}
	}
}

// Callers that do not read their answers give back what they hold after a while.
func TestAnswersThatNobodyReadsEnd(t *testing.T) {
	for _, path := range []string{"/", "/metrics", "/scrape/web/metrics", "/sd/prometheus", "/assets/style.css", "/-/ready", "/nowhere", "/api/v1/pins/x"} {
		synctest.Test(t, func(t *testing.T) {
			l := overPipes(t)
			var deaf []net.Conn
			for range 100 {
				c := l.dial()
				deaf = append(deaf, c)
				if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			for _, probe := range []string{"/-/healthy", "/-/ready"} {
				if code := l.get(t, probe); code != http.StatusOK {
					t.Errorf("%s: beside them, %s is answered with %d", path, probe, code)
				}
			}
			time.Sleep(40 * time.Second)
			if code := l.get(t, "/sd/prometheus"); code != http.StatusOK {
				t.Errorf("%s: after 40 s, service discovery is answered with %d", path, code)
			}
			time.Sleep(web.RequestTimeout)
			for _, c := range deaf {
				if !ended(c, time.Second) {
					t.Fatalf("%s: the connection stays", path)
				}
				_ = c.Close()
			}
		})
	}
}

// A scrape may take longer than a page may take to be read.
func TestLongScrapesOutliveTheTimeToRead(t *testing.T) {
	if web.RequestTimeout <= 5*time.Minute {
		t.Errorf("requests end after %s, and scrapes may take 5 min", web.RequestTimeout)
	}
}
