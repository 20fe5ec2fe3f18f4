package domain

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Labels are the labels that the operator has given to a target, sorted by name. They are immutable and comparable; the zero value has
// none.
type Labels struct{ text string } // each name and each value with a labelEnd behind it

type label struct{ name, value string }

// labelEnd is in no name and no value, since it is not UTF-8.
const labelEnd = "\xff"

// ErrLabel is matched by every error about a label.
var ErrLabel = errors.New("invalid label")

type labelError string

func (e labelError) Error() string   { return string(e) }
func (e labelError) Is(t error) bool { return t == ErrLabel }

func labelErrorf(format string, args ...any) error { return labelError(fmt.Sprintf(format, args...)) }

// ParseLabels checks all labels of a target. A label with an empty value is left out: to Prometheus it is the same as none.
func ParseLabels(of map[string]string) (Labels, error) {
	var pairs []label
	size := 0
	for name, value := range of {
		if value != "" {
			pairs = append(pairs, label{name, value})
			size += len(name) + len(value)
		}
	}
	if len(pairs) > MaxLabels {
		return Labels{}, labelErrorf("%d labels, want at most %d", len(pairs), MaxLabels)
	}
	if size > MaxLabelsSize {
		return Labels{}, labelErrorf("labels have %d bytes of names and values, want at most %d", size, MaxLabelsSize)
	}
	slices.SortFunc(pairs, func(a, b label) int { return strings.Compare(a.name, b.name) })
	var text strings.Builder
	for _, p := range pairs {
		if err := CheckLabel(p.name, p.value); err != nil {
			return Labels{}, err
		}
		text.WriteString(p.name + labelEnd + p.value + labelEnd)
	}
	l := Labels{text.String()}
	interval, okInterval := l.Get(labelInterval)
	timeout, okTimeout := l.Get(labelTimeout)
	if okInterval && okTimeout {
		i, _ := prometheusDuration(interval) // CheckLabel has accepted both
		t, _ := prometheusDuration(timeout)
		if t > i {
			return Labels{}, labelErrorf("label %s is %s, want at most the %s of %s", labelTimeout, timeout, interval, labelInterval)
		}
	}
	return l, nil
}

// Len returns the number of labels.
func (l Labels) Len() int { return strings.Count(l.text, labelEnd) / 2 }

// All returns the names and values, sorted by name.
func (l Labels) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := l.text; rest != ""; {
			var name, value string
			name, rest, _ = strings.Cut(rest, labelEnd)
			value, rest, _ = strings.Cut(rest, labelEnd)
			if !yield(name, value) {
				return
			}
		}
	}
}

// With returns the labels and those of over, which replace labels of the same name. They may exceed the limits of one target.
func (l Labels) With(over Labels) Labels {
	if over.text == "" || l.text == "" {
		return Labels{l.text + over.text}
	}
	all := maps.Collect(l.All())
	maps.Insert(all, over.All())
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text.WriteString(name + labelEnd + all[name] + labelEnd)
	}
	return Labels{text.String()}
}

// Get returns the value of a label, and whether there is such a label.
func (l Labels) Get(name string) (value string, ok bool) {
	for n, v := range l.All() {
		if n == name {
			return v, true
		}
	}
	return "", false
}

// Labels that change the way Prometheus scrapes a target.
const (
	labelInterval = "__scrape_interval__"
	labelTimeout  = "__scrape_timeout__"
)

// scrapeLabels are the names with two leading underscores that an operator may set, with the check of their value. Prometheus
// drops a target whose value it does not accept.
var scrapeLabels = map[string]func(value string) error{
	labelInterval:                            checkDuration,
	labelTimeout:                             checkDuration,
	"__scrape_native_histograms__":           checkSwitch,
	"__always_scrape_classic_histograms__":   checkSwitch,
	"__convert_classic_histograms_to_nhcb__": checkSwitch,
}

// setElsewhere are the names that dhtprom or the configuration of Prometheus sets, each with its source.
var setElsewhere = map[string]string{
	"job":      "is the job_name in the configuration of Prometheus",
	"instance": "is the address of the target",
	"hostname": "is the hostname of the client",
	"service":  "is the service of the client",
	"alias":    "is the alias of the target",
}

// CheckLabel checks a label that an operator has given to a target. Service discovery lists it under its own name, and again with
// a prefix, so its name must be one that every version of Prometheus accepts in a configuration without quotes.
func CheckLabel(name, value string) error {
	if len(name) > MaxLabelName {
		return labelErrorf("the label name that begins with %q is %d bytes long, want at most %d", clipName(name), len(name), MaxLabelName)
	}
	if !isLabelName(name) {
		return labelErrorf("label name %q: want a letter or underscore, then letters, digits and underscores, all of ASCII", clipName(name))
	}
	if source := setElsewhere[name]; source != "" {
		return labelErrorf("label %s %s and cannot be set for a target; want another name", name, source)
	}
	check, known := scrapeLabels[name]
	if strings.HasPrefix(name, "__") && !known {
		return labelErrorf("label %s: names that begin with __ are internal to Prometheus; want another name, or one of %s", name, strings.Join(scrapeLabelNames, ", "))
	}
	if err := checkName("label "+name, value, MaxLabelValue); err != nil {
		return labelError(err.Error())
	}
	if known && value != "" {
		if err := check(value); err != nil {
			return labelErrorf("label %s: %v", name, err)
		}
	}
	return nil
}

// scrapeLabelNames are the keys of scrapeLabels, for messages.
var scrapeLabelNames = func() (names []string) {
	for name := range scrapeLabels {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

func isLabelName(text string) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return text != ""
}

// clipName shortens a name that was not accepted, for messages.
func clipName(name string) string {
	const shown = 40
	if len(name) <= shown {
		return name
	}
	end := shown
	for end > shown-utf8.UTFMax && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}

func checkSwitch(value string) error {
	if value != "true" && value != "false" {
		return fmt.Errorf("value %q, want true or false", clipName(value))
	}
	return nil
}

func checkDuration(value string) error {
	d, ok := prometheusDuration(value)
	if !ok || d == 0 {
		return fmt.Errorf("value %q, want a duration above zero such as 30s, 1m30s or 500ms", clipName(value))
	}
	return nil
}

// durationUnit is a unit of a duration in Prometheus.
type durationUnit struct {
	name string
	time.Duration
}

// durationUnits are in the only order that Prometheus accepts.
var durationUnits = []durationUnit{
	{"y", 365 * 24 * time.Hour}, {"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour},
	{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// prometheusDuration reads a duration as Prometheus does, which accepts neither fractions nor signs.
func prometheusDuration(text string) (d time.Duration, ok bool) {
	if text == "0" {
		return 0, true
	}
	units := durationUnits
	for rest := text; rest != ""; {
		afterNumber := strings.TrimLeft(rest, "0123456789")
		number := rest[:len(rest)-len(afterNumber)]
		rest = strings.TrimLeft(afterNumber, "ymwdhs")
		name := afterNumber[:len(afterNumber)-len(rest)]
		i := slices.IndexFunc(units, func(u durationUnit) bool { return u.name == name })
		n, err := strconv.ParseInt(number, 10, 64)
		if i < 0 || err != nil || n > int64((math.MaxInt64-d)/units[i].Duration) {
			return 0, false
		}
		d += time.Duration(n) * units[i].Duration
		units = units[i+1:]
	}
	return d, text != ""
}

// CheckInstanceLabel checks the instance label of a target, which is in other respects not the operator's to set: up to
// MaxLabelValue bytes of UTF-8 as in an alias.
func CheckInstanceLabel(text string) error {
	if err := checkName("label instance", text, MaxLabelValue); err != nil {
		return labelError(err.Error())
	}
	return nil
}
