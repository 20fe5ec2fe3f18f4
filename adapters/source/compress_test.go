package source_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

func TestResponsesAreCompressedWhereThatIsWantedAndHelps(t *testing.T) {
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	text := strings.Repeat("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 12345.67\n", 2000)
	const compressTry = 32 << 10 // bytes that decide
	for _, test := range []struct {
		name, body, coding string
		status             int
		want               string
	}{
		{"text", text, "", 200, "gzip"},
		{"noise", string(noise), "", 200, ""},
		{"noise at the begin", string(noise[:compressTry]) + text, "", 200, ""},
		{"short", text[:2000], "", 200, ""},
		{"longer", text[:20_000], "", 200, "gzip"},
		{"an error", text, "", 500, ""},
		{"in a coding", text, "zstd", 200, "zstd"},
	} {
		for _, way := range []struct{ length, piece int }{{-1, len(test.body)}, {len(test.body), len(test.body)}, {-1, 100}} { // also line by line
			l := make(loop, 8)
			r := as()
			r.Compress = true
			p, err := get(l, source.New(l, func(_ context.Context, r domain.ScrapeRequest, w *scrapeio.Writer) error {
				out := source.NewCompressor(w, r)
				out.Head(domain.ScrapeHead{Status: test.status, Coding: test.coding, Length: int64(way.length)})
				for part := range slices.Chunk([]byte(test.body), way.piece) {
					if n, err := out.Write(part); err != nil || n != len(part) {
						return fmt.Errorf("%d bytes of %d are written: %w", n, len(part), err)
					}
				}
				return out.Close()
			}), r)
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
