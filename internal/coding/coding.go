// Package coding knows the content codings of HTTP that metrics come in: gzip and zstd.
package coding

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Gzip and Zstd are the names of the codings that NewReader decodes, as Prometheus compares them.
const (
	Gzip = "gzip"
	Zstd = "zstd"
)

// maxWindow is the largest window of zstd that is decoded, in bytes: decoders of HTTP need no more (RFC 9659).
const maxWindow = 8 << 20

// ErrUnknown means that a coding is not one of those that are decoded.
var ErrUnknown = errors.New("unknown content coding")

// Name returns the usual name of a coding: Gzip, Zstd, empty for none, or in lower case what is none of these.
func Name(coding string) string {
	switch name := strings.ToLower(strings.TrimSpace(coding)); name {
	case "x-gzip":
		return Gzip
	case "identity":
		return ""
	default:
		return name
	}
}

// Accepts reports whether an Accept-Encoding header has a coding, by its usual name or as *, with a weight above zero (RFC 9110, 12.5.3).
func Accepts(header []string, coding string) bool {
	anything := false
	for _, v := range strings.Split(strings.Join(header, ","), ",") {
		name, params, _ := strings.Cut(v, ";")
		param, weight, _ := strings.Cut(strings.TrimSpace(params), "=")
		accepted := true
		if strings.EqualFold(strings.TrimSpace(param), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
			accepted = err == nil && q > 0
		}
		switch Name(name) {
		case coding:
			return accepted
		case "*":
			anything = accepted
		}
	}
	return anything
}

// NewReader returns a reader of what is coded in r. It fails with ErrUnknown, and where r does not begin as the coding does.
func NewReader(coding string, r io.Reader) (io.ReadCloser, error) {
	switch coding {
	case "":
		return io.NopCloser(r), nil
	case Gzip:
		return gzip.NewReader(r)
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("%w %.40q", ErrUnknown, coding)
}
