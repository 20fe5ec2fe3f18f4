// Package load scrapes as Prometheus does, and measures what a scrape costs the programs in between.
package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Timeout is the one of a scrape.
const Timeout = 30 * time.Second

// Way is one to scrape the targets.
type Way struct {
	Name     string
	HTTP     *http.Client
	URL      func(target int) string
	Programs []*Child // between the caller and the page
}

// Scraped is the outcome of a scrape.
type Scraped struct {
	Took   time.Duration
	Coding string // of the answer; empty if it is not compressed
}

// NewClient returns an HTTP client like Prometheus's; proxy may be nil.
func NewClient(proxy *url.URL) *http.Client {
	t := &http.Transport{MaxIdleConns: 20000, MaxIdleConnsPerHost: 1000, DisableCompression: true, IdleConnTimeout: 5 * time.Minute}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: t}
}

// Scrape scrapes a target as Prometheus 3 does, and checks the size of its page, in whole lines.
func (w *Way) Scrape(ctx context.Context, target, size int) (s Scraped, err error) {
	ctx, stop := context.WithTimeout(ctx, Timeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL(target), http.NoBody)
	if err != nil {
		return s, err
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"+
		"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "Prometheus/3.16.0")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(Timeout.Seconds(), 'f', -1, 64))
	began := time.Now()
	res, err := w.HTTP.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	body := io.Reader(res.Body)
	if s.Coding = res.Header.Get("Content-Encoding"); s.Coding == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return s, err
		}
	}
	n, err := io.Copy(io.Discard, body)
	s.Took = time.Since(began)
	switch {
	case err != nil:
		return s, err
	case res.StatusCode != http.StatusOK:
		return s, fmt.Errorf("%s answered %s", req.URL, res.Status)
	case n > int64(size) || n < int64(size)-1000:
		return s, fmt.Errorf("%s answered %d bytes of %d", req.URL, n, size)
	}
	return s, nil
}

// Await waits until a number of targets can be scraped, and returns the last error if the context ends before.
func (w *Way) Await(ctx context.Context, targets, size int) error {
	for i := range targets {
		if err := w.AwaitTarget(ctx, i, size); err != nil {
			return err
		}
	}
	return nil
}

// AwaitTarget waits until one target can be scraped, as Await does.
func (w *Way) AwaitTarget(ctx context.Context, target, size int) error {
	for {
		_, err := w.Scrape(ctx, target, size)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ProcessorTime returns the one that the programs used so far.
func (w *Way) ProcessorTime() (sum time.Duration, err error) {
	for _, c := range w.Programs {
		used, err := c.ProcessorTime()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}
