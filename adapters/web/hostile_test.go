package web_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// odd is a scraper whose clients respond as a test lets them.
type odd struct {
	*scraper
	respond func(domain.Alias, ports.ScrapeHandlers)
}

func (o *odd) Request(a domain.Alias, _ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	o.loop.Post(func() { o.respond(a, h) })
	return portstest.Nothing{}
}

// raw sends a request and returns all that comes until the connection closes.
func raw(t *testing.T, server *httptest.Server, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	return string(b)
}

// What a client sends beyond its length would begin the caller's next response, with whatever the client likes in it.
func TestClientCannotWriteTheNextResponse(t *testing.T) {
	forged := "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforged\n"
	for _, length := range []int64{0, 10, 512, 600, 5000} {
		o := &odd{scraper: newScraper(), respond: func(_ domain.Alias, h ports.ScrapeHandlers) {
			h.OnHead(domain.ScrapeHead{Status: 200, Length: length})
			h.OnData([]byte(strings.Repeat("a", int(length)) + forged))
			h.OnEnd(nil)
		}}
		got := raw(t, serveFor(t, o.scraper, o), "GET /scrape/web/metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		if strings.Contains(got, "forged") {
			t.Errorf("length %d: a caller gets %.300q", length, got)
		}
	}
}

// Names in a response are one line each, whatever a client puts there.
func TestClientCannotWriteHeaderFields(t *testing.T) {
	const injected = "a\r\nSet-Cookie: x=1\r\n\r\n"
	o := &odd{scraper: newScraper()}
	server := serveFor(t, o.scraper, o)
	for name, respond := range map[string]func(h ports.ScrapeHandlers){
		"type": func(h ports.ScrapeHandlers) {
			h.OnHead(domain.ScrapeHead{Status: 200, ContentType: injected})
			h.OnEnd(nil)
		},
		"coding": func(h ports.ScrapeHandlers) { h.OnHead(domain.ScrapeHead{Status: 200, Coding: injected}); h.OnEnd(nil) },
		"reason": func(h ports.ScrapeHandlers) { h.OnEnd(&domain.ScrapeError{Reason: injected}) },
		"old":    func(h ports.ScrapeHandlers) { h.OnEnd(&domain.RemoteError{Message: injected}) },
	} {
		o.respond = func(_ domain.Alias, h ports.ScrapeHandlers) { respond(h) }
		got := raw(t, server, "GET /scrape/web/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: *\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
		if err != nil || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}

// Callers of HTTP/1.0, callers that send the next request at once, and those that send a body get the reason of a failure, and one response.
func TestFailuresReachOddCallers(t *testing.T) {
	s := newScraper()
	s.errs["web"] = errors.New("gone")
	server := serve(t, s)
	for _, request := range []string{
		"GET /scrape/web/metrics HTTP/1.0\r\n\r\n",
		"GET /scrape/web/metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /scrape/web/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /scrape/web/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		"GET /scrape/web/metrics HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
	} {
		got := raw(t, server, request)
		if !strings.HasPrefix(got, "HTTP/1.1 502 gone (client web, ") || strings.Count(got, "HTTP/1.1") != 1 || !strings.HasSuffix(got, "\r\n\r\nUpstream unavailable: gone\n") {
			t.Errorf("%.40q is answered with %q", request, got)
		}
	}
}

// A request may end while its connection lives: a program that embeds the handler gives it a context of its own. What was sent by then must
// not look complete, and nothing must not look like an empty page.
func TestRequestThatEndsIsNoCompletePage(t *testing.T) {
	for name, begin := range map[string]func(h ports.ScrapeHandlers){
		"before the head": func(ports.ScrapeHandlers) {},
		"in the body": func(h ports.ScrapeHandlers) {
			h.OnHead(domain.ScrapeHead{Status: 200, Length: -1})
			h.OnData([]byte("a 1\n"))
		},
	} {
		var cancel context.CancelFunc
		o := &odd{scraper: newScraper(), respond: func(_ domain.Alias, h ports.ScrapeHandlers) {
			begin(h)
			cancel()
		}}
		h := handlerWith(t, newLoop(t), o.scraper, func(c *web.Config) { c.Scraper = o })
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var ctx context.Context
			ctx, cancel = context.WithCancel(r.Context())
			h.ServeHTTP(w, r.WithContext(ctx))
		}))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.Start()
		res, err := server.Client().Get(server.URL + "/scrape/web/metrics")
		var body []byte
		if err == nil {
			body, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a caller takes %s %q for a complete page", name, res.Status, body)
		}
		server.Close()
	}
}

// Responses whose length is not known count with what their callers may leave unread, which is little at first: many may be under way.
func TestResponsesUnderWayHoldLittle(t *testing.T) {
	const many = 8
	o := &odd{scraper: newScraper()}
	h := handlerWith(t, newLoop(t), o.scraper, func(c *web.Config) { c.Scraper = o })
	h.LimitHeld(many * (ports.FirstWindow + 100)) // each counts with twice what was read of it besides
	begun := make(chan ports.ScrapeHandlers, many)
	o.respond = func(_ domain.Alias, h ports.ScrapeHandlers) {
		h.OnHead(domain.ScrapeHead{Status: 200, Length: -1})
		h.OnData([]byte("a 1\n"))
		begun <- h
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var callers sync.WaitGroup
	for range many {
		callers.Go(func() {
			res, err := http.Get(server.URL + "/scrape/web/metrics")
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	var handlers []ports.ScrapeHandlers
	for range many {
		handlers = append(handlers, <-begun)
	}
	for _, h := range handlers {
		o.loop.Post(func() { h.OnData([]byte("b 2\n")); h.OnEnd(nil) })
	}
	callers.Wait()
}

// stopping is a caller that reads a part of a response and then no more until it is released.
type stopping struct {
	*httptest.ResponseRecorder
	left    int
	stopped chan<- struct{}
	release <-chan struct{}
}

func (s *stopping) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 && s.stopped != nil {
		close(s.stopped)
		s.stopped = nil
		<-s.release
	}
	return s.ResponseRecorder.Write(b)
}

func TestResponsesThatWereReadFastHoldAWindow(t *testing.T) {
	for read, want := range map[int]int64{0: ports.FirstWindow, 1 << 20: ports.MaxWindow} {
		s := newScraper()
		s.bodies["web"] = ""
		s.answers["web"] = scrape.Page{ScrapeHead: domain.ScrapeHead{Status: 200, Length: -1}, Body: make([]byte, 4<<20)}
		h := handler(t, newLoop(t), s)
		stopped, release := make(chan struct{}), make(chan struct{})
		var caller sync.WaitGroup
		w := &stopping{httptest.NewRecorder(), read, stopped, release}
		caller.Go(func() { h.ServeHTTP(w, httptest.NewRequest("GET", "/scrape/web/metrics", nil)) })
		<-stopped
		if n := h.Held(); n > want || n < want/2 {
			t.Errorf("%d bytes are held after %d were read, want %d", n, read, want)
		}
		close(release)
		caller.Wait()
		if n := h.Held(); n != 0 || w.Body.Len() != 4<<20 {
			t.Errorf("%d bytes are held after the end, %d were sent", n, w.Body.Len())
		}
	}
}

// A response that begins and does not go on holds the memory of its coding. That of all is bounded, and scrapes beyond it do without.
func TestCodingsHoldBoundedMemory(t *testing.T) {
	o := &odd{scraper: newScraper()}
	h := handlerWith(t, newLoop(t), o.scraper, func(c *web.Config) { c.Scraper = o })
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	small := w.EncodeAll([]byte("a 1\n"), nil)
	var held []ports.ScrapeHandlers
	begun := make(chan struct{}, 1)
	hold := true
	o.respond = func(a domain.Alias, h ports.ScrapeHandlers) {
		switch a {
		case "zstd":
			h.OnHead(domain.ScrapeHead{Status: 200, Coding: "zstd", Length: -1})
			h.OnData(small)
		default:
			h.OnHead(domain.ScrapeHead{Status: 200, Length: 4000})
			h.OnData([]byte(strings.Repeat("a 1\n", 1000)))
		}
		if hold {
			held = append(held, h)
			begun <- struct{}{}
			return
		}
		h.OnEnd(nil)
	}
	ask := func(alias string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/scrape/"+alias+"/metrics", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	var callers sync.WaitGroup
	for range web.MaxZipping {
		callers.Go(func() { ask("text") })
		<-begun
	}
	for range web.MaxDecoders {
		callers.Go(func() { ask("zstd") })
		<-begun
	}
	h.AwaitCoders()
	o.loop.Post(func() { hold = false })
	if w := ask("text"); w.Code != 200 || w.Header().Get("Content-Encoding") != "" || w.Body.Len() != 4000 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask("zstd"); w.Code != 502 || !strings.Contains(w.Body.String(), "too many such answers") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	o.loop.Post(func() {
		for _, h := range held {
			h.OnEnd(nil)
		}
	})
	callers.Wait()
	if w := ask("text"); w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask("zstd"); w.Code != 200 || w.Body.String() != "a 1\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// A response that is not passed on is cancelled, and its caller gets the reason.
func TestResponsesThatAreNotPassedOnAreCancelled(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	s.bodies["web"] = ""
	for _, head := range []domain.ScrapeHead{{Status: 101, Length: -1}, {Status: 200, Coding: "deflate", Length: -1}} {
		s.answers["web"] = scrape.Page{ScrapeHead: head, Body: make([]byte, 4*ports.FirstWindow)}
		if res, body := get(t, server.URL+"/scrape/web/metrics"); res.StatusCode != 502 || !strings.Contains(body, "exporter answered") {
			t.Errorf("%+v: %s %q", head, res.Status, body)
		}
		select {
		case <-s.canceled:
		case <-time.After(10 * time.Second):
			t.Errorf("%+v: not cancelled", head)
		}
	}
}
