package look

import (
	"bytes"
	"compress/gzip"
	"html/template"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/internal/coding"
)

// Frame is the data of a page: the frame's own, and that of its content. Templates of pages begin with the template head and end with foot.
type Frame struct {
	Title    string
	Brand    string // the name on the page and in its title
	Program  string
	Version  string
	Prefix   string // of links, without a trailing slash
	Pages    []Link // to the pages of the program
	Programs []Link // to what programs read
	Now      time.Time
	Data     any // of the content
}

// Link is a link of the frame.
type Link struct {
	Name, URL string
	Current   bool // the link of this page
}

// Style returns the version of the style sheet.
func (Frame) Style() string { return Style.Version }

// Script returns the version of the script.
func (Frame) Script() string { return Script.Version }

var frames = template.Must(template.ParseFS(files, "frame.html"))

// Templates returns the templates of the frame, to which a program adds those of its pages.
func Templates() *template.Template { return template.Must(frames.Clone()) }

// Show renders a page and sends it.
func (f Frame) Show(w http.ResponseWriter, r *http.Request, code int, page *template.Template) {
	var body bytes.Buffer
	if err := page.Execute(&body, f); err != nil {
		http.Error(w, "cannot render the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", Policy)
	h.Set("Referrer-Policy", "no-referrer")
	send(w, r, code, body.Bytes())
}

// gzipFrom is the minimum size for compression, in bytes.
const gzipFrom = 2048

// send sends a body, compressed if accepted and at least gzipFrom bytes.
func send(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && coding.Accepts(r.Header.Values("Accept-Encoding"), coding.Gzip) {
		body = compress(body)
		w.Header().Set("Content-Encoding", "gzip")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

func compress(body []byte) []byte {
	var out bytes.Buffer
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(&out)
	_, _ = z.Write(body) // a buffer does not fail
	_ = z.Close()
	return out.Bytes()
}
