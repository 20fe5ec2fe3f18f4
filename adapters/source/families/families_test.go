package families_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dhtprom/dhtprom/adapters/source/families"
	"github.com/dhtprom/dhtprom/internal/cost"
)

const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	openType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	open2    = "application/openmetrics-text; version=2.0.0; charset=utf-8"
	protType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

func patterns(t testing.TB, texts ...string) (list []families.Pattern) {
	t.Helper()
	for _, text := range texts {
		p, err := families.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// filter returns a page without what the rules drop.
func filter(t testing.TB, body io.Reader, contentType string, rules families.Rules) (string, *families.Reader, error) {
	t.Helper()
	r, err := families.NewReader(body, contentType, rules)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	return string(got), r, err
}

func lines(list ...string) string { return strings.Join(list, "\n") + "\n" }

func TestLinesOfAFamilyStayOrGoTogether(t *testing.T) {
	for _, c := range []struct {
		name, contentType string
		keep, drop        []string
		page, want        string
	}{
		{
			name: "a family by its name", drop: []string{"b"},
			page: lines("# HELP a text", "# TYPE a gauge", "a 1", "# HELP b text", "# TYPE b gauge", `b{x="}"} 1`, "b 2 3", "# TYPE c gauge", "c 1"),
			want: lines("# HELP a text", "# TYPE a gauge", "a 1", "# TYPE c gauge", "c 1"),
		},
		{
			name: "whole names only", drop: []string{"b|c"},
			page: lines("bb 1", "b 1", "ab 1", "c 1", "cb 1"),
			want: lines("bb 1", "ab 1", "cb 1"),
		},
		{
			name: "keep, then drop", keep: []string{"go_.*", "up"}, drop: []string{"go_gc_.*"},
			page: lines("go_threads 1", "go_gc_x 1", "up 1", "process_x 1"),
			want: lines("go_threads 1", "up 1"),
		},
		{
			name: "the samples of a histogram and of a summary", drop: []string{"h", "s"},
			page: lines("# TYPE h histogram", `h_bucket{le="1"} 1`, "h_sum 1", "h_count 1", "h_max 1", "# TYPE s summary", `s{quantile="1"} 1`, "s_sum 1", "s_count 1", "s_bucket 1"),
			want: lines("h_max 1", "s_bucket 1"),
		},
		{
			name: "a histogram without a type has families by sample", drop: []string{"h", "h_sum"},
			page: lines("# HELP h text", `h_bucket{le="1"} 1`, "h_sum 1", "h_count 1"),
			want: lines(`h_bucket{le="1"} 1`, "h_count 1"),
		},
		{
			name: "a gauge has no suffixes", drop: []string{"g"},
			page: lines("# TYPE g gauge", "g 1", "g_sum 1", "g_total 1"),
			want: lines("g_sum 1", "g_total 1"),
		},
		{
			name: "comments, blank lines and malformed ones stay", drop: []string{".+"},
			page: "# a comment\n#\n\n \t\n#HELP a x\n# HELPER a\n# UNIT a x\n# TYPE\n# HELP \"a\nx\n{} 1\n{a=\"b\"} 1\n{\"a\" 1\n{a=b,\"c\"} 1\n{\"a\"=\n{",
			want: "# a comment\n#\n\n \t\n#HELP a x\n# HELPER a\n# UNIT a x\n# TYPE\n# HELP \"a\n{} 1\n{a=\"b\"} 1\n{a=b,\"c\"} 1\n{\"a\"=\n{",
		},
		{
			name: "white space", drop: []string{"a", "b"},
			page: lines(" \t#\tHELP \t a  x", "# TYPE  a\tgauge ", "  a\t1", "  a { x = \"y\" } 1", "\tb{} 1", "c 1"),
			want: lines("c 1"),
		},
		{
			name: "no line break at the end", drop: []string{"b"},
			page: "a 1\nb 1", want: "a 1\n",
		},
		{
			name: "names in quotes", drop: []string{"my[.]name", `a"b\\c\nd`, "f g"},
			page: lines(`# HELP "my.name" text`, `# TYPE "my.name" histogram`, `{"my.name_bucket",le="1"} 1`, `{"my.name_sum"} 1`, `{"my.name_count", a="b"} 1`,
				`{"my.name.x", a="b"} 1`, `{"a\"b\\c\nd"} 1`, `{ l="v\"}", "q.l"="v" , "f g" } 1`, `{"my.other",a="my.name"} 1`),
			want: lines(`{"my.name.x", a="b"} 1`, `{"my.other",a="my.name"} 1`),
		},
		{
			name: "a line break in a label's value", drop: []string{"a"},
			page: lines(`a{x="1`, `b 2`, `\"`, `"} 1`, `b{x="`, `"} 1`, `# HELP b an open "quote`, `a 1`, `b 2`),
			want: lines(`b{x="`, `"} 1`, `# HELP b an open "quote`, `b 2`),
		},
		{
			name: "OpenMetrics", contentType: openType, drop: []string{"c_total", "h", "i_info", "g"},
			page: lines("# HELP c text", "# UNIT c seconds", "# TYPE c counter", `c_total 1 # {t="}"} 1`, "c_created 1", "# TYPE h histogram", `h_bucket{le="1"} 1`, "h_sum 1", "h_count 1", "h_created 1",
				"# TYPE i info", `i_info{a="b"} 1`, "# TYPE g gaugehistogram", "g_bucket 1", "g_gsum 1", "g_gcount 1", "# HELP k text", "# TYPE k counter", "k_total 1", "# EOF"),
			want: lines("# HELP k text", "# TYPE k counter", "k_total 1", "# EOF"),
		},
		{
			name: "an OpenMetrics counter is not named without its suffix", contentType: openType, drop: []string{"c"},
			page: lines("# HELP c text", "# TYPE c counter", "c_total 1", "# TYPE c gauge", "# EOF"),
			want: lines("# HELP c text", "# TYPE c counter", "c_total 1", "# TYPE c gauge", "# EOF"),
		},
		{
			name: "an OpenMetrics counter with its suffix in the type", contentType: openType, drop: []string{"c_total"},
			page: lines("# HELP c_total text", "# TYPE c_total counter", "c_total 1", "# EOF"),
			want: lines("# EOF"),
		},
		{
			name: "OpenMetrics 2 has whole names", contentType: open2, drop: []string{"c", "d_total"},
			page: lines("# HELP c text", "# TYPE c counter", "c 1", "# TYPE d_total counter", "d_total 1 st@1", "# TYPE n histogram", "n {count:1,sum:1} 1", "# EOF"),
			want: lines("# TYPE n histogram", "n {count:1,sum:1} 1", "# EOF"),
		},
		{
			name: "an OpenMetrics family without a type", contentType: openType, drop: []string{"a", "b", "d"},
			page: lines("# HELP a text", "a 1", "# HELP b text", "# HELP c text", "c 1", "# HELP d text", "# EOF"),
			want: lines("# HELP c text", "c 1", "# EOF"),
		},
		{
			name: "OpenMetrics metadata at the end of the page", contentType: openType, drop: []string{"a"},
			page: "# HELP a text\n# HELP b text\n# UNIT b seconds", want: "# HELP b text\n# UNIT b seconds",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, contentType := range []string{c.contentType, cmp.Or(c.contentType, textType)} {
				rules := families.Rules{Keep: patterns(t, c.keep...), Drop: patterns(t, c.drop...)}
				got, r, err := filter(t, strings.NewReader(c.page), contentType, rules)
				if err != nil || got != c.want {
					t.Errorf("%q: %v, and\n%q, want\n%q", contentType, err, got, c.want)
				}
				if _, _, n := r.Dropped(); n != int64(len(c.page)-len(c.want)) {
					t.Errorf("%d bytes dropped, want %d", n, len(c.page)-len(c.want))
				}
				slow, _, err := filter(t, iotest.OneByteReader(strings.NewReader(c.page)), contentType, rules)
				if err != nil || slow != c.want {
					t.Errorf("byte by byte: %v, and\n%q, want\n%q", err, slow, c.want)
				}
			}
		})
	}
}

func TestDroppedFamiliesAndSamplesAreCounted(t *testing.T) {
	page := lines("# HELP h x", "# TYPE h histogram", `h_bucket{le="1"} 1`, "h_sum 1", "h_count 1", "b 1", "b 2", "c 1", "# TYPE d gauge", "e 1", "b 3", "c 2")
	_, r, _ := filter(t, strings.NewReader(page), textType, families.Rules{Drop: patterns(t, "h|b|d")})
	if f, s, _ := r.Dropped(); f != 4 || s != 6 {
		t.Errorf("%d families, %d samples", f, s)
	}
	_, r, _ = filter(t, strings.NewReader(lines("# HELP c x", "# TYPE c counter", "c_total 1", "c_created 1", "# EOF")), openType, families.Rules{Drop: patterns(t, "c_total")})
	if f, s, _ := r.Dropped(); f != 1 || s != 2 {
		t.Errorf("OpenMetrics: %d families, %d samples", f, s)
	}
	var page2 bytes.Buffer
	for _, f := range []*dto.MetricFamily{gauge("a", 3), gauge("b", 2), gauge("a", 1)} {
		if _, err := protodelim.MarshalTo(&page2, f); err != nil {
			t.Fatal(err)
		}
	}
	size := page2.Len()
	got, r, _ := filter(t, &page2, protType, families.Rules{Drop: patterns(t, "a")})
	if f, s, n := r.Dropped(); f != 2 || s != 4 || int(n) != size-len(got) {
		t.Errorf("protobuf: %d families, %d samples, %d bytes of %d, %d left", f, s, n, size, len(got))
	}
}

func gauge(name string, n int) *dto.MetricFamily {
	f := &dto.MetricFamily{Name: proto.String(name), Type: dto.MetricType_GAUGE.Enum()}
	for i := range n {
		f.Metric = append(f.Metric, &dto.Metric{
			Label: []*dto.LabelPair{{Name: proto.String("i"), Value: proto.String(fmt.Sprint(i))}},
			Gauge: &dto.Gauge{Value: proto.Float64(float64(i))},
		})
	}
	return f
}

func TestRulesWithoutPatternsPassAnyPage(t *testing.T) {
	page := "\xff\x00anything"
	for _, contentType := range []string{"", protType, "application/vnd.google.protobuf; encoding=text"} {
		if got, r, err := filter(t, strings.NewReader(page), contentType, families.Rules{}); got != page || err != nil {
			t.Errorf("%q, %v, %v", got, r, err)
		}
	}
}

func TestContentTypeDecidesTheFormat(t *testing.T) {
	const openPage = "# TYPE c counter\nc_total 1\n" // in text, c is a family and c_total another
	for _, c := range []struct {
		contentType string
		open        bool
	}{
		{"", false}, {"text/plain", false}, {"text/plain; version=1.0.0; escaping=allow-utf-8", false}, {"text/html", false}, {";;", false},
		{"application/openmetrics-text", true}, {"Application/OpenMetrics-Text; version=0.0.1", true}, {`application/openmetrics-text; version="1`, true},
	} {
		got, _, err := filter(t, strings.NewReader(openPage), c.contentType, families.Rules{Drop: patterns(t, "c_total")})
		if err != nil || (got == "") != c.open {
			t.Errorf("%q: %q, %v", c.contentType, got, err)
		}
	}
	var page bytes.Buffer
	if _, err := protodelim.MarshalTo(&page, gauge("a", 1)); err != nil {
		t.Fatal(err)
	}
	for _, contentType := range []string{protType, "application/vnd.google.protobuf"} {
		if got, _, err := filter(t, bytes.NewReader(page.Bytes()), contentType, families.Rules{Drop: patterns(t, "a")}); got != "" || err != nil {
			t.Errorf("%q: %q, %v", contentType, got, err)
		}
	}
	for _, contentType := range []string{protType + "x", "application/vnd.google.protobuf; encoding=text", "application/vnd.google.protobuf; proto=other"} {
		if _, err := families.NewReader(&page, contentType, families.Rules{Drop: patterns(t, "a")}); err == nil || !strings.Contains(err.Error(), contentType) {
			t.Errorf("%q: %v", contentType, err)
		}
	}
}

func TestPatternHasATextForm(t *testing.T) {
	var p families.Pattern
	if err := p.UnmarshalText([]byte("go_(.+)")); err != nil || p.String() != "go_(.+)" {
		t.Errorf("%v, %v", p, err)
	}
	if text, err := p.MarshalText(); string(text) != "go_(.+)" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, text := range []string{"(", "a)(b", "[z-a]"} {
		if _, err := families.Compile(text); err == nil || strings.Contains(err.Error(), "?s") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got, _, _ := filter(t, strings.NewReader("a 1\n"), "", families.Rules{Drop: make([]families.Pattern, 1)}); got != "a 1\n" {
		t.Errorf("the zero pattern drops: %q", got)
	}
}

func TestPageThatBreaksOffPassesWhatIsThere(t *testing.T) {
	var message bytes.Buffer
	if _, err := protodelim.MarshalTo(&message, gauge("go_threads", 5)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("connection reset")
	for _, c := range []struct{ contentType, page string }{
		{textType, "# TYPE a gauge\na 1\na{x=\""}, {textType, "# HE"}, {openType, "# HELP a x"}, {openType, "# HELP a x\n# TYP"}, {textType, "a"},
		{protType, message.String()[:1]}, {protType, message.String()[:5]}, {protType, message.String()[:20]}, {protType, "\xff"},
	} {
		for _, end := range []error{io.ErrUnexpectedEOF, broken} {
			got, _, err := filter(t, io.MultiReader(strings.NewReader(c.page), iotest.ErrReader(end)), c.contentType, families.Rules{Drop: patterns(t, "b")})
			if got != c.page || err != end {
				t.Errorf("%q: %q and %v, want all and %v", c.page, got, err, end)
			}
		}
		if got, _, err := filter(t, iotest.DataErrReader(strings.NewReader(c.page)), c.contentType, families.Rules{Drop: patterns(t, "b")}); got != c.page || err != nil {
			t.Errorf("%q: %q, %v", c.page, got, err)
		}
	}
	// Without its rest, a message that is left out would leave no trace.
	for n := 13; n < message.Len(); n++ {
		if got, _, err := filter(t, strings.NewReader(message.String()[:n]), protType, families.Rules{Drop: patterns(t, "go_.*")}); got != "" || err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes of a message that is dropped: %q, %v", n, got, err)
		}
	}
	if _, err := families.NewReader(nil, "", families.Rules{}); err != nil {
		t.Error(err)
	}
}

// stuck reads nothing, without an error.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderThatReadsNothingIsAnError(t *testing.T) {
	if _, _, err := filter(t, stuck{}, textType, families.Rules{Drop: patterns(t, "a")}); err != io.ErrNoProgress {
		t.Error(err)
	}
}

const (
	lineBound = 1 << 20
	headBound = 64 << 10
)

func TestLongLinesAreBounded(t *testing.T) {
	rules := families.Rules{Drop: patterns(t, "b")}
	sample := func(size int) string {
		const rest = "{x=\"\"} 1\n"
		return "a{x=\"" + strings.Repeat("v", size-len("a")-len(rest)) + "\"} 1\n"
	}
	page := "b 1\n" + sample(lineBound) + "b 1\nc 1\n"
	if got, _, err := filter(t, strings.NewReader(page), textType, rules); err != nil || got != sample(lineBound)+"c 1\n" {
		t.Errorf("the longest line: %d bytes, %v", len(got), err)
	}
	for _, size := range []int{lineBound + 1, 3*lineBound + 7} {
		got, _, err := filter(t, strings.NewReader("c 1\n"+sample(size)+"c 2\n"), textType, rules)
		want := fmt.Sprintf(`line 2 of the metrics, which begins with "a{x=\"%s", is %d bytes long, want at most %d`, strings.Repeat("v", 55), size-1, lineBound)
		if got != "c 1\n" || err == nil || err.Error() != want {
			t.Errorf("%q and %v, want the first line and %s", got, err, want)
		}
	}
	// Metadata that waits for its type gives way.
	meta := lines("# HELP c "+strings.Repeat("x", lineBound/2), "# UNIT c s")
	long := "# TYPE c " + strings.Repeat("y", lineBound-20) + "\n"
	if got, _, err := filter(t, strings.NewReader(meta+long), openType, rules); err != nil || got != meta+long {
		t.Errorf("metadata and a long line: %d bytes of %d, %v", len(got), len(meta+long), err)
	}
}

func TestHeadOfAMessageIsBounded(t *testing.T) {
	// message has its name after a text of this size.
	message := func(help int) string {
		m := []byte{0x12}
		m = append(m, byte(help)|0x80, byte(help>>7)|0x80, byte(help>>14))
		m = append(m, make([]byte, help)...)
		m = append(m, 0x0a, 1, 'b')
		return string([]byte{byte(len(m)) | 0x80, byte(len(m)>>7) | 0x80, byte(len(m) >> 14)}) + string(m)
	}
	rules := families.Rules{Drop: patterns(t, "b")}
	const rest = 3 + 4 + 3
	if got, _, err := filter(t, strings.NewReader(message(headBound-rest)), protType, rules); err != nil || got != "" {
		t.Errorf("the longest head: %d bytes, %v", len(got), err)
	}
	if got, _, err := filter(t, strings.NewReader(message(headBound-rest+1)), protType, rules); err == nil || got != "" ||
		err.Error() != "a protobuf message of 65534 bytes has no name in its first 65536 bytes, where it must be" {
		t.Errorf("a longer head: %d bytes, %v", len(got), err)
	}
}

func TestMessagesWithoutANamePass(t *testing.T) {
	for _, page := range []string{
		"\x00", "\x02\x12\x00", "\x02\x0a\x05", "\x01\x0b", "\x03\x0b\x00\x00", "\x02\x08\x01", "\x02\x00\x01", "\x01\x0a", "\x05\x15\x00\x00\x00\x00",
		"\x09\x19\x00\x00\x00\x00\x00\x00\x00\x00", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0a\x01b",
	} {
		for _, body := range []io.Reader{strings.NewReader(page), iotest.OneByteReader(strings.NewReader(page))} {
			if got, _, err := filter(t, body, protType, families.Rules{Drop: patterns(t, ".*")}); got != page || err != nil {
				t.Errorf("%q: %q, %v", page, got, err)
			}
		}
	}
	// The rest of a dropped message may be anything.
	for _, page := range []string{"\x05\x0a\x01b\x0b\x00", "\x06\x0a\x01b\x12\x7f\x00", "\x04\x0a\x01b\x80", "\x05\x0a\x01b\x20\x01"} {
		if got, r, err := filter(t, strings.NewReader(page+"\x03\x0a\x01c"), protType, families.Rules{Drop: patterns(t, "b")}); got != "\x03\x0a\x01c" || err != nil {
			t.Errorf("%q: %q, %v, %v", page, got, r, err)
		}
	}
}

// random draws a page of metrics whose names are legacy names and quoted ones.
func random(r *rand.Rand) (list []*dto.MetricFamily) {
	names := []string{"a", "ab", "a_b", "go_gc", "x.y", "ü", `q"\` + "\n", "h", "a:b"}
	rounded := func() *float64 {
		return proto.Float64([]float64{0, 1, -2.5, 1e21, math.Inf(1), math.NaN(), float64(r.IntN(1000))}[r.IntN(7)])
	}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+r.IntN(len(names))] {
		f := &dto.MetricFamily{Name: proto.String(name), Type: dto.MetricType(r.IntN(5)).Enum()}
		if r.IntN(3) > 0 {
			f.Help = proto.String([]string{"", "text", "two\nlines \\ and \"quotes", strings.Repeat("long ", 1000)}[r.IntN(4)])
		}
		if f.GetType() == dto.MetricType_COUNTER {
			f.Name = proto.String(name + "_total")
		}
		for i := range 1 + r.IntN(4) {
			m := &dto.Metric{Label: []*dto.LabelPair{{Name: proto.String("i"), Value: proto.String(fmt.Sprint(i))}}}
			if r.IntN(2) > 0 {
				m.Label = append(m.Label, &dto.LabelPair{Name: proto.String([]string{"l", "l.m"}[r.IntN(2)]), Value: proto.String("} \n\"\\, " + strings.Repeat("v", r.IntN(100)))})
			}
			created := timestamppb.New(time.Unix(1e9, 0))
			exemplar := &dto.Exemplar{Label: []*dto.LabelPair{{Name: proto.String("t"), Value: proto.String("\"} 1\n")}}, Value: proto.Float64(1)}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				m.Counter = &dto.Counter{Value: proto.Float64(float64(i)), Exemplar: exemplar, CreatedTimestamp: created}
			case dto.MetricType_GAUGE:
				m.Gauge = &dto.Gauge{Value: rounded()}
			case dto.MetricType_UNTYPED:
				m.Untyped = &dto.Untyped{Value: rounded()}
			case dto.MetricType_SUMMARY:
				m.Summary = &dto.Summary{SampleCount: proto.Uint64(3), SampleSum: proto.Float64(1), CreatedTimestamp: created}
				for range r.IntN(3) {
					m.Summary.Quantile = append(m.Summary.Quantile, &dto.Quantile{Quantile: proto.Float64(r.Float64()), Value: rounded()})
				}
			case dto.MetricType_HISTOGRAM:
				m.Histogram = &dto.Histogram{SampleCount: proto.Uint64(3), SampleSum: proto.Float64(1), CreatedTimestamp: created}
				for b := range r.IntN(3) {
					m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{UpperBound: proto.Float64(float64(b)), CumulativeCount: proto.Uint64(uint64(b)), Exemplar: exemplar})
				}
			}
			f.Metric = append(f.Metric, m)
		}
		list = append(list, f)
	}
	return list
}

func encode(t testing.TB, format expfmt.Format, list []*dto.MetricFamily) string {
	t.Helper()
	var out bytes.Buffer
	e := expfmt.NewEncoder(&out, format, expfmt.WithCreatedLines())
	for _, f := range list {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.(expfmt.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// decode returns the families of a page by Prometheus's own decoders.
func decode(t testing.TB, format expfmt.Format, page string) map[string]*dto.MetricFamily {
	t.Helper()
	list := map[string]*dto.MetricFamily{}
	d := expfmt.NewDecoder(strings.NewReader(page), format)
	for {
		f := &dto.MetricFamily{}
		err := d.Decode(f)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("%v in %q", err, page)
		}
		list[f.GetName()] = f
	}
}

func TestFilteredPageIsThePageOfTheFamiliesThatStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	choices := []string{"a", "a_total", "a.*", "x[.]y|h", ".*_total", "ü", "(?s).*\n", "go_gc(_total)?", "nothing", ".+"}
	for i := range 250 {
		list := random(rng)
		draw := func() (texts []string) {
			for range rng.IntN(3) {
				texts = append(texts, choices[rng.IntN(len(choices))])
			}
			return texts
		}
		keep, drop := draw(), draw()
		rules := families.Rules{Keep: patterns(t, keep...), Drop: patterns(t, drop...)}
		matches := func(texts []string, name string) bool {
			return slices.ContainsFunc(texts, func(text string) bool { return regexp.MustCompile("^(?s:" + text + ")$").MatchString(name) })
		}
		var stay []*dto.MetricFamily
		for _, f := range list {
			if (len(keep) == 0 || matches(keep, f.GetName())) && !matches(drop, f.GetName()) {
				stay = append(stay, f)
			}
		}
		for _, kind := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeOpenMetrics, expfmt.TypeProtoDelim} {
			format := expfmt.NewFormat(kind).WithEscapingScheme(model.NoEscaping)
			page, want := encode(t, format, list), encode(t, format, stay)
			for _, body := range []io.Reader{strings.NewReader(page), iotest.HalfReader(strings.NewReader(page)), iotest.OneByteReader(strings.NewReader(page))} {
				got, r, err := filter(t, body, string(format), rules)
				if err != nil || got != want {
					t.Fatalf("page %d as %s, keep %q, drop %q: %v, and\n%s\nwant\n%s\nof\n%s", i, format, keep, drop, err, got, want, page)
				}
				if _, _, n := r.Dropped(); int(n) != len(page)-len(got) {
					t.Fatalf("page %d: %d bytes dropped of %d, %d are left", i, n, len(page), len(got))
				}
			}
			if kind != expfmt.TypeOpenMetrics { // Prometheus's decoder does not read all that its encoder writes
				parsed, left := decode(t, format, page), decode(t, format, want)
				for name, f := range parsed {
					if _, stays := left[name]; stays && !proto.Equal(f, left[name]) {
						t.Fatalf("page %d as %s: %s is\n%v\nand was\n%v", i, format, name, left[name], f)
					}
				}
				if len(left) != len(stay) {
					t.Fatalf("page %d as %s: %d families are left, want %d", i, format, len(left), len(stay))
				}
			}
		}
	}
}

// endless is a page without end: the same bytes again and again.
type endless struct {
	page []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.page[e.at:])
	e.at = (e.at + n) % len(e.page)
	return n, nil
}

var allFormats = []struct {
	name   string
	format expfmt.FormatType
}{{"text", expfmt.TypeTextPlain}, {"openmetrics", expfmt.TypeOpenMetrics}, {"protobuf", expfmt.TypeProtoDelim}}

// pageWithoutEnd returns a page of some hundred families, of which every second one begins with even.
func pageWithoutEnd(t testing.TB, kind expfmt.FormatType) (*endless, string) {
	rng := rand.New(rand.NewPCG(3, 4))
	var list []*dto.MetricFamily
	for len(list) < 300 {
		for _, f := range random(rng) {
			f.Name = proto.String(fmt.Sprintf("%s_%d_%s", []string{"even", "odd"}[len(list)%2], len(list), f.GetName()))
			list = append(list, f)
		}
	}
	format := expfmt.NewFormat(kind).WithEscapingScheme(model.NoEscaping)
	return &endless{page: []byte(strings.TrimSuffix(encode(t, format, list), "# EOF\n"))}, string(format)
}

// A decision on a family may allocate, as package regexp does at times; its lines do not.
func TestLinesAllocateNothing(t *testing.T) {
	const each = 2000 // lines of a family
	for _, f := range allFormats {
		format := expfmt.NewFormat(f.format)
		page := strings.TrimSuffix(encode(t, format, []*dto.MetricFamily{gauge("even", each), gauge("odd", each)}), "# EOF\n")
		if f.format == expfmt.TypeTextPlain {
			page += strings.Repeat("even_untyped{a=\"b\"} 1\n", each) + strings.Repeat("{\"odd.untyped\"} 1\n", each)
		}
		r, err := families.NewReader(&endless{page: []byte(page)}, string(format), families.Rules{Keep: patterns(t, ".*"), Drop: patterns(t, "even.*")})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		read := func() { // a page or more
			_, _, before := r.Dropped()
			for done := int64(0); done < int64(len(page)); {
				n, err := r.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				_, _, dropped := r.Dropped()
				done += int64(n) + dropped - before
				before = dropped
			}
		}
		read()
		if n := testing.AllocsPerRun(10, read); n > each/50 {
			t.Errorf("%s: %v allocations in a page", f.name, n)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, f := range allFormats {
		b.Run(f.name, func(b *testing.B) {
			page, contentType := pageWithoutEnd(b, f.format)
			r, err := families.NewReader(page, contentType, families.Rules{Drop: patterns(b, "even_.*")})
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 16<<10)
			b.ReportAllocs()
			var n int64
			for b.Loop() {
				k, err := r.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				n += int64(k)
			}
			_, _, dropped := r.Dropped()
			b.SetBytes((n + dropped) / int64(b.N))
		})
	}
}

// Whatever the page, rules that keep all change nothing, any rules leave a part of it, and the pieces in which it arrives do not matter.
func FuzzReader(f *testing.F) {
	for _, format := range allFormats {
		rng := rand.New(rand.NewPCG(5, 6))
		for range 3 {
			kind := expfmt.NewFormat(format.format).WithEscapingScheme(model.NoEscaping)
			f.Add([]byte(encode(f, kind, random(rng))), string(kind), "a.*")
		}
	}
	f.Add([]byte("# TYPE a counter\n# HELP b \n\na{b=\"\\"), openType, "a_total")
	f.Add([]byte("\x05\x0a\x01b\x20\x01\x80"), protType, "b")
	f.Fuzz(func(t *testing.T, page []byte, contentType, drop string) {
		pattern, err := families.Compile(drop)
		if err != nil || len(drop) > 100 {
			return
		}
		read := func(pieces func(io.Reader) io.Reader, rules families.Rules) (got string, err error) {
			var r *families.Reader
			var out []byte
			// Reading grows a buffer by a factor, and the window has 32 KiB at least.
			bound := cost.Bound{StepsPerByte: 16, Steps: 1000, BytesPerByte: 16, Bytes: 64 << 10}
			bound.Check(t, len(page), func() {
				if r, err = families.NewReader(pieces(bytes.NewReader(page)), contentType, rules); err == nil {
					out, err = io.ReadAll(r)
				}
			})
			if _, _, dropped := r.Dropped(); int(dropped)+len(out) != len(page) && len(page) < headBound {
				t.Errorf("%d bytes dropped and %d left of %d", dropped, len(out), len(page))
			}
			return string(out), err
		}
		whole := func(body io.Reader) io.Reader { return body }
		all := families.Rules{Keep: patterns(t, "(?s).*")}
		some := families.Rules{Drop: []families.Pattern{pattern}}
		if _, err := families.NewReader(nil, contentType, all); err != nil {
			return // another encoding of protobuf
		}
		if got, err := read(whole, all); (err != nil || got != string(page)) && len(page) < headBound {
			t.Errorf("kept all of %q: %q, %v", page, got, err)
		}
		one, errOne := read(whole, some)
		halves, errHalves := read(iotest.HalfReader, some)
		if one != halves || (errOne == nil) != (errHalves == nil) || len(one) > len(page) {
			t.Errorf("%q in one piece: %q, %v, in others: %q, %v", page, one, errOne, halves, errHalves)
		}
	})
}
