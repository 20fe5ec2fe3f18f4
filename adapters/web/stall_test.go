package web_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
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

// get returns the status of a request on a new connection; 0 without an answer in a minute.
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

// overPipes serves a scraper with the timeouts of dhtprom-scraper until the test ends. Its table does not fit a buffer of net/http.
func overPipes(t *testing.T) *pipeListener {
	t.Helper()
	l, _ := overPipesWith(t, &http.Protocols{})
	return l
}

func overPipesWith(t *testing.T, protocols *http.Protocols) (*pipeListener, *web.Handler) {
	t.Helper()
	s := newScraper()
	s.bodies["web"] = strings.Repeat("a 1\n", 25_000)
	for i := range 100 {
		s.aliases = append(s.aliases, domain.AliasStatus{Entry: domain.Entry{Alias: domain.Alias(fmt.Sprintf("alias-%d", i))}})
	}
	h := handler(t, newLoop(t), s)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler: h, ReadTimeout: web.RequestTimeout, WriteTimeout: web.RequestTimeout, Protocols: protocols,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, h
}

// allPaths are one path of each kind.
var allPaths = []string{"/-/healthy", "/-/ready", "/sd/prometheus", "/metrics", "/scrape/web/metrics", "/", "/api/v1/aliases"}

// served checks that all paths are answered.
func (l *pipeListener) served(t *testing.T, when string) {
	t.Helper()
	for _, path := range allPaths {
		if code := l.get(t, path); code != http.StatusOK {
			t.Errorf("%s, %s is answered with %d", when, path, code)
		}
	}
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

// Callers that announce a body and never send it hold no page and no scrape, and are disconnected soon.
func TestBodiesThatNeverComeDelayNoAnswer(t *testing.T) {
	for _, path := range []string{"/", "/metrics", "/scrape/web/metrics", "/api/v1/aliases", "/nowhere"} {
		for _, body := range []string{"Content-Length: 1", "Content-Length: 1000000", "Transfer-Encoding: chunked"} {
			synctest.Test(t, func(t *testing.T) {
				l := overPipes(t)
				var stalled []net.Conn
				start := time.Now()
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
				if took := time.Since(start); took > 0 {
					t.Errorf("%s with %s: answers wait %s for bodies", path, body, took)
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

// Answers that callers do not read are released after a timeout.
func TestUnreadAnswersEnd(t *testing.T) {
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
			l.served(t, "beside those of "+path)
			time.Sleep(web.RequestTimeout + time.Minute)
			for _, c := range deaf {
				if !ended(c, time.Second) {
					t.Fatalf("%s: the connection stays", path)
				}
				_ = c.Close()
			}
		})
	}
}

// stuckLoop runs nothing, like an overloaded loop.
type stuckLoop struct{}

func (stuckLoop) Post(func())             {}
func (stuckLoop) Closed() <-chan struct{} { return nil }

// An orchestrator kills a process whose health it cannot read: a busy one must not look like a dead one.
func TestHealthIsAnsweredHoweverManyPagesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(t, stuckLoop{}, newScraper())
		ask := func(path string) int {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			return w.Code
		}
		var pages sync.WaitGroup
		for range 100 {
			pages.Go(func() { ask("/api/v1/status") })
		}
		defer pages.Wait() // a few at a time
		synctest.Wait()
		if code := ask("/-/healthy"); code != http.StatusOK {
			t.Errorf("health is answered with %d", code)
		}
		start := time.Now()
		if code := ask("/-/ready"); code != http.StatusServiceUnavailable || time.Since(start) == 0 {
			t.Errorf("readiness is answered with %d after %s, without asking", code, time.Since(start))
		}
	})
}

// Where unread answers fill the room, the oldest of them makes room for the next one.
func TestTheOldestUnreadAnswerMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := overPipesWith(t, &http.Protocols{})
		h.LimitHeld(450_000)
		var deaf []net.Conn
		for range 6 {
			c := l.dial()
			deaf = append(deaf, c)
			if _, err := io.WriteString(c, "GET /scrape/web/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := h.Held(); n != 400_000 {
			t.Errorf("%d bytes are held", n)
		}
		l.served(t, "beside six")
		for i, c := range deaf[:2] {
			if !ended(c, 0) {
				t.Errorf("connection %d stays", i)
			}
		}
		res, err := http.ReadResponse(bufio.NewReader(deaf[5]), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || len(body) != 100_000 {
			t.Errorf("the newest: %d bytes, %v", len(body), err)
		}
		if n, err := io.WriteString(deaf[5], "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Errorf("the next request on its connection: %d, %v", n, err)
		}
		for _, c := range deaf {
			_ = c.Close()
		}
	})
}

// One connection of HTTP/2 can have many requests, and net/http ends none of them while its peer reads nothing. The programs
// do not support HTTP/2; the server of an embedder may.
func TestUnreadStreamsDelayNoAnswer(t *testing.T) {
	for _, path := range []string{"/", "/metrics", "/scrape/web/metrics"} {
		synctest.Test(t, func(t *testing.T) {
			protocols := &http.Protocols{}
			protocols.SetUnencryptedHTTP2(true)
			l, _ := overPipesWith(t, protocols)
			c := l.dial()
			sent := make(chan struct{})
			go func() { // it ends with the connection
				defer close(sent)
				_, _ = io.WriteString(c, http2.ClientPreface)
				out := http2.NewFramer(c, nil)
				_ = out.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
				for i := range uint32(200) {
					_ = out.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: request(path), EndHeaders: true, EndStream: true})
				}
			}()
			for range 3 {
				synctest.Wait()
				l.served(t, "beside streams for "+path)
				time.Sleep(time.Hour)
			}
			_ = c.Close()
			<-sent
		})
	}
}

// request is the header block of a request.
func request(path string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "localhost"}, {Name: ":path", Value: path},
	} {
		_ = e.WriteField(f) // a buffer does not fail
	}
	return block.Bytes()
}

// A scrape may take longer than a page may take to be read.
func TestLongScrapesOutliveTheTimeToRead(t *testing.T) {
	if web.RequestTimeout <= 5*time.Minute {
		t.Errorf("requests end after %s, and scrapes may take 5 min", web.RequestTimeout)
	}
}
