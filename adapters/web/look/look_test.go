package look_test

import (
	"compress/gzip"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/web/look"
)

// serve returns the answer to a request, its body decoded, and the number of bytes sent.
func serve(t *testing.T, h http.HandlerFunc, method, accept string) (res *http.Response, body string, sent int) {
	t.Helper()
	r, w := httptest.NewRequest(method, "/", nil), httptest.NewRecorder()
	r.Header.Set("Accept-Encoding", accept)
	h(w, r)
	sent = w.Body.Len()
	res = w.Result()
	plain := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" && sent > 0 {
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		plain = z
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text), sent
}

func TestAssetsAndPagesAreCompressedIfAccepted(t *testing.T) {
	page := template.Must(look.Templates().New("page").Parse(`{{template "head" .}}{{.Data}}{{template "foot" .}}`))
	show := func(w http.ResponseWriter, r *http.Request) {
		look.Frame{
			Title: "A & B", Brand: "brand", Program: "program", Version: "1.2.3", Prefix: "/below", Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: "<b>" + strings.Repeat("x", 2000),
			Pages: []look.Link{{Name: "One", URL: "/below/"}, {Name: "Two", URL: "/below/two", Current: true}}, Programs: []look.Link{{Name: "Metrics", URL: "metrics"}},
		}.Show(w, r, http.StatusNotFound, page)
	}
	for name, h := range map[string]http.HandlerFunc{"style": look.Style.ServeHTTP, "script": look.Script.ServeHTTP, "page": show} {
		res, plain, sent := serve(t, h, http.MethodGet, "gzip;q=0")
		if res.Header.Get("Content-Encoding") != "" || sent != len(plain) || res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d bytes for %d, %v", name, sent, len(plain), res.Header)
		}
		zipped, same, size := serve(t, h, http.MethodGet, "br, gzip")
		if zipped.Header.Get("Content-Encoding") != "gzip" || same != plain || size >= sent || zipped.Header.Get("Content-Length") != strconv.Itoa(size) {
			t.Errorf("%s: %d bytes compressed, %v", name, size, zipped.Header)
		}
		if head, _, none := serve(t, h, http.MethodHead, "gzip"); none != 0 || head.Header.Get("Content-Length") != strconv.Itoa(size) {
			t.Errorf("%s: HEAD has %d bytes, %v", name, none, head.Header)
		}
	}
	res, text, _ := serve(t, show, http.MethodGet, "")
	if res.StatusCode != http.StatusNotFound || res.Header.Get("Content-Security-Policy") != look.Policy || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, %v", res.Status, res.Header)
	}
	for _, want := range []string{
		"<title>A &amp; B – brand</title>", "&lt;b&gt;", `href="/below/assets/style.css?` + look.Style.Version + `"`, `<a href="/below/two" aria-current="page">Two</a>`,
		`<a href="metrics">Metrics</a>`, `<time datetime="2026-01-02T03:04:05Z">03:04:05 UTC</time>`, "<span>program 1.2.3</span>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s:\n%s", want, text)
		}
	}
}

func TestPageThatCannotBeRenderedIsAnError(t *testing.T) {
	page := template.Must(look.Templates().New("page").Parse(`{{template "head" .}}{{.Data.Missing}}`))
	res, text, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { look.Frame{Data: 1}.Show(w, r, http.StatusOK, page) }, http.MethodGet, "")
	if res.StatusCode != http.StatusInternalServerError || strings.Contains(text, "<html") {
		t.Errorf("%s: %s", res.Status, text)
	}
}
