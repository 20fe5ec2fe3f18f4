package source_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/portstest/inbox"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

type loop = inbox.Loop

// collect runs one collection of a text on the test's goroutine.
func collect(l loop, s *source.Source, within time.Duration) (body string, err error) {
	p, err := get(l, s, domain.ScrapeRequest{Text: true, Within: within})
	return string(p.Body), err
}

// get runs one collection on the test's goroutine.
func get(l loop, s *source.Source, r domain.ScrapeRequest) (page scrape.Page, err error) {
	finished := false
	scrape.Collect(s, r, 1<<30, func(p scrape.Page, e error) { finished, page, err = true, p, e })
	for !finished {
		(<-l)()
	}
	return page, err
}

func TestGathererGivesTextOfItsMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "temperature_celsius", Help: "How wärm it is."})
	registry.MustRegister(g)
	g.Set(21.5)
	l := make(loop, 8)
	body, err := collect(l, source.Gatherer(l, registry), time.Second)
	want := "# HELP temperature_celsius How wärm it is.\n# TYPE temperature_celsius gauge\ntemperature_celsius 21.5\n"
	if err != nil || body != want {
		t.Errorf("%q, %v", body, err)
	}
}

type failing struct{ prometheus.Collector }

func (failing) Describe(ch chan<- *prometheus.Desc) { ch <- prometheus.NewDesc("x", "x", nil, nil) }
func (failing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("x", "x", nil, nil), errors.New("sensor gone"))
}

func TestGathererThatFailsGivesNoHalfPage(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "fine"}), failing{})
	l := make(loop, 8)
	body, err := collect(l, source.Gatherer(l, registry), time.Second)
	if err == nil || !strings.Contains(err.Error(), "sensor gone") || body != "" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestFunctionGivesItsTextErrorOrPanic(t *testing.T) {
	l := make(loop, 8)
	if body, err := collect(l, source.Func(l, func(context.Context) (string, error) { return "up 1\n", nil }), time.Second); body != "up 1\n" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	broken := errors.New("broken")
	if _, err := collect(l, source.Func(l, func(context.Context) (string, error) { return "", broken }), time.Second); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := collect(l, source.Func(l, func(context.Context) (string, error) { panic("oops") }), time.Second); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("%v", err)
	}
}

func TestDeadlineAndCancelReachTheFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := make(loop, 8)
		s := source.Func(l, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		start := time.Now()
		if _, err := collect(l, s, 3*time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		cancel := scrape.Collect(s, domain.ScrapeRequest{Within: time.Hour}, 100, func(scrape.Page, error) { t.Error("done after cancel") })
		cancel()
		cancel()
		(<-l)()
	})
}

func TestHangingFunctionsAreBounded(t *testing.T) {
	l := make(loop, 300)
	release := make(chan struct{})
	s := source.Func(l, func(context.Context) (string, error) { <-release; return "late", nil })
	ended := 0
	for range 68 {
		scrape.Collect(s, domain.ScrapeRequest{Within: time.Nanosecond}, 100, func(_ scrape.Page, err error) {
			if ended++; err == nil {
				t.Error("a collection whose time is over has a page")
			}
		})
	}
	for range 4 {
		(<-l)()
	}
	if ended != 4 {
		t.Errorf("%d of 68 refused", ended)
	}
	close(release)
	for ended < 68 {
		(<-l)()
	}
	if body, err := collect(l, s, time.Second); body != "late" || err != nil {
		t.Errorf("afterwards: %q, %v", body, err)
	}
}

// as is a request with header fields, by name and value.
func as(fields ...string) domain.ScrapeRequest {
	r := domain.ScrapeRequest{Within: 9500 * time.Millisecond}
	for i := 0; i < len(fields); i += 2 {
		r.Header = append(r.Header, domain.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return r
}

// A registry of this process answers in all formats that promhttp has.
func TestGathererNegotiatesItsFormat(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "latency_seconds", NativeHistogramBucketFactor: 1.1})
	h.Observe(0.3)
	registry.MustRegister(h, failingSometimes)
	l := make(loop, 8)
	s := source.Gatherer(l, registry)
	for accept, want := range map[string]string{
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": "application/vnd.google.protobuf",
		"application/openmetrics-text;version=1.0.0":                                                 "application/openmetrics-text; version=1.0.0",
		"text/plain;version=0.0.4":                                                                   "text/plain; version=0.0.4",
	} {
		p, err := get(l, s, as("Accept", accept, "Accept-Encoding", "gzip"))
		if err != nil || p.Status != 200 || !strings.HasPrefix(p.ContentType, want) || p.Coding != "gzip" {
			t.Errorf("%s: %+v, %v", accept, p.ScrapeHead, err)
		}
	}
	failingSometimes.err = errors.New("sensor gone")
	defer func() { failingSometimes.err = nil }()
	if p, err := get(l, s, as()); err != nil || p.Status != 500 || !strings.Contains(string(p.Body), "sensor gone") {
		t.Errorf("%+v, %v", p, err)
	}
}

var failingSometimes = &sometimes{}

// sometimes is a collector that fails while it has an error.
type sometimes struct{ err error }

func (*sometimes) Describe(ch chan<- *prometheus.Desc) {
	ch <- prometheus.NewDesc("sometimes", "s", nil, nil)
}

func (s *sometimes) Collect(ch chan<- prometheus.Metric) {
	if s.err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("sometimes", "s", nil, nil), s.err)
	}
}

func TestParametersAreRejected(t *testing.T) {
	l := make(loop, 8)
	for _, s := range []*source.Source{
		source.Gatherer(l, prometheus.NewRegistry()), source.Func(l, func(context.Context) (string, error) { return "", nil }),
	} {
		r := as()
		r.Query = "target=x"
		_, err := get(l, s, r)
		if reported, ok := errors.AsType[*domain.ScrapeError](err); !ok || reported.Fault != domain.FaultRequest {
			t.Errorf("%v", err)
		}
	}
}
