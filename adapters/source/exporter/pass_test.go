package exporter_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/adapters/source/families"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// as is a request with header fields, by name and value.
func as(fields ...string) domain.ScrapeRequest {
	r := domain.ScrapeRequest{Within: 9500 * time.Millisecond}
	for i := 0; i < len(fields); i += 2 {
		r.Header = append(r.Header, domain.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return r
}

// What the exporter answers comes back as it is, and it sees the header of the caller.
func TestAnswersPassAsTheyAre(t *testing.T) {
	zipped := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return b.String()
	}
	for name, answer := range map[string]struct {
		status                    int
		contentType, coding, body string
	}{
		"text":                  {200, "text/plain; version=0.0.4", "", "up 1\n"},
		"last line of another":  {200, "text/plain", "", "g 2 1795743773572\n# EOF\n"},
		"protobuf":              {200, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "", "\x05\n\x03abc"},
		"gzip":                  {200, "text/plain; version=0.0.4", "gzip", zipped("up 1\n")},
		"zstd":                  {200, "text/plain", "zstd", "\x28\xb5\x2f\xfd"},
		"deflate":               {200, "text/plain", "deflate", "x"},
		"no type":               {200, "", "", "up 1\n"},
		"an odd type":           {200, "nonsense", "", "up 1\n"},
		"nothing":               {200, "text/plain", "", ""},
		"204":                   {204, "", "", ""},
		"206":                   {206, "text/plain", "", "up 1\n"},
		"a redirect":            {302, "text/html", "", "<a href=\"/login\">Found</a>\n"},
		"an error with reasons": {500, "text/plain", "", "sensor gone\n"},
		"a status of its own":   {799, "text/plain", "", "odd\n"},
		"many pieces":           {200, "text/plain", "", strings.Repeat("up 1\n", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			var seen http.Header
			s, l, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
				seen = r.Header
				w.Header()["Content-Type"] = nil
				if answer.contentType != "" {
					w.Header().Set("Content-Type", answer.contentType)
				}
				if answer.coding != "" {
					w.Header().Set("Content-Encoding", answer.coding)
				}
				w.WriteHeader(answer.status)
				_, _ = io.WriteString(w, answer.body)
			})
			p, err := get(l, s, as("Accept", "a/b", "Accept-Encoding", "zstd", "User-Agent", "Prometheus/3.5", "Traceparent", "00-1"))
			if err != nil || p.Status != answer.status || p.ContentType != answer.contentType || p.Coding != answer.coding || string(p.Body) != answer.body {
				t.Errorf("%+v, %v", p, err)
			}
			if n := int64(len(answer.body)); p.Length != n && p.Length != -1 {
				t.Errorf("length %d of %d", p.Length, n)
			}
			if seen.Get("Accept") != "a/b" || seen.Get("Accept-Encoding") != "zstd" || seen.Get("User-Agent") != "Prometheus/3.5" || seen.Get("Traceparent") != "00-1" {
				t.Errorf("the exporter saw %v", seen)
			}
			var left float64
			if _, err := fmt.Sscan(seen.Get("X-Prometheus-Scrape-Timeout-Seconds"), &left); err != nil || left <= 8 || left > 9.5 {
				t.Errorf("the exporter has %v s, %v", left, err)
			}
		})
	}
}

// A caller that sends no header has none at the exporter.
func TestNothingIsAskedThatTheCallerDoesNotAsk(t *testing.T) {
	var seen http.Header
	s, l, _ := serving(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	if _, err := get(l, s, as()); err != nil {
		t.Fatal(err)
	}
	if len(seen["Accept"])+len(seen["Accept-Encoding"]) != 0 || seen.Get("User-Agent") != "dhtprom-client" {
		t.Errorf("the exporter saw %v", seen)
	}
}

func TestFailuresNameTheExporterAndKeepItsAddress(t *testing.T) {
	for want, h := range map[string]http.HandlerFunc{
		"exporter closed the connection without an answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"exporter broke off after 7 bytes": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "up 1\nup")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"metrics are 5000 bytes or more, the limit is 4000": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write(make([]byte, 5000))
		},
		"metrics are 20000 bytes or more, the limit is 4000": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 20_000)) },
	} {
		s, l, server := exporterOf(t, h, func(c *exporter.Config) { c.MaxBytes = 4000 })
		_, err := get(l, s, as())
		reported, ok := errors.AsType[*domain.ScrapeError](err)
		if !ok || reported.Reason != want || !strings.Contains(err.Error(), server.URL) {
			t.Errorf("%v, reported %v; want %q", err, reported, want)
		}
	}
	for target, want := range map[string]string{
		"http://127.0.0.1:1/metrics":           "exporter refused the connection",
		"unix:///nowhere/x.sock":               "the exporter's socket does not exist",
		"http://name.invalid/metrics":          "the exporter's name cannot be resolved",
		"http://[2001:db8:1:2:3:4:5:6]:1/page": "the exporter's address cannot be reached",
	} {
		l := make(loop, 8)
		_, err := get(l, scrapes(t, l, target, nil), as())
		reported, ok := errors.AsType[*domain.ScrapeError](err)
		if op, is := errors.AsType[*net.OpError](err); is && op.Timeout() {
			continue // no route is not answered at once everywhere
		}
		if !ok || reported.Reason != want || reported.Fault != domain.FaultExporter {
			t.Errorf("%s: %v, reported %v", target, err, reported)
		}
	}
}

// With the check, a page that is not metrics is the exporter's failure, in any coding that is read. Others pass.
func TestPagesThatAreNotMetricsAreRejectedWhereThatIsWanted(t *testing.T) {
	const login = "<!DOCTYPE html>\n<title>Log in</title>"
	page := func(size int) string { return "up 1\n#" + strings.Repeat(" ", size-6) }
	const notText = "the answer is not metrics text: line 1 is not a sample"
	for name, c := range map[string]struct {
		status             int
		kind, coding, body string
		fault              domain.Fault
		reason             string // "" for a page that passes
	}{
		"metrics":               {200, "text/plain", "", "up 1\n", 0, ""},
		"metrics, compressed":   {200, "text/plain", "gzip", string(zipped(t, "up 1\n")), 0, ""},
		"login":                 {200, "text/html", "", login, domain.FaultExporter, notText},
		"login, compressed":     {200, "text/html", "gzip", string(zipped(t, login)), domain.FaultExporter, notText},
		"in capitals":           {200, "text/html", "GZIP", string(zipped(t, login)), domain.FaultExporter, notText},
		"by an older name":      {200, "text/html", "x-gzip", string(zipped(t, login)), domain.FaultExporter, notText},
		"in no coding, by name": {200, "text/html", "identity", login, domain.FaultExporter, notText},
		"half of it":            {200, "text/plain", "gzip", string(zipped(t, "up 1\n")[:20]), domain.FaultExporter, "unexpected EOF"},
		"long":                  {200, "text/plain", "gzip", string(zipped(t, page(4001))), domain.FaultClient, "metrics are 4001 bytes or more, the limit is 4000"},
		"at the limit":          {200, "text/plain", "gzip", string(zipped(t, page(4000))), 0, ""},
		"another coding":        {200, "text/plain", "zstd", "\x28\xb5\x2f\xfd", 0, ""},
		"protobuf":              {200, "application/vnd.google.protobuf; encoding=delimited", "", "\x05\n\x03abc", 0, ""},
		"an error":              {503, "text/html", "", login, 0, ""},
	} {
		s, l, _ := exporterOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			if c.coding != "" {
				w.Header().Set("Content-Encoding", c.coding)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}, func(cfg *exporter.Config) { cfg.Check, cfg.MaxBytes = true, 4000 })
		p, err := get(l, s, as("Accept-Encoding", "gzip"))
		if c.reason == "" {
			if err != nil || p.Status != c.status || p.Coding != c.coding || string(p.Body) != c.body {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
			continue
		}
		if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || reported.Fault != c.fault || reported.Reason != c.reason {
			t.Errorf("%s: %q, %v, reported %v; want %q", name, p.Body, err, reported, c.reason)
		}
	}
}

// A status that HTTP does not know would end the connection to the scraper.
func TestImpossibleStatusesAreFailuresOfTheExporter(t *testing.T) {
	for status, want := range map[string]string{"000": "exporter answered 000", "099": "exporter answered 099", "101": "exporter answered 101"} {
		s, l, _ := serving(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 "+status+" Odd\r\nContent-Length: 0\r\n\r\n")
		})
		_, err := get(l, s, as())
		reported, ok := errors.AsType[*domain.ScrapeError](err)
		if !ok || reported.Reason != want || reported.Fault != domain.FaultExporter {
			t.Errorf("%s: %v, reported %v", status, err, reported)
		}
	}
}

func TestExporterThatIsLateIsAFailureOfTime(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s, l, _ := serving(t, func(http.ResponseWriter, *http.Request) { <-release })
	r := as()
	r.Within = 20 * time.Millisecond
	_, err := get(l, s, r)
	if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || reported.Fault != domain.FaultTime || reported.Reason != "no answer of the exporter within 20ms" {
		t.Errorf("%v, reported %v", err, reported)
	}
}

// A scrape that is cancelled ends the exporter's request.
func TestCancelReachesTheExporter(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	s, _, _ := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(ended)
	})
	cancel := scrape.Collect(s, as(), 100, func(scrape.Page, error) { t.Error("called after cancel") })
	<-started
	cancel()
	<-ended
}

func TestBodiesAreCompressedWhereThatIsWantedAndHelps(t *testing.T) {
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	text := strings.Repeat("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 12345.67\n", 2000)
	for _, test := range []struct {
		name, body, coding string
		status             int
		want               string
	}{
		{"text", text, "", 200, "gzip"},
		{"noise", string(noise), "", 200, ""},
		{"short", text[:2000], "", 200, ""},
		{"longer", text[:20_000], "", 200, "gzip"},
		{"an error", text, "", 500, ""},
		{"in a coding", text, "zstd", 200, "zstd"},
	} {
		for _, flushed := range []bool{false, true} {
			s, l, _ := serving(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.coding != "" {
					w.Header().Set("Content-Encoding", test.coding)
				}
				if !flushed {
					w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
				}
				w.WriteHeader(test.status)
				if flushed {
					_ = http.NewResponseController(w).Flush()
				}
				_, _ = io.WriteString(w, test.body)
			})
			r := as()
			r.Compress = true
			p, err := get(l, s, r)
			if err != nil || p.Coding != test.want {
				t.Errorf("%s: coding %q, %v", test.name, p.Coding, err)
				continue
			}
			if p.Length != -1 && p.Length != int64(len(p.Body)) {
				t.Errorf("%s: length %d of %d bytes", test.name, p.Length, len(p.Body))
			}
			body := p.Body
			if test.want == "gzip" {
				z, err := gzip.NewReader(bytes.NewReader(p.Body))
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(z); err != nil || len(p.Body)*5 > len(body) {
					t.Errorf("%s: %d bytes of %d, %v", test.name, len(p.Body), len(body), err)
				}
			}
			if string(body) != test.body {
				t.Errorf("%s: the body is another one", test.name)
			}
		}
	}
}

func TestAllowedParametersReachTheExporter(t *testing.T) {
	var seen string
	s, l, _ := exporterOf(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.RawQuery }, func(c *exporter.Config) {
		c.URL.RawQuery = "module=http_2xx&fixed=a%20b"
		c.AllowParams = []string{"target", "module"}
	})
	for asked, want := range map[string]string{
		"":                              "module=http_2xx&fixed=a%20b",
		"target=https%3A%2F%2Fx%2F%3Fa": "fixed=a+b&module=http_2xx&target=https%3A%2F%2Fx%2F%3Fa",
		"module=icmp&target=a&target=b": "fixed=a+b&module=icmp&target=a&target=b",
		"target=a&debug=true":           "! the target does not take the parameter \"debug\", only target, module",
		"fixed=c":                       "! the target does not take the parameter \"fixed\", only target, module",
		"target=%zz":                    "! the parameters cannot be read: invalid URL escape \"%zz\"",
	} {
		r := as()
		r.Query, seen = asked, ""
		_, err := get(l, s, r)
		if reported, ok := errors.AsType[*domain.ScrapeError](err); ok && reported.Fault == domain.FaultRequest {
			seen = "! " + reported.Reason
		}
		if seen != want {
			t.Errorf("%s: %s, %v; want %s", asked, seen, err, want)
		}
	}
}

// The rules of a target leave out families, whatever the coding, and the rest is the exporter's, byte for byte.
func TestRulesForFamiliesAreApplied(t *testing.T) {
	pattern := func(text string) families.Pattern {
		p, err := families.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	page := "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# TYPE b gauge\nb{x=\"y\"}  2\nb 3\n"
	const kept = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"
	for _, test := range []struct {
		name, coding, accept string
		text, check          bool
	}{
		{name: "plain"}, {name: "checked", check: true}, {name: "gzip", coding: "gzip"}, {name: "gzip, asked for", coding: "gzip", accept: "gzip"}, {name: "text", text: true},
	} {
		s, l, _ := exporterOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			if test.coding == "" {
				_, _ = io.WriteString(w, page)
				return
			}
			w.Header().Set("Content-Encoding", test.coding)
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, page)
			_ = z.Close()
		}, func(c *exporter.Config) { c.Families.Drop, c.Check = []families.Pattern{pattern("b|c")}, test.check })
		r := as("Accept-Encoding", test.accept)
		r.Text = test.text
		p, err := get(l, s, r)
		if err != nil || p.Status != 200 || p.Coding != "" || string(p.Body) != kept {
			t.Errorf("%s: %+v %q, %v", test.name, p.ScrapeHead, p.Body, err)
		}
		if d := s.Dropped(); d.Families() != 1 || d.Samples() != 2 {
			t.Errorf("%s: %d families and %d samples were left out", test.name, d.Families(), d.Samples())
		}
	}
	for want, h := range map[string]http.HandlerFunc{
		"rules for metric families cannot be applied": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "br") },
		"exporter broke off after": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, page)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"want at most 1048576": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 2<<20)) },
	} {
		s, l, _ := exporterOf(t, h, func(c *exporter.Config) { c.Families.Keep = []families.Pattern{pattern("a")} })
		_, err := get(l, s, as())
		if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || !strings.Contains(reported.Reason, want) || reported.Fault != domain.FaultExporter {
			t.Errorf("%v, reported %v; want %s", err, reported, want)
		}
	}
	// The answer with another status than 200 is no page.
	s, l, _ := exporterOf(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "b 1", 500) }, func(c *exporter.Config) { c.Families.Drop = []families.Pattern{pattern("b")} })
	if p, err := get(l, s, as()); err != nil || string(p.Body) != "b 1\n" {
		t.Errorf("%q, %v", p.Body, err)
	}
}

func TestParametersAreRejected(t *testing.T) {
	l := make(loop, 8)
	r := as()
	r.Query = "target=x"
	_, err := get(l, scrapes(t, l, "http://127.0.0.1:1/", nil), r)
	if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || reported.Fault != domain.FaultRequest {
		t.Errorf("%v", err)
	}
}
