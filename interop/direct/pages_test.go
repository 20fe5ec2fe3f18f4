package direct_test

import (
	"bytes"
	"cmp"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	openType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

	text = "# HELP up Whether.\n# TYPE up gauge\nup{a=\"1\"} 1\nup{a=\"2\"} 0 1795743773572\n"

	openMetrics = "# HELP a_seconds Text.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n" +
		"a_seconds_total{b=\"c\"} 3.5 1795743773.572 # {trace_id=\"x\"} 0.5 1795743770\na_seconds_created{b=\"c\"} 1795743000.25\n" +
		"# TYPE build info\nbuild_info{version=\"1\"} 1\n# TYPE state stateset\nstate{state=\"on\"} 1\nstate{state=\"off\"} 0\n" +
		"# TYPE sizes gaugehistogram\nsizes_bucket{le=\"1.0\"} 2\nsizes_bucket{le=\"+Inf\"} 3\nsizes_gcount 3\nsizes_gsum 4.5\n" +
		"# TYPE \"größe\" gauge\n{\"größe\",\"länge\"=\"1\"} 2\n# EOF\n"
)

// page is a page of an exporter that misbehaves, or that Prometheus rejects.
type page struct {
	name    string
	serve   http.HandlerFunc
	up      func(*caller) bool // directly
	samples int                // where up
	timeout time.Duration      // of the scrape; patience by default
	few     bool               // only one caller, because of the size or the time

	// breaks means that the exporter ends the connection, or the time ends, in the middle of the response or before it. The status then is
	// the scraper's, with the reason in the status line, unless the response had begun.
	breaks bool
	// apart is the reason of a difference by design. Then through is the conclusion through dhtprom, and of the responses, only the
	// conclusions are compared.
	apart   string
	through func(*caller) bool
}

func always(*caller) bool        { return true }
func never(*caller) bool         { return false }
func lenient(c *caller) bool     { return c.fallback != "" }
func decodesZstd(c *caller) bool { return c.zstd }
func foldsCase(c *caller) bool   { return c.decodes }
func largeHeader(c *caller) bool { return !c.decodes }

// utf8Names reports whether a caller accepts names in UTF-8.
func utf8Names(c *caller) bool {
	return !contains(c.agent, "/2.") && !contains(c.accept, "underscores")
}

// answer is a response with a known length.
func answer(status int, contentType, body string) http.HandlerFunc {
	return coded(status, contentType, "", body)
}

func coded(status int, contentType, coding, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		if status != http.StatusNoContent {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the comparison notices an error
	}
}

// chunked is a response of unknown length.
func chunked(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, body)
	}
}

// raw writes bytes as they are and closes the connection.
func raw(response string) http.HandlerFunc { return ends(response, false) }

// reset writes bytes as they are and resets the connection.
func reset(response string) http.HandlerFunc { return ends(response, true) }

func ends(response string, abruptly bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, response)
		if abruptly {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
	}
}

// known is a response with its length, whose last missing bytes are not sent; unknown is one in chunks without the last missing bytes.
func known(body string, missing int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", textType, len(body), body[:len(body)-missing])
}

func unknown(body string, missing int) string {
	whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", textType, len(body), body)
	return whole[:len(whole)-missing]
}

// hangs sends the begin of a response, or nothing, and then waits until the caller is gone.
func hangs(begin string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if begin != "" {
			w.Header().Set("Content-Type", textType)
			_, _ = io.WriteString(w, begin)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func gzipped(body string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	return b.String()
}

func zstandard(body string) string {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err) // there are no options
	}
	return string(z.EncodeAll([]byte(body), nil))
}

func deflated(body string) string {
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is valid
	}
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	return b.String()
}

// large returns a text of so many series, and of at least so many bytes.
func large(series, bytes int) string {
	var b strings.Builder
	for i := range series {
		fmt.Fprintf(&b, "series_with_a_name{number=\"%d\",filler=\"%s\"} %d\n", i, strings.Repeat(fmt.Sprintf("%03d", i*7919%1000), bytes/series/3+1), i)
	}
	return b.String()
}

func pages() []page {
	const series = 40
	whole, long := large(series, 40<<10), large(400, 400<<10)
	zipped, z := gzipped(whole), zstandard(whole)
	seventeen, forty := large(2*series, 17<<20), large(2*series, 40<<20)
	header := func(name, value string, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(name, value)
			h(w, r)
		}
	}
	asked := func(w http.ResponseWriter, r *http.Request) {
		coding, body := "", whole
		switch accepted := r.Header.Get("Accept-Encoding"); {
		case contains(accepted, "zstd"):
			coding, body = "zstd", z
		case contains(accepted, "gzip"):
			coding, body = "gzip", zipped
		}
		coded(200, textType, coding, body)(w, r)
	}
	redirect := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
			return
		}
		answer(200, textType, text)(w, r)
	}
	return []page{
		{name: "text", serve: answer(200, textType, text), up: always, samples: 2},
		{name: "text of unknown length", serve: chunked(textType, text), up: always, samples: 2},
		{name: "OpenMetrics", serve: answer(200, openType, openMetrics), up: utf8Names, samples: 9},
		{name: "OpenMetrics of another version", serve: answer(200, "application/openmetrics-text; version=0.0.1", openMetrics), up: utf8Names, samples: 9},
		{name: "OpenMetrics 2.0", serve: answer(200, "application/openmetrics-text; version=2.0.0", openMetrics), up: never},
		{name: "OpenMetrics without its last line", serve: answer(200, openType, strings.TrimSuffix(openMetrics, "# EOF\n")), up: never},
		{name: "text with the last line of OpenMetrics", serve: answer(200, textType, text+"# EOF\n"), up: always, samples: 2},
		{name: "text 1.0.0 with UTF-8 names", serve: answer(200, "text/plain; version=1.0.0; escaping=allow-utf-8", "{\"größe\"} 1\n"), up: utf8Names, samples: 1},
		{name: "protobuf that is none", serve: answer(200, protobuf, text), up: never},

		{name: "204", serve: answer(204, "", ""), up: never},
		{name: "206", serve: answer(206, textType, text), up: never},
		{name: "299", serve: answer(299, textType, text), up: never},
		{name: "301 without a location", serve: answer(301, "text/html", "<p>Moved"), up: never},
		{name: "304", serve: raw("HTTP/1.1 304 Not Modified\r\n\r\n"), up: never},
		{name: "404", serve: answer(404, "text/plain", "404 page not found\n"), up: never},
		{name: "500 with metrics", serve: answer(500, textType, text), up: never},
		{name: "503", serve: header("Retry-After", "1", answer(503, "text/html; charset=utf-8", whole)), up: never},
		{name: "799", serve: answer(799, textType, text), up: never},
		{name: "103 before the response", serve: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			answer(200, textType, text)(w, r)
		}, up: always, samples: 2},
		{name: "200 with a phrase", serve: raw("HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nup 1\n"), up: always, samples: 1,
			apart: "reason phrases of exporters are not passed on", through: always},
		{name: "500 with a phrase", serve: raw("HTTP/1.1 500 Sensor gone\r\nContent-Length: 0\r\n\r\n"), up: never,
			apart: "reason phrases of exporters are not passed on", through: never},
		{name: "200 without a phrase", serve: raw("HTTP/1.1 200\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nup 1\n"), up: always, samples: 1,
			apart: "reason phrases of exporters are not passed on", through: always},
		{name: "101", serve: raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), up: never,
			apart: "a protocol cannot be switched through a scrape: 502", through: never},
		{name: "099", serve: raw("HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"), up: never,
			apart: "no server can send this status: 502", through: never},
		{name: "a redirect", serve: redirect, up: always, samples: 2,
			apart: "a client follows no redirects: the exporter must not choose what it fetches", through: never},

		{name: "no Content-Type", serve: answer(200, "", text), up: lenient, samples: 2},
		{name: "an odd Content-Type", serve: answer(200, "nonsense", text), up: lenient, samples: 2},
		{name: "a Content-Type that cannot be parsed", serve: answer(200, "text/plain; version", text), up: lenient, samples: 2},
		{name: "a Content-Type in Latin-1", serve: answer(200, "text/plain; x=\"\xfc\"", text), up: always, samples: 2},
		{name: "a long Content-Type", serve: answer(200, "text/plain; x="+strings.Repeat("y", 1000), text), up: always, samples: 2},
		{name: "JSON", serve: answer(200, "application/json", "{\"up\": 1}\n"), up: never},
		{name: "metrics as HTML", serve: answer(200, "text/html", text), up: lenient, samples: 2},
		{name: "a login page", serve: answer(200, "text/html; charset=utf-8", "<!DOCTYPE html>\n<title>Log in</title>\n"), up: never},
		{name: "an empty page", serve: answer(200, textType, ""), up: always},
		{name: "an empty page of unknown length", serve: chunked(textType, ""), up: always},
		{name: "an empty page without a Content-Type", serve: answer(200, "", ""), up: always},
		{name: "a page without samples", serve: answer(200, textType, "# nothing\n"), up: always},
		{name: "a page without its last line feed", serve: answer(200, textType, "up 1"), up: always, samples: 1},
		{name: "invalid UTF-8", serve: answer(200, textType, "up{a=\"\xff\"} 1\n"), up: never},

		{name: "a page in the coding that was asked for", serve: asked, up: always, samples: series},
		{name: "a page without a coding", serve: answer(200, textType, whole), up: always, samples: series},
		{name: "gzip, asked for or not", serve: coded(200, textType, "gzip", zipped), up: always, samples: series},
		{name: "gzip with a failure", serve: coded(500, textType, "gzip", zipped), up: never},
		{name: "gzip that is none", serve: coded(200, textType, "gzip", whole), up: never, breaks: true},
		{name: "gzip that ends early", serve: coded(200, textType, "gzip", zipped[:len(zipped)-1]), up: never, breaks: true},
		{name: "gzip of nothing", serve: coded(200, textType, "gzip", ""), up: never, breaks: true},
		{name: "identity", serve: coded(200, textType, "identity", text), up: always, samples: 2,
			apart: "the name identity of no coding is left out", through: always},
		{name: "zstd, asked for or not", serve: coded(200, textType, "zstd", z), up: decodesZstd, samples: series,
			apart: "the scraper decodes zstd for callers that do not accept it", through: always},
		{name: "deflate", serve: coded(200, textType, "deflate", deflated(whole)), up: never,
			apart: "a coding that none can decode is an error: 502", through: never},
		{name: "text under a coding that does not exist", serve: coded(200, textType, "utf-8", text), up: always, samples: 2,
			apart: "a coding that none can decode is an error: 502; Prometheus parses it as it is", through: never},
		{name: "gzip in capitals", serve: coded(200, textType, "GZIP", zipped), up: foldsCase, samples: series,
			apart: "names of codings have no case, but for Prometheus", through: always},

		{name: "HTTP/1.0, ended by the connection", serve: raw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text), up: always, samples: 2},
		{name: "more than the length", serve: raw(strings.Replace(known(text, 0), fmt.Sprint(len(text)), "30", 1)), up: never},
		{name: "100 kB of header fields", serve: header("X-Filler", strings.Repeat("x", 100<<10), answer(200, textType, text)), up: largeHeader, samples: 2,
			apart: "the header of an exporter is limited to 64 KiB", through: never},

		{name: "no response", serve: raw(""), up: never, breaks: true},
		{name: "no response, reset", serve: reset(""), up: never, breaks: true},
		{name: "no HTTP", serve: raw("SSH-2.0-OpenSSH_9.2\r\n"), up: never, breaks: true},
		{name: "half a header", serve: raw("HTTP/1.1 200 OK\r\nContent-Ty"), up: never, breaks: true},
		{name: "known length, the last byte is missing", serve: raw(known(text, 1)), up: never, breaks: true},
		{name: "known length, all bytes are missing", serve: raw(known(text, len(text))), up: never, breaks: true},
		{name: "known length, long, the last byte is missing", serve: raw(known(long, 1)), up: never, breaks: true},
		{name: "known length, long, half of it is missing", serve: raw(known(long, len(long)/2)), up: never, breaks: true},
		{name: "known length, reset in the middle", serve: reset(known(long, len(long)/2)), up: never, breaks: true},
		{name: "unknown length, the last chunk is missing", serve: raw(unknown(text, len("0\r\n\r\n"))), up: never, breaks: true},
		{name: "unknown length, the last line is missing", serve: raw(unknown(text, len("\r\n"))), up: never, breaks: true},
		{name: "unknown length, the last byte is missing", serve: raw(unknown(text, len("\n\r\n0\r\n\r\n"))), up: never, breaks: true},
		{name: "unknown length, long, the last chunk is missing", serve: raw(unknown(long, len("0\r\n\r\n"))), up: never, breaks: true},
		{name: "unknown length, long, half of it is missing", serve: raw(unknown(long, len(long)/2)), up: never, breaks: true},
		{name: "unknown length, reset in the middle", serve: reset(unknown(long, len(long)/2)), up: never, breaks: true},
		{name: "an aborted handler", serve: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, long)
			panic(http.ErrAbortHandler)
		}, up: never, breaks: true},

		{name: "no response in time", serve: hangs(""), up: never, breaks: true, few: true, timeout: time.Second / 2},
		{name: "half a response in time", serve: hangs(text), up: never, breaks: true, few: true, timeout: time.Second / 2},
		{name: "half a long response in time", serve: hangs(long), up: never, breaks: true, few: true, timeout: time.Second / 2},

		{name: "17 MiB", serve: answer(200, textType, seventeen), up: always, samples: 2 * series, few: true, timeout: time.Minute},
		{name: "40 MiB", serve: chunked(textType, forty), up: always, samples: 2 * series, few: true, timeout: time.Minute},
		{name: "text again", serve: answer(200, textType, text), up: always, samples: 2},
	}
}

func TestPagesAreTheSameThroughDhtprom(t *testing.T) {
	x := newExporter(t)
	w := newWorld(t, target(t, "pages", x.url))
	for _, p := range pages() {
		t.Run(p.name, func(t *testing.T) {
			x.serve(p.serve)
			for _, as := range callers {
				if p.few && as.name != "Prometheus 3 with native histograms" {
					continue
				}
				t.Run(as.name, func(t *testing.T) {
					timeout := cmp.Or(p.timeout, patience)
					c := &comparison{T: t, caller: as, direct: as.scrape(t, x.url, timeout)}
					seen := x.last()
					c.through = as.scrape(t, w.through("pages"), timeout)
					if got := x.last(); p.apart == "" && !reflect.DeepEqual(seen, got) {
						t.Errorf("the exporter saw the header %v, through dhtprom %v", seen, got)
					}
					c.check(p)
				})
			}
		})
	}
}

func (c *comparison) check(p page) {
	c.Helper()
	if up := p.up(c.caller); c.direct.up() != up || up && c.direct.samples != p.samples {
		c.Errorf("directly: %d samples, error %v", c.direct.samples, c.direct.err)
	}
	switch {
	case p.apart != "":
		if up := p.through(c.caller); c.through.up() != up || up && c.through.samples != p.samples {
			c.Errorf("through dhtprom: %d samples, error %v, though %s", c.through.samples, c.through.err, p.apart)
		}
	case p.breaks:
		c.failsAlike()
	default:
		c.same()
	}
}

func TestExporterThatIsOffFailsAlike(t *testing.T) {
	const nowhere = "http://127.0.0.1:1/metrics"
	w := newWorld(t, target(t, "off", nowhere))
	for _, as := range callers {
		t.Run(as.name, func(t *testing.T) {
			c := &comparison{T: t, caller: as, direct: as.scrape(t, nowhere, patience), through: as.scrape(t, w.through("off"), patience)}
			c.failsAlike()
			if !contains(c.through.line, "502 exporter refused the connection") {
				t.Errorf("status line %q", c.through.line)
			}
		})
	}
}
