package exporter

import (
	"compress/gzip"
	"fmt"
	"io"

	"github.com/dhtprom/dhtprom/internal/coding"
)

const (
	// gzipRatio bounds compressed input, in bytes for each byte of text. An exporter that flushes after each line sends eleven
	// bytes for a line of four.
	gzipRatio = 4
	// maxGzipExcess bounds compressed input beyond that, in bytes. Text is decompressed in steps of 32 KiB, so gzipRatio needs
	// as much. Without it, an exporter that keeps sending empty blocks or members would use CPU time until the deadline.
	maxGzipExcess = gzipRatio * 32 << 10
)

// decode returns the text of an answer. Only gzip, the one coding in requests for text, is decompressed; others are passed on, as
// Prometheus does.
func decode(name string, body io.Reader) io.Reader {
	if coding.Name(name) != coding.Gzip {
		return body
	}
	return &gzipText{in: &gzipInput{from: body}}
}

// gzipInput reads compressed input within the limit.
type gzipInput struct {
	from     io.Reader
	in, text int64 // bytes read, and bytes of text decompressed from them
}

func (g *gzipInput) Read(b []byte) (int, error) {
	room := int64(maxGzipExcess) + gzipRatio*g.text - g.in
	if room <= 0 {
		return 0, fmt.Errorf("%d compressed bytes contain only %d bytes of metrics", g.in, g.text)
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
