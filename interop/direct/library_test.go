package direct_test

import (
	"errors"
	"math"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/dhtprom/dhtprom/client"
)

// patience is the timeout of a scrape that succeeds.
const patience = 15 * time.Second

// registry has each kind of metric that client_golang knows. The values stay.
func registry(t *testing.T) prometheus.Gatherer {
	t.Helper()
	r := prometheus.NewRegistry()
	trace := prometheus.Labels{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}

	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "Requests \\ with a \"help\"\nof two lines."}, []string{"path"})
	for _, path := range []string{"", "/", "/a\\b", "/\"quoted\"\n", "/größe/値"} {
		counter.WithLabelValues(path).(prometheus.ExemplarAdder).AddWithExemplar(2.5, trace)
	}
	names := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "température.intérieure/°C", Help: "A name in UTF-8."}, []string{"étage.nº"})
	names.WithLabelValues("2").Set(21.5)
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "value", Help: "Values."}, []string{"of"})
	for of, v := range map[string]float64{
		"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1), "max": math.MaxFloat64, "min": math.SmallestNonzeroFloat64, "-0": math.Copysign(0, -1), "0.1": 0.1,
	} {
		gauge.WithLabelValues(of).Set(v)
	}
	classic := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "classic_seconds", Help: "Classic.", Buckets: []float64{0.1, 1, 10}})
	native := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "native_seconds", Help: "Native only.", NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: 0.001, NativeHistogramMaxExemplars: 8,
	})
	both := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "both_seconds", Help: "Both.", Buckets: []float64{0.1, 1, 10}, NativeHistogramBucketFactor: 1.5,
	})
	empty := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "empty_seconds", Help: "Native, without observations.", NativeHistogramBucketFactor: 1.1})
	summary := prometheus.NewSummary(prometheus.SummaryOpts{
		Name: "summary_seconds", Help: "Summary.", Objectives: map[float64]float64{0.5: 0.05, 0.99: 0.001}, MaxAge: time.Hour,
	})
	for _, v := range []float64{-3, 0, 0.0005, 0.05, 0.5, 0.51, 5, 50, 1e6} {
		for _, h := range []prometheus.Histogram{classic, native, both} {
			h.(prometheus.ExemplarObserver).ObserveWithExemplar(v, trace)
		}
		summary.Observe(v)
	}
	r.MustRegister(counter, names, gauge, classic, native, both, empty, summary, fixed{})
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all, err := r.Gather()
		for _, family := range all {
			if family.GetName() == "classic_seconds" {
				family.Unit = proto.String("seconds")
			}
		}
		return all, err
	})
}

// fixed are metrics with timestamps, and of no type.
type fixed struct{}

func (fixed) Describe(chan<- *prometheus.Desc) {}

func (fixed) Collect(out chan<- prometheus.Metric) {
	at := time.UnixMilli(1795743773572)
	timed := prometheus.NewDesc("timed", "With a timestamp.", []string{"zone"}, prometheus.Labels{"fixed": "yes"})
	out <- prometheus.NewMetricWithTimestamp(at, prometheus.MustNewConstMetric(timed, prometheus.GaugeValue, 7, "a"))
	out <- prometheus.MustNewConstMetric(timed, prometheus.GaugeValue, 8, "b")
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("untyped", "Untyped.", nil, nil), prometheus.UntypedValue, 9)
}

func TestMetricsOfAnExporterAndOfAServiceAreTheSameThroughDhtprom(t *testing.T) {
	metrics := registry(t)
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all, _ := metrics.Gather()
		return all[:2], errors.New("the sensor is gone")
	})
	page := func(g prometheus.Gatherer, started bool) http.Handler {
		return promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true, EnableOpenMetricsTextCreatedSamples: started})
	}
	started, plain, failing := newExporter(t), newExporter(t), newExporter(t)
	started.serve(page(metrics, true))
	plain.serve(page(metrics, false))
	failing.serve(page(broken, false))
	w := newWorld(t,
		target(t, "exporter", started.url),
		client.Target{Alias: "service", Gatherer: metrics},
		client.Target{Alias: "broken", Gatherer: broken},
	)
	for alias, x := range map[string]*exporter{"exporter": started, "service": plain, "broken": failing} {
		t.Run(alias, func(t *testing.T) {
			for _, as := range callers {
				t.Run(as.name, func(t *testing.T) {
					c := &comparison{T: t, caller: as, direct: as.scrape(t, x.url, patience)}
					seen := x.last()
					c.through = as.scrape(t, w.through(alias), patience)
					if got := x.last(); alias == "exporter" && !reflect.DeepEqual(seen, got) {
						t.Errorf("the exporter saw the header %v, through dhtprom %v", seen, got)
					}
					c.same()
					if alias == "broken" {
						if c.direct.status != http.StatusInternalServerError {
							t.Errorf("status %d", c.direct.status)
						}
						return
					}
					c.checkKinds(alias == "exporter")
				})
			}
		})
	}
}

// checkKinds checks that what is compared has all kinds of metrics that the format has.
func (c *comparison) checkKinds(started bool) {
	c.Helper()
	s := c.direct
	if !s.up() || s.samples < 38 || s.helpTexts < 10 {
		c.Fatalf("%d samples, %d help texts, %v", s.samples, s.helpTexts, s.err)
	}
	proto, open := contains(s.contentType, "protobuf"), contains(s.contentType, "openmetrics")
	if want := contains(c.accept, "protobuf"); proto != want {
		c.Errorf("content type %s", s.contentType)
	}
	if (proto && !c.ignored) != (s.histograms > 0) {
		c.Errorf("%d native histograms", s.histograms)
	}
	if (proto || open) != (s.exemplars > 0) {
		c.Errorf("%d exemplars", s.exemplars)
	}
	if (proto || open) != (s.units > 0) {
		c.Errorf("%d units", s.units)
	}
	if proto && s.starts == 0 {
		c.Errorf("no start timestamp")
	}
	if open && started != contains(string(s.body), "requests_created{") {
		c.Errorf("created timestamps: want %v", started)
	}
	if want := c.accepts("gzip") || c.accepts("zstd"); want != (s.coding != "") {
		c.Errorf("content coding %q", s.coding)
	}
}
