package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// accept asks exporters for text: OpenMetrics says by its last line that it is, so both can be told apart without the
// header, which the wire does not carry. Protobuf is never asked for.
const accept = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1"

// ParseTarget checks the URL of an exporter.
func ParseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The parser's error quotes the URL, which may have a password.
		return nil, errors.New("is not a URL: want something like http://localhost:9100/metrics")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("want a URL that starts with http:// or https://, like http://localhost:9100/metrics")
	case u.Hostname() == "":
		return nil, errors.New("has no host: want something like http://localhost:9100/metrics")
	}
	return u, nil
}

// HTTP is a source that scrapes an exporter. The URL comes from whoever runs the client and from nobody else; it is
// asked as it is, redirects are not followed, and the whole takes no longer than the collection may.
func HTTP(loop Loop, target *url.URL) *Source {
	client := &http.Client{
		Transport: &http.Transport{
			// No proxy from the environment: the exporter is next door.
			DialContext:            (&net.Dialer{}).DialContext,
			MaxIdleConns:           2,
			IdleConnTimeout:        2 * time.Minute,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Source{loop: loop, collect: func(ctx context.Context) ([]byte, error) {
		body, err := scrape(ctx, client, target)
		if err != nil {
			return nil, fmt.Errorf("scraping %s: %w", target.Redacted(), err)
		}
		return body, nil
	}}
}

func scrape(ctx context.Context, client *http.Client, target *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "dhtprom-client")
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(time.Until(deadline).Seconds(), 'f', 3, 64))
	}
	res, err := client.Do(req)
	if err != nil {
		// Its own text repeats the URL, password and all.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", res.Status)
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/html" || kind == "application/vnd.google.protobuf" {
		return nil, fmt.Errorf("answered with %s, which is no metrics text", kind)
	}
	// One byte more than may be sent tells that it is too much; the rest need not be read.
	body, err := io.ReadAll(io.LimitReader(res.Body, domain.MaxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > domain.MaxBody {
		size := len(body)
		if res.ContentLength > int64(size) {
			size = int(min(res.ContentLength, 1<<40))
		}
		return nil, &domain.BodyTooLargeError{Size: size, Max: domain.MaxBody}
	}
	return body, nil
}
