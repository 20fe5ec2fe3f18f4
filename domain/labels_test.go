package domain_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestLabelIsCheckedByItsNameAndValue(t *testing.T) {
	for _, c := range []struct{ what, name, value, fault string }{
		{"a plain name", "site", "berlin", ""},
		{"all kinds of characters", "_Az09", "x", ""},
		{"an upper case name of another meaning", "Job", "x", ""},
		{"other scripts in the value", "site", "münchen-電子 👩\u200d💻", ""},
		{"no value", "site", "", ""},
		{"the longest", strings.Repeat("a", domain.MaxLabelName), strings.Repeat("v", domain.MaxLabelValue), ""},
		{"an interval", "__scrape_interval__", "1m30s", ""},
		{"a timeout", "__scrape_timeout__", "500ms", ""},
		{"native histograms", "__scrape_native_histograms__", "true", ""},
		{"classic histograms", "__always_scrape_classic_histograms__", "false", ""},
		{"converted histograms", "__convert_classic_histograms_to_nhcb__", "true", ""},

		{"no name", "", "x", `label name ""`},
		{"a digit first", "1st", "x", `label name "1st": want a letter or underscore`},
		{"a dot", "k8s.pod", "x", `label name "k8s.pod": want a letter or underscore`},
		{"a colon", "a:b", "x", `label name "a:b"`},
		{"another script", "größe", "x", `label name "größe"`},
		{"not UTF-8", "a\xff", "x", `label name "a\xff"`},
		{"a byte too long", strings.Repeat("a", domain.MaxLabelName+1), "x", "is 129 bytes long, want at most 128"},
		{"the job", "job", "x", "label job is the job_name in the configuration of Prometheus and cannot be set"},
		{"the instance", "instance", "x", "label instance is the address"},
		{"the hostname", "hostname", "x", "label hostname is"},
		{"the service", "service", "x", "label service is"},
		{"the alias", "alias", "x", "label alias is"},
		{"an internal name", "__address__", "x", "label __address__: names that begin with __ are internal to Prometheus; want another name, or one of __always_scrape_classic_histograms__, "},
		{"a meta label", "__meta_x", "x", "label __meta_x: names that begin with __"},
		{"a long value", "site", strings.Repeat("v", domain.MaxLabelValue+1), "label site is 1025 bytes long, at most 1024 are allowed"},
		{"a value that is not UTF-8", "site", "a\xff", "label site is not UTF-8"},
		{"a line break in the value", "site", "a\nb", "label site has the character U+000A"},
		{"an interval without a unit", "__scrape_interval__", "30", `label __scrape_interval__: value "30", want a duration above zero such as 30s`},
		{"an interval of zero", "__scrape_interval__", "0s", `value "0s", want a duration above zero`},
		{"an interval with a fraction", "__scrape_interval__", "1.5s", `value "1.5s", want a duration`},
		{"a negative timeout", "__scrape_timeout__", "-1s", `value "-1s", want a duration`},
		{"a number as a switch", "__scrape_native_histograms__", "1", `value "1", want true or false`},
	} {
		err := domain.CheckLabel(c.name, c.value)
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: error %v, want one with %q", c.what, err, c.fault)
		case err != nil && (!errors.Is(err, domain.ErrLabel) || len(err.Error()) > 400):
			t.Errorf("%s: error %q", c.what, err)
		}
	}
}

func TestInstanceLabelIsChecked(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "db1:9187": true, "münchen": true, strings.Repeat("a", domain.MaxLabelValue): true,
		strings.Repeat("a", domain.MaxLabelValue+1): false, "a\nb": false, "\xff": false,
	} {
		if err := domain.CheckInstanceLabel(text); (err == nil) != ok || err != nil && !errors.Is(err, domain.ErrLabel) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

func TestLabelsAreSortedAndComparable(t *testing.T) {
	given := map[string]string{"zone": "b", "rack": "7", "area": "a", "empty": ""}
	l, err := domain.ParseLabels(given)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, value := range l.All() {
		if names = append(names, name); value != given[name] {
			t.Errorf("%s is %q", name, value)
		}
	}
	if !slices.Equal(names, []string{"area", "rack", "zone"}) || l.Len() != 3 {
		t.Errorf("%v, %d labels", names, l.Len())
	}
	for range l.All() {
		break
	}
	if value, ok := l.Get("rack"); value != "7" || !ok {
		t.Errorf("rack is %q, %v", value, ok)
	}
	if _, ok := l.Get("empty"); ok {
		t.Error("a label with an empty value is there")
	}
	given["rack"] = "8"
	other, err := domain.ParseLabels(given)
	if err != nil || l == other || l == (domain.Labels{}) {
		t.Errorf("comparison of %v and %v, %v", l, other, err)
	}
}

func TestLabelsAreBoundedTogether(t *testing.T) {
	number := func(n int, value string) map[string]string {
		of := map[string]string{}
		for i := range n {
			of[fmt.Sprintf("l%02d", i)] = value
		}
		return of
	}
	fits := number(domain.MaxLabelsSize/domain.MaxLabelValue, strings.Repeat("v", domain.MaxLabelValue-3))
	for _, c := range []struct {
		what  string
		given map[string]string
		fault string
	}{
		{"none", nil, ""},
		{"the most", number(domain.MaxLabels, "v"), ""},
		{"one more", number(domain.MaxLabels+1, "v"), "33 labels, want at most 32"},
		{"one more without a value", number(domain.MaxLabels+1, ""), ""},
		{"the largest", fits, ""},
		{"a byte more", func() map[string]string { m := maps.Clone(fits); m["l00"] += "v"; return m }(), "8193 bytes of names and values, want at most 8192"},
		{"a bad one", map[string]string{"a": "b", "job": "c"}, "label job is"},
		{"a timeout as long as the interval", map[string]string{"__scrape_interval__": "1m", "__scrape_timeout__": "60s"}, ""},
		{"a longer timeout", map[string]string{"__scrape_interval__": "1m", "__scrape_timeout__": "61s"}, "label __scrape_timeout__ is 61s, want at most the 1m of __scrape_interval__"},
	} {
		l, err := domain.ParseLabels(c.given)
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || !errors.Is(err, domain.ErrLabel) || l.Len() > 0):
			t.Errorf("%s: %v and error %v, want one with %q", c.what, l, err, c.fault)
		}
	}
}

// Prometheus itself reads what CheckLabel accepts, and accepts nothing else.
func FuzzCheckLabel(f *testing.F) {
	for _, value := range []string{"1m30s", "0", "", "500ms", "1y2w3d4h5m6s7ms", "1m1m", "1s1m", "99999999999999y", "292y", "9223372036s854ms", "1ms1s", "m", "5 s", "007s"} {
		f.Add("__scrape_interval__", value)
	}
	f.Add("site", "berlin")
	f.Fuzz(func(t *testing.T, name, value string) {
		var err error
		bound := cost.Bound{StepsPerByte: 16, Steps: 400, BytesPerByte: 16, Bytes: 8 << 10}
		bound.Check(t, len(name)+len(value), func() { err = domain.CheckLabel(name, value) })
		if err == nil && !model.LegacyValidation.IsValidLabelName(name) {
			t.Errorf("the name %q was accepted", name)
		}
		if name != "__scrape_interval__" || value == "" {
			return
		}
		d, refused := model.ParseDuration(value)
		// Where an int has 32 bits, Prometheus accepts smaller numbers only.
		want := refused == nil && time.Duration(d) > 0
		if want != (err == nil) && (want || strconv.IntSize == 64) && len(value) <= domain.MaxLabelValue {
			t.Errorf("interval %q: %v, and Prometheus reads %v, %v", value, err, d, refused)
		}
	})
}
