package systems

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"

	"github.com/dhtprom/dhtprom/bench/internal/load"
	"github.com/dhtprom/dhtprom/bench/page"
)

// Exporters are HTTP servers with one page, each at a loopback address of its own and all at one port.
type Exporters struct {
	Port int

	page    atomic.Pointer[answer]
	servers []*http.Server
}

// answer is the page that exporters serve.
type answer struct{ plain, gzipped []byte }

// NewExporters starts a number of exporters. They serve a page of 1,000 bytes until Serve.
func NewExporters(n int) (*Exporters, error) {
	e := &Exporters{}
	e.Serve(1000, "")
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", exporterAddress(i), e.Port))
		if err != nil {
			e.Close()
			return nil, err
		}
		e.Port = l.Addr().(*net.TCPAddr).Port
		server := &http.Server{Handler: http.HandlerFunc(e.answer), ReadHeaderTimeout: load.Timeout}
		e.servers = append(e.servers, server)
		go server.Serve(l)
	}
	return e, nil
}

// Close stops the exporters.
func (e *Exporters) Close() {
	for _, s := range e.servers {
		s.Close()
	}
}

// exporterAddress returns the loopback address of a target, which is also its name in PushProx.
func exporterAddress(target int) string { return fmt.Sprintf("127.0.1.%d", target+1) }

// ExporterURL returns the URL of a target, of exporters at a port.
func ExporterURL(port int) func(target int) string {
	return func(target int) string { return fmt.Sprintf("http://%s:%d/metrics", exporterAddress(target), port) }
}

// Serve sets the page of all exporters, in a coding: gzip, or none if it is anything else.
func (e *Exporters) Serve(size int, coding string) {
	a := &answer{plain: []byte(page.New(size))}
	if coding == "gzip" {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(a.plain)
		z.Close()
		a.gzipped = b.Bytes()
	}
	e.page.Store(a)
}

// answer answers a scrape: with a length if the page is plain, and without one if it is compressed, as client_golang does.
func (e *Exporters) answer(out http.ResponseWriter, r *http.Request) {
	a, h := e.page.Load(), out.Header()
	h.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if a.gzipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		out.(http.Flusher).Flush()
		out.Write(a.gzipped)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.plain)))
	out.Write(a.plain)
}
