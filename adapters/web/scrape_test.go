package web_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// coded returns a text in the codings gzip and zstd.
func coded(t *testing.T, text string) (zipped, zstandard []byte) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.EncodeAll([]byte(text), nil)
}

// What a client answers comes back as it is, in a coding that the caller accepts.
func TestResponsesPassAsTheyAre(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	const text = "up 1\n# EOF\n"
	zipped, zstandard := coded(t, text)
	for name, test := range map[string]struct {
		status               int
		contentType, coding  string
		body                 []byte
		accept               string
		wantCoding, wantBody string
	}{
		"text":                     {200, "text/plain; version=0.0.4", "", []byte(text), "gzip", "", text},
		"protobuf":                 {200, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "", []byte{5, 10, 3}, "", "", "\x05\n\x03"},
		"no type":                  {200, "", "", []byte("<html>"), "", "", "<html>"},
		"an odd type":              {200, "nonsense", "", []byte("x"), "", "", "x"},
		"nothing":                  {200, "text/plain", "", nil, "", "", ""},
		"204":                      {204, "", "", nil, "", "", ""},
		"206":                      {206, "text/plain", "", []byte(text), "", "", text},
		"500":                      {500, "text/plain", "", []byte("sensor gone\n"), "gzip", "", "sensor gone\n"},
		"gzip, accepted":           {200, "text/plain", "gzip", zipped, "zstd, gzip", "gzip", string(zipped)},
		"gzip, not accepted":       {200, "text/plain", "gzip", zipped, "zstd", "", text},
		"gzip, by another name":    {200, "text/plain", "X-GZip", zipped, "gzip", "gzip", string(zipped)},
		"zstd, accepted":           {200, "text/plain", "zstd", zstandard, "zstd", "zstd", string(zstandard)},
		"zstd, not accepted":       {200, "text/plain", "zstd", zstandard, "gzip", "", text},
		"another, accepted":        {200, "text/plain", "br", []byte("coded"), "br", "br", "coded"},
		"identity":                 {200, "text/plain", "identity", []byte(text), "", "", text},
		"an error in gzip, passed": {500, "text/plain", "gzip", zipped, "gzip", "gzip", string(zipped)},
	} {
		for _, known := range []bool{true, false} {
			page := scrape.Page{ScrapeHead: domain.ScrapeHead{Status: test.status, ContentType: test.contentType, Coding: test.coding, Length: -1}, Body: test.body}
			if known {
				page.Length = int64(len(test.body))
			}
			s.bodies["web"], s.answers["web"] = "", page
			res, body := get(t, server.URL+"/scrape/web/metrics", "Accept-Encoding", test.accept)
			if res.StatusCode != test.status || body != test.wantBody || res.Header.Get("Content-Encoding") != test.wantCoding || strings.Join(res.Header["Content-Type"], "|") != test.contentType {
				t.Errorf("%s, length known %v: %d %q %v", name, known, res.StatusCode, body, res.Header)
			}
		}
	}
}

// Pages that come uncompressed are compressed for callers on other machines only.
func TestPagesForThisMachineAreNotCompressed(t *testing.T) {
	s := newScraper()
	h := handler(t, newLoop(t), s)
	s.bodies["web"] = strings.Repeat("up 1\n", 1000)
	for address, want := range map[string]string{
		"192.0.2.1:1234": "gzip", "[2001:db8::1]:1234": "gzip", "@": "gzip",
		"127.0.0.1:1234": "", "[::ffff:127.0.0.2]:1234": "", "[::1]:1234": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/scrape/web/metrics", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		r.RemoteAddr = address
		got := httptest.NewRecorder()
		h.ServeHTTP(got, r)
		if coding := got.Header().Get("Content-Encoding"); got.Code != 200 || coding != want || want == "" && got.Body.String() != s.bodies["web"] {
			t.Errorf("%s: %d %q, %d bytes", address, got.Code, coding, got.Body.Len())
		}
	}
}

func TestCodingThatCannotBeDecodedIsAnError(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	s.bodies["web"] = ""
	for name, want := range map[string]string{"deflate": "content coding \"deflate\"", "gzip": "cannot be decoded"} {
		s.answers["web"] = scrape.Page{ScrapeHead: domain.ScrapeHead{Status: 200, ContentType: "text/plain", Coding: name, Length: 5}, Body: []byte("coded")}
		if res, body := get(t, server.URL+"/scrape/web/metrics", "Accept-Encoding", "zstd"); res.StatusCode != 502 || !strings.Contains(body, want) || !strings.Contains(res.Status, want) {
			t.Errorf("%s: %s %q", name, res.Status, body)
		}
	}
}

// The scraper gets all of the header, of which it passes on what the target asks for.
func TestRequestsOfCallersArePassedOn(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	s.bodies["web"] = "up 1\n"
	get(t, server.URL+"/scrape/web/metrics?target=a&module=b", "Accept", "a/b", "Accept-Encoding", "gzip, zstd", "User-Agent", "Prometheus/3.5", "Traceparent", "00-1",
		"Authorization", "Bearer x", "X-Prometheus-Scrape-Timeout-Seconds", "0.8")
	want := domain.ScrapeRequest{Query: "target=a&module=b", Within: 600 * time.Millisecond, Compress: true, Header: []domain.HeaderField{
		{Name: "Accept", Value: "a/b"}, {Name: "Accept-Encoding", Value: "gzip, zstd"}, {Name: "Authorization", Value: "Bearer x"}, {Name: "Connection", Value: "close"},
		{Name: "Traceparent", Value: "00-1"}, {Name: "User-Agent", Value: "Prometheus/3.5"}, {Name: "X-Prometheus-Scrape-Timeout-Seconds", Value: "0.8"},
	}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprintf("%+v", s.asked) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v", s.asked)
	}
}

// A client could make changes with the password of this server.
func TestCredentialsForThisServerAreNotPassedOn(t *testing.T) {
	s := newScraper()
	s.bodies["web"] = "up 1\n"
	for _, known := range []bool{false, true} {
		h := handlerWith(t, newLoop(t), s, func(c *web.Config) { c.Authenticated = func(*http.Request) bool { return known } })
		server := httptest.NewServer(h)
		get(t, server.URL+"/scrape/web/metrics", "Authorization", "Basic eDp5", "X-Tenant", "blue")
		server.Close()
		s.mu.Lock()
		asked := s.asked
		s.mu.Unlock()
		if got := asked.Field("Authorization"); (got == "") != known || asked.Field("X-Tenant") != "blue" {
			t.Errorf("authenticated %v: %q of %+v", known, got, asked)
		}
	}
}

// breaking is a scraper whose responses end in the middle.
type breaking struct {
	*scraper
	head domain.ScrapeHead
	body string
}

func (b *breaking) Request(_ domain.Alias, _ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	b.loop.Post(func() {
		h.OnHead(b.head)
		h.OnData([]byte(b.body))
		h.OnEnd(&domain.ScrapeError{Fault: domain.FaultExporter, Reason: "exporter broke off"})
	})
	return portstest.Nothing{}
}

// Half a page is no page, at whatever byte it breaks off: Prometheus would store the half.
func TestBrokenResponsesEndInABrokenConnection(t *testing.T) {
	zipped, _ := coded(t, "a 1\nb 2\n")
	for name, b := range map[string]*breaking{
		"length unknown":     {head: domain.ScrapeHead{Status: 200, Length: -1}, body: "a 1\n"},
		"length known":       {head: domain.ScrapeHead{Status: 200, Length: 8}, body: "a 1\n"},
		"at the last byte":   {head: domain.ScrapeHead{Status: 200, Length: -1}, body: "a 1\n# EOF\n"},
		"decoded on the way": {head: domain.ScrapeHead{Status: 200, Coding: "gzip", Length: -1}, body: string(zipped)},
		"compressed":         {head: domain.ScrapeHead{Status: 200, Length: 100_000}, body: strings.Repeat("a 1\n", 4000)},
	} {
		b.scraper = newScraper()
		server := serveFor(t, b.scraper, b)
		req, err := http.NewRequest(http.MethodGet, server.URL+"/scrape/web/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "identity")
		if name == "compressed" {
			req.Header.Set("Accept-Encoding", "gzip")
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a caller takes half a page for all of it", name)
		}
	}
}

// Prometheus shows the status line of a failed scrape, all of it.
func TestReasonOfAFailureIsInTheStatusLine(t *testing.T) {
	s := newScraper()
	server := serve(t, s)
	for want, err := range map[string]error{
		"502 exporter refused the connection (client web, ":     &domain.ScrapeError{Fault: domain.FaultExporter, Reason: "exporter refused the connection"},
		"502 b?se ? line (client web, ":                         &domain.ScrapeError{Fault: domain.FaultExporter, Reason: "b\u00f6se \u2013\nline"},
		"504 no answer of the exporter within 4.5s (client web": &domain.ScrapeError{Fault: domain.FaultTime, Reason: "no answer of the exporter within 4.5s"},
		"400 the target takes no parameters (client web, ":      &domain.ScrapeError{Fault: domain.FaultRequest, Reason: "the target takes no parameters"},
		"502 Failed to obtain metrics (uid 7) (client web, ":    &domain.RemoteError{Message: "Failed to obtain metrics (uid 7)"},
		"404 unknown alias (client web, ":                       domain.ErrUnknownAlias,
		"502 xxxxxxxxxx":                                        &domain.ScrapeError{Reason: strings.Repeat("x", 1000)},
	} {
		s.errs["web"] = err
		for range 2 { // the connection is closed in between
			res, body := get(t, server.URL+"/scrape/web/metrics")
			if !strings.HasPrefix(strings.ReplaceAll(res.Status, "\u2013", "?"), want) || len(res.Status) > 204 || !strings.Contains(res.Status, "(client web, ") || body == "" || !res.Close {
				t.Errorf("status %q, body %q; want %q", res.Status, body, want)
			}
		}
	}
	res, body := do(t, http.MethodHead, server.URL+"/scrape/web/metrics")
	if body != "" || !strings.Contains(res.Status, "(client web") {
		t.Errorf("HEAD: %q %q", res.Status, body)
	}
}
