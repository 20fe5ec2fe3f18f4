package source

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	// gzipRatio bounds compressed input, in bytes for each byte of text. An exporter that flushes after each line of four bytes
	// sends eleven.
	gzipRatio = 4
	// maxGzipExcess bounds compressed input beyond that, in bytes. Text comes in steps of 32 KiB, so gzipRatio needs as much.
	// An exporter that sends empty blocks or members without end would otherwise occupy the processor until the collection
	// ends.
	maxGzipExcess = gzipRatio * 32 << 10
)

// decode returns the text of an answer. Compression is undone for gzip, the only coding that is asked for; others are passed on
// as Prometheus does.
func decode(res *http.Response) io.Reader {
	if !strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		return res.Body
	}
	res.ContentLength = -1 // that of the text is not known
	return &gzipText{in: &gzipInput{from: res.Body}}
}

// gzipInput reads compressed input within the bound.
type gzipInput struct {
	from     io.Reader
	in, text int64 // bytes read, and bytes of text that they have yielded
}

func (g *gzipInput) Read(b []byte) (int, error) {
	room := int64(maxGzipExcess) + gzipRatio*g.text - g.in
	if room <= 0 {
		return 0, fmt.Errorf("%d compressed bytes have only %d bytes of metrics", g.in, g.text)
	}
	n, err := g.from.Read(b[:min(int64(len(b)), room)])
	g.in += int64(n)
	return n, err
}

// gzipText is the decompressed text. The first read starts decompression.
type gzipText struct {
	in  *gzipInput
	out *gzip.Reader
}

func (g *gzipText) Read(b []byte) (n int, err error) {
	if g.out == nil {
		if g.out, err = gzip.NewReader(g.in); err != nil {
			return 0, err
		}
	}
	n, err = g.out.Read(b)
	g.in.text += int64(n)
	return n, err
}
