package source

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

const (
	// compressFrom is the size in bytes from which compression is worth it: less fits two packets.
	compressFrom = 2048
	// compressTry is the part of a body that decides whether the rest is compressed, in bytes.
	compressTry = 32 << 10
	// compressLevel is the fastest: the text of metrics shrinks well at any level.
	compressLevel = gzip.BestSpeed
)

// Compressor passes a response on, compressed with gzip where its request wants that, the response is not compressed, and it becomes
// smaller. Close ends a complete response.
type Compressor struct {
	w    *scrapeio.Writer
	want bool

	head   domain.ScrapeHead // until it is sent
	try    []byte            // the begin of the body, until the head is sent
	sent   bool
	chunks *bufio.Writer // fills pieces with what zip writes; nil where the body is not compressed
	zip    *gzip.Writer
}

// NewCompressor returns a compressor for the response to a request.
func NewCompressor(w *scrapeio.Writer, r domain.ScrapeRequest) *Compressor {
	return &Compressor{w: w, want: r.Compress && !r.Text}
}

// Head sets the head of the response.
func (c *Compressor) Head(h domain.ScrapeHead) {
	c.head = h
	if !c.want || h.Status != http.StatusOK || h.Coding != "" || h.Length >= 0 && h.Length < compressFrom {
		c.send(h)
	}
}

func (c *Compressor) send(h domain.ScrapeHead) {
	c.sent = true
	c.w.Head(h)
}

// Write passes a piece of the body on.
func (c *Compressor) Write(b []byte) (int, error) {
	switch {
	case c.zip != nil:
		return c.zip.Write(b)
	case c.sent:
		return c.w.Write(b)
	}
	if c.try = append(c.try, b...); len(c.try) < compressTry {
		return len(b), nil
	}
	return len(b), c.decide()
}

// Close sends the rest of a complete body.
func (c *Compressor) Close() error {
	if !c.sent {
		if err := c.decide(); err != nil {
			return err
		}
	}
	if c.zip == nil {
		return nil
	}
	defer zippers.Put(c.zip)
	if err := c.zip.Close(); err != nil {
		return err
	}
	return c.chunks.Flush()
}

// decide sends the head, and the begin of the body compressed or as it is.
func (c *Compressor) decide() error {
	h := c.head
	if len(c.try) < compressFrom || !shrinks(c.try[:min(len(c.try), compressTry)]) {
		c.send(h)
		_, err := c.w.Write(c.try)
		return err
	}
	h.Coding, h.Length = "gzip", -1
	c.send(h)
	c.chunks = bufio.NewWriterSize(c.w, ports.Piece)
	c.zip = zipper(c.chunks)
	_, err := c.zip.Write(c.try)
	c.try = nil
	return err
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, compressLevel) // the level is valid
	return z
}}

func zipper(w io.Writer) *gzip.Writer {
	z := zippers.Get().(*gzip.Writer)
	z.Reset(w)
	return z
}

// shrinks reports whether gzip makes a body smaller.
func shrinks(b []byte) bool {
	var out bytes.Buffer
	z := zipper(&out)
	defer zippers.Put(z)
	_, _ = z.Write(b) // a buffer does not fail
	_ = z.Close()
	return out.Len() < len(b)
}
