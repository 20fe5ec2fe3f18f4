package members_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/members"
	"github.com/dhtprom/dhtprom/adapters/web/passon"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

// loop runs posted functions on a goroutine of its own.
type loop chan func()

func newLoop(t *testing.T) loop {
	l := make(loop, 1024)
	go func() {
		for f := range l {
			f()
		}
	}()
	return l
}

func (l loop) Post(f func())           { l <- f }
func (l loop) Closed() <-chan struct{} { return nil }

var seed = domain.SeedFrom([32]byte{1})

// pass passes a scrape on to the member at a URL.
func pass(t *testing.T, at string, r domain.ScrapeRequest) (*scrapeio.Response, string, error) {
	t.Helper()
	l := newLoop(t)
	m := members.New(members.Config{Loop: l, Seed: seed})
	t.Cleanup(m.Close)
	source := m.Source(domain.Member{Name: "b", URL: at}, "my web")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	res, err := scrapeio.Open(ctx, l, func(h ports.ScrapeHandlers) ports.Scrape { return source.Scrape(r, h) })
	if err != nil {
		return nil, "", err
	}
	defer res.Close()
	body, err := io.ReadAll(res)
	return res, string(body), err
}

func TestScrapesAreRequestedAsTheCallerDid(t *testing.T) {
	var got *http.Request
	page := strings.Repeat("a_metric 1\n", 1<<17) // larger than any window
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.WriteHeader(http.StatusProcessing)
		passon.MarkAnswer(w.Header())
		w.Header().Set("Content-Type", "text/x")
		w.Header().Set("Content-Encoding", "br")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(server.Close)
	res, body, err := pass(t, server.URL+"/below/", domain.ScrapeRequest{Query: "a=%20&b", Within: 4 * time.Second, Header: []domain.HeaderField{
		{Name: "Accept-Encoding", Value: "br"}, {Name: "Authorization", Value: "Bearer x"}, {Name: "X-Tenant", Value: "a"}, {Name: "X-Tenant", Value: "b"},
	}})
	if err != nil || body != page || res.Status != http.StatusTeapot || res.ContentType != "text/x" || res.Coding != "br" {
		t.Fatalf("%v, %d bytes, %+v", err, len(body), res)
	}
	if got.URL.Path != "/below/scrape/~my~20web/metrics" || got.URL.RawQuery != "a=%20&b" || !passon.NewKey(seed).Check(got, "/scrape/~my~20web/metrics") {
		t.Errorf("asked for %s with %v", got.URL, got.Header)
	}
	h := passon.Restore(got.Header)
	within := h.Get("X-Prometheus-Scrape-Timeout-Seconds")
	h.Del("X-Prometheus-Scrape-Timeout-Seconds")
	if !strings.HasPrefix(within, "3.") && within != "4.000" {
		t.Errorf("time %q", within)
	}
	if want := (http.Header{"Accept-Encoding": {"br"}, "Authorization": {"Bearer x"}, "X-Tenant": {"a", "b"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("header %v", h)
	}
}

// raw serves connections by a function.
func raw(t *testing.T, serve func(conn net.Conn)) (at string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					serve(conn)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestMembersThatDoNotAnswer(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, at := range map[string]string{
		"not there":           closed.URL,
		"no URL":              "http://[::1",
		"no name":             "",
		"hangs":               raw(t, func(net.Conn) { <-hang }),
		"ends":                raw(t, func(net.Conn) {}),
		"ends after 102":      raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 102 Processing\r\n\r\n") }),
		"no HTTP":             raw(t, func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-x\r\n\r\n") }),
		"huge header":         raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n") }),
		"a header of many":    raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X: y\r\n", 1<<16)+"\r\n") }),
		"no member":           raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }),
		"redirects elsewhere": raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n") }),
		"other seed":          raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, _, err := pass(t, at, domain.ScrapeRequest{Within: 8 * time.Second})
			if !errors.Is(err, domain.ErrNoAnswer) {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("it took %s, which leaves no time for another way", took)
			}
		})
	}
}

// A member that has begun to respond is awaited: its client takes as long as it takes.
func TestResponsesThatDoNotEnd(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	begun := "HTTP/1.1 200 OK\r\nDhtprom-Outcome: answered\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 200000)
	for name, at := range map[string]string{
		"no head":  raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 102 Processing\r\n\r\n"); <-hang }),
		"no end":   raw(t, func(c net.Conn) { fmt.Fprint(c, begun); <-hang }),
		"cut off":  raw(t, func(c net.Conn) { fmt.Fprint(c, begun) }),
		"too long": raw(t, func(c net.Conn) { fmt.Fprint(c, strings.Replace(begun, "300000", "3000000000", 1)) }),
	} {
		_, _, err := pass(t, at, domain.ScrapeRequest{Within: time.Second})
		if err == nil || errors.Is(err, domain.ErrNoAnswer) {
			t.Errorf("%s: %v", name, err)
		}
		if late := strings.HasPrefix(name, "no "); late != errors.Is(err, domain.ErrTimeout) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
