package direct_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// caller is a program that scrapes, in one of its configurations.
type caller struct {
	name, agent, accept, coding string
	zstd                        bool                   // whether it decodes zstd
	fallback                    string                 // the type of a page whose Content-Type is missing or unknown; empty means that it fails
	names                       model.ValidationScheme // of metrics and labels
	ignored                     bool                   // native histograms are
	decodes                     bool                   // its HTTP client asks for gzip and decodes it
}

const (
	protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

	// textTypes are the types that Prometheus 2.42 accepts, textTypes3 those of Prometheus 3.16.
	textTypes  = "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
	textTypes3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
		"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

// callers have the header fields of scrape/scrape.go and config/config.go of their versions, and of vmagent's lib/promscrape.
var callers = []*caller{
	{
		name: "Prometheus 2.42", agent: "Prometheus/2.42.0", accept: "application/openmetrics-text;version=1.0.0," + textTypes, coding: "gzip",
		fallback: "text/plain", names: model.LegacyValidation, ignored: true,
	},
	{
		name: "Prometheus 2.42 with native histograms", agent: "Prometheus/2.42.0", coding: "gzip",
		accept:   protobuf + ",application/openmetrics-text;version=1.0.0;q=0.8," + textTypes,
		fallback: "text/plain", names: model.LegacyValidation,
	},
	{
		name: "Prometheus 3", agent: "Prometheus/3.16.0", coding: "gzip", names: model.UTF8Validation, ignored: true,
		accept: "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
	},
	{
		name: "Prometheus 3 with native histograms", agent: "Prometheus/3.16.0", accept: protobuf + ";q=0.7," + textTypes3, coding: "gzip",
		names: model.UTF8Validation,
	},
	{
		name: "Prometheus 3 with zstd", agent: "Prometheus/3.16.0", accept: protobuf + ";q=0.7," + textTypes3, coding: "zstd,gzip", zstd: true,
		names: model.UTF8Validation,
	},
	{
		name: "Prometheus 3 with fallback_scrape_protocol, without compression", agent: "Prometheus/3.16.0", accept: protobuf + ";q=0.7," + textTypes3,
		coding: "identity", fallback: "text/plain", names: model.UTF8Validation,
	},
	{
		name: "Prometheus 3 with text and old names", agent: "Prometheus/3.16.0", coding: "gzip", names: model.LegacyValidation, ignored: true,
		accept: "text/plain;version=1.0.0;escaping=underscores;q=0.7,*/*;q=0.6",
	},
	{
		name: "vmagent", agent: "vm_promscrape", accept: "text/plain;version=0.0.4;q=1,*/*;q=0.1", coding: "gzip",
		fallback: "text/plain", names: model.UTF8Validation, ignored: true, decodes: true,
	},
}

func (c *caller) String() string { return c.name }

// scraped is the result of a scrape.
type scraped struct {
	status                   int // 0 without a response
	line                     string
	contentType, coding      string
	body                     []byte // decoded
	err                      error  // why up is 0
	entries                  []string
	families, types          map[string]string // by series: the metric family's type, by family: its type
	samples                  int
	counters                 map[string]float64
	histograms, exemplars    int
	starts, units, helpTexts int
}

func (s *scraped) up() bool { return s.err == nil }

// prometheusClient decodes nothing.
var prometheusClient = func() *http.Client {
	c, err := config.NewClientFromConfig(config.DefaultHTTPClientConfig, "direct")
	if err != nil {
		panic(err) // the default is valid
	}
	return c
}()

// vmagentClient asks for gzip by itself and decodes it.
var vmagentClient = &http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: 4096}}

// scrape scrapes a URL as Prometheus's scrape loop does.
func (c *caller) scrape(t *testing.T, url string, timeout time.Duration) *scraped {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), timeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", c.accept)
	client := vmagentClient
	if !c.decodes {
		client = prometheusClient
		req.Header.Set("Accept-Encoding", c.coding)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	s := &scraped{}
	res, err := client.Do(req)
	if err != nil {
		s.err = err
		return s
	}
	defer res.Body.Close()
	s.status, s.line = res.StatusCode, res.Status
	s.contentType, s.coding = res.Header.Get("Content-Type"), res.Header.Get("Content-Encoding")
	if res.Uncompressed {
		s.coding, res.Header["Content-Encoding"] = "gzip", nil
	}
	if s.err = c.read(res, s); s.err == nil && len(s.body) > 0 {
		s.err = c.parse(s)
	}
	return s
}

// read reads a body. Prometheus ignores those of failures.
func (c *caller) read(res *http.Response, s *scraped) error {
	from, err := c.decoder(res.Header.Get("Content-Encoding"), res.Body)
	if err == nil {
		s.body, err = io.ReadAll(from)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("server returned HTTP status %s", res.Status)
	}
	return err
}

// decoder returns a reader of the page in a body. What is in another coding is parsed as it is.
func (c *caller) decoder(coding string, body io.Reader) (io.Reader, error) {
	switch {
	case coding == "gzip":
		return gzip.NewReader(body)
	case coding == "zstd" && c.zstd:
		return zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	case coding == "zstd":
		return nil, errors.New("received a zstd-compressed response")
	default:
		return body, nil
	}
}

// parse parses a page. Entries are in their order.
func (c *caller) parse(s *scraped) error {
	p, err := textparse.New(s.body, s.contentType, nil, textparse.ParserOptions{
		IgnoreNativeHistograms: c.ignored, KeepClassicOnClassicAndNativeHistograms: true, OpenMetricsSkipSTSeries: !c.ignored, FallbackContentType: c.fallback,
	})
	if p == nil {
		return err
	}
	s.types, s.families, s.counters = map[string]string{}, map[string]string{}, map[string]float64{}
	var kind model.MetricType
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch entry {
		case textparse.EntryType:
			var name []byte
			name, kind = p.Type()
			s.types[string(name)] = string(kind)
			s.add("type %q %s", name, kind)
		case textparse.EntryHelp:
			name, text := p.Help()
			s.helpTexts++
			s.add("help %q %q", name, text)
		case textparse.EntryUnit:
			name, unit := p.Unit()
			s.units++
			s.add("unit %q %q", name, unit)
		case textparse.EntryComment:
			s.add("comment %q", p.Comment())
		case textparse.EntrySeries:
			_, at, value := p.Series()
			name, err := c.series(p)
			if err != nil {
				return err
			}
			s.samples++
			s.families[name] = string(kind)
			if kind == model.MetricTypeCounter {
				s.counters[name] = value
			}
			s.add("series %s %v %s", name, value, when(at))
			s.annotate(p)
		case textparse.EntryHistogram:
			_, at, whole, float := p.Histogram()
			name, err := c.series(p)
			if err != nil {
				return err
			}
			s.samples++
			s.histograms++
			s.families[name+" native"] = string(kind)
			s.add("histogram %s %v %v %s", name, whole, float, when(at))
			s.annotate(p)
		}
	}
}

// series returns the labels of a sample, which must be valid for the caller.
func (c *caller) series(p textparse.Parser) (string, error) {
	var set labels.Labels
	p.Labels(&set)
	if !set.Has(model.MetricNameLabel) || !set.IsValid(c.names) {
		return "", fmt.Errorf("invalid metric name or label names: %s", set)
	}
	return set.String(), nil
}

// annotate adds exemplars and the start timestamp of a sample.
func (s *scraped) annotate(p textparse.Parser) {
	for {
		var e exemplar.Exemplar
		if !p.Exemplar(&e) {
			break
		}
		s.exemplars++
		s.add("exemplar %s %v %d %v", e.Labels, e.Value, e.Ts, e.HasTs)
	}
	if at := p.StartTimestamp(); at != 0 {
		s.starts++
		s.add("start %d", at)
	}
}

func (s *scraped) add(format string, args ...any) {
	s.entries = append(s.entries, fmt.Sprintf(format, args...))
}

func when(at *int64) string {
	if at == nil {
		return "now"
	}
	return strconv.FormatInt(*at, 10)
}
