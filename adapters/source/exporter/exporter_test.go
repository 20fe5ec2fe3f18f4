package exporter_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/portstest/inbox"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

type loop = inbox.Loop

// collect runs one collection of a text on the test's goroutine.
func collect(l loop, s *source.Source, within time.Duration) (body string, err error) {
	p, err := get(l, s, domain.ScrapeRequest{Text: true, Within: within})
	return string(p.Body), err
}

// get runs one collection on the test's goroutine.
func get(l loop, s *source.Source, r domain.ScrapeRequest) (page scrape.Page, err error) {
	finished := false
	scrape.Collect(s, r, 1<<30, func(p scrape.Page, e error) { finished, page, err = true, p, e })
	for !finished {
		(<-l)()
	}
	return page, err
}

func serving(t *testing.T, h http.HandlerFunc) (*source.Source, loop, *httptest.Server) {
	t.Helper()
	return exporterOf(t, h, nil)
}

func exporterOf(t *testing.T, h http.HandlerFunc, change func(*exporter.Config)) (*source.Source, loop, *httptest.Server) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	l := make(loop, 8)
	return scrapes(t, l, server.URL+"/metrics", change), l, server
}

// scrapes returns a source for an exporter.
func scrapes(t *testing.T, l loop, target string, change func(*exporter.Config)) *source.Source {
	t.Helper()
	cfg := exporter.Config{}
	var err error
	if cfg.Target, err = exporter.ParseTarget(target); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	s, err := cfg.Source(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Issue row 6.17: characters split over two chunks are destroyed.
func TestExportersBodyComesThroughWhole(t *testing.T) {
	text := "# HELP x Überwärmung 電子\nx 1\n"
	s, l, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || !strings.Contains(r.Header.Get("Accept"), "version=0.0.4") || strings.Contains(r.Header.Get("Accept"), "proto") {
			t.Errorf("request %s, accept %q", r.URL, r.Header.Get("Accept"))
		}
		if r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds") == "" {
			t.Error("the exporter does not receive its timeout")
		}
		for i := range len(text) { // a byte at a time
			fmt.Fprint(w, text[i:i+1])
			w.(http.Flusher).Flush()
		}
	})
	if body, err := collect(l, s, 10*time.Second); body != text || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

func TestCompressedExportersAreReadAndBounded(t *testing.T) {
	s, l, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 64 {
			if _, err := z.Write(zeros); err != nil {
				return // the client had enough
			}
		}
		_ = z.Close()
	})
	_, err := collect(l, s, 10*time.Second)
	if _, ok := errors.AsType[*domain.BodyTooLargeError](err); !ok {
		t.Errorf("%v", err)
	}
}

// zipped returns text as one member of gzip, flushed after each line.
func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	for line := range strings.Lines(text) {
		if _, err := io.WriteString(z, line); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Compressed input without text is bounded, too: the rest of the answer is not read.
func TestCompressedInputWithoutTextIsBounded(t *testing.T) {
	member, lines := zipped(t, ""), strings.Repeat("a 1\n", 50_000)
	head := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	emptyBlock := []byte{0, 0, 0, 0xff, 0xff}
	const many = 64 << 10
	for name, c := range map[string]struct {
		coding string
		body   []byte
		want   string // "" for an error
	}{
		"a member":                     {"gzip", zipped(t, "a 1\n"), "a 1\n"},
		"a coding in capitals":         {"GZIP", zipped(t, "a 1\n"), "a 1\n"},
		"an older name of the coding":  {"x-gzip", zipped(t, "a 1\n"), "a 1\n"},
		"two members":                  {"gzip", slices.Concat(zipped(t, "a 1\n"), zipped(t, "b 1\n")), "a 1\nb 1\n"},
		"a flush after each line":      {"gzip", zipped(t, lines), lines},
		"no compression":               {"identity", []byte("a 1\n"), "a 1\n"},
		"empty members":                {"gzip", slices.Concat(bytes.Repeat(member, many), zipped(t, "a 1\n")), ""},
		"empty members after the text": {"gzip", slices.Concat(zipped(t, "a 1\n"), bytes.Repeat(member, many)), ""},
		"empty blocks":                 {"gzip", slices.Concat(head, bytes.Repeat(emptyBlock, many), []byte{1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0}), ""},
		"a long name":                  {"gzip", slices.Concat([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte("a"), 1<<20)), ""},
		"half a member":                {"gzip", zipped(t, "a 1\n")[:20], ""},
	} {
		s, l, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("accepts %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", c.coding)
			_, _ = w.Write(c.body)
		})
		body, err := collect(l, s, 10*time.Second)
		if (err == nil) != (c.want != "") || body != c.want {
			t.Errorf("%s, %d bytes: %d bytes, %v", name, len(c.body), len(body), err)
		}
	}
}

func TestExportersFailuresAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"status": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, "503"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/metrics" {
				panic("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "302"},
		"page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>log in</html>")
		}, "text/html"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "up 1\n")
		}, "EOF"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "20000000")
			_, _ = w.Write(make([]byte, 20_000_000))
		}, "20000000 bytes"},
	} {
		s, l, _ := serving(t, c.handler)
		if body, err := collect(l, s, 10*time.Second); err == nil || !strings.Contains(err.Error(), c.want) || body != "" {
			t.Errorf("%s: %d bytes, %v", name, len(body), err)
		}
	}
}

// Issue row 6.17: the time-out counts idle time only.
func TestSlowExporterMeetsTheWholeDeadline(t *testing.T) {
	stop := make(chan struct{})
	s, l, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C: // never idle, never done
				fmt.Fprint(w, "#\n")
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				close(stop)
				return
			}
		}
	})
	if _, err := collect(l, s, 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	<-stop
}

func TestPasswordOfATargetStaysOutOfErrors(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // the port is closed
	l := make(loop, 8)
	host := strings.TrimPrefix(server.URL, "http://")
	s := scrapes(t, l, "http://me:hunter2@"+host, nil)
	if _, err := collect(l, s, time.Second); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), host) {
		t.Errorf("%v", err)
	}
}

func TestBadTargetsAreRefusedInOneLine(t *testing.T) {
	for _, text := range []string{"", "localhost:9100", "ftp://x/", "http://", "http:///metrics", "http://[::1", "http://a b/", "http://me:hunter2@[::1", "unix:/x",
		"unix://x.sock", "unix:///", "unix:///run/", "unix:///run/x.sock:metrics", "unix:///run/x.sock:/a%zz", "unix://"} {
		_, err := exporter.ParseTarget(text)
		if err == nil || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"https://[::1]:9100/metrics?x=1":    "https://[::1]:9100/metrics?x=1",
		"http://me:hunter2@localhost/":      "http://me:xxxxx@localhost/",
		"unix:///run/x.sock":                "unix:///run/x.sock:/metrics",
		"unix:///run/x.sock:/other?name=up": "unix:///run/x.sock:/other?name=up",
	} {
		if got, err := exporter.ParseTarget(text); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// Issue row 6.17: only http works.
func TestHTTPSExportersAreReachedAndVerified(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	l := make(loop, 8)
	if _, err := collect(l, scrapes(t, l, server.URL, nil), 10*time.Second); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server without a trusted certificate: %v", err)
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("https://user:word@localhost:9100/metrics?x=1")
	f.Add("unix:///run/exporter.sock:/metrics")
	parsing := cost.Parsing
	parsing.BytesPerByte *= 2 // url.Parse quotes what is wrong, four characters for a byte, in a buffer that grows
	f.Fuzz(func(t *testing.T, text string) {
		var target exporter.Target
		var err error
		parsing.Check(t, len(text), func() { target, err = exporter.ParseTarget(text) })
		if err == nil && target.URL == nil {
			t.Errorf("%q is read as %+v", text, target)
		}
	})
}
