package coding_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/dhtprom/dhtprom/internal/coding"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestWeightsDecideWhatIsAccepted(t *testing.T) {
	for header, want := range map[string]string{
		"":                          "",
		"gzip":                      "gzip",
		"GZIP":                      "gzip",
		"x-gzip":                    "gzip",
		"zstd, gzip":                "gzip zstd",
		"gzip;q=0, *":               "zstd",
		"*;q=0":                     "",
		"*":                         "gzip zstd",
		"deflate, br":               "",
		"gzip; q=0.5 , zstd;Q=0.0":  "gzip",
		"identity;q=1, gzip;q=nope": "",
	} {
		var got []string
		for _, c := range []string{coding.Gzip, coding.Zstd} {
			if coding.Accepts([]string{header}, c) {
				got = append(got, c)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q accepts %v, want %s", header, got, want)
		}
	}
	if !coding.Accepts([]string{"br", "gzip"}, coding.Gzip) {
		t.Error("the second of two headers is not read")
	}
}

func coded(t testing.TB, text string) map[string][]byte {
	t.Helper()
	var zipped, small, large bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	for out, window := range map[*bytes.Buffer]int{&small: 1 << 20, &large: 16 << 20} {
		w, err := zstd.NewWriter(out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text)
		_ = w.Flush() // so that the size of the content is unknown, and the window counts
		_ = w.Close()
	}
	return map[string][]byte{"": []byte(text), "gzip": zipped.Bytes(), "zstd": small.Bytes(), "large": large.Bytes()}
}

func TestCodingsAreDecoded(t *testing.T) {
	text := strings.Repeat("up 1\n", 1000)
	all := coded(t, text)
	for _, c := range []string{"", "gzip", "zstd"} {
		r, err := coding.NewReader(c, bytes.NewReader(all[c]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v", c, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if c == "" {
			continue
		}
		if r, err = coding.NewReader(c, bytes.NewReader(all[c][:len(all[c])-5])); err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("%s: half of it is read without an error", c)
		}
	}
	r, err := coding.NewReader("zstd", bytes.NewReader(all["large"]))
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("a window of 16 MiB: %v", err)
	}
	if _, err := coding.NewReader("deflate", strings.NewReader("x")); !errors.Is(err, coding.ErrUnknown) {
		t.Errorf("deflate: %v", err)
	}
}

func FuzzNewReader(f *testing.F) {
	for c, b := range coded(f, strings.Repeat("up 1\n", 100)) {
		f.Add(c, b)
	}
	f.Fuzz(func(t *testing.T, c string, b []byte) {
		cost.Bound{StepsPerByte: 1 << 20, Steps: 1 << 30, BytesPerByte: 1 << 16, Bytes: 64 << 20}.Check(t, len(b), func() {
			if r, err := coding.NewReader(coding.Name(c), bytes.NewReader(b)); err == nil {
				_, _ = io.CopyN(io.Discard, r, 1<<20)
				_ = r.Close()
			}
		})
	})
}
