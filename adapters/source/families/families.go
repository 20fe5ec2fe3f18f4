// Package families keeps or drops metric families by name in a page of metrics that streams through it. The rest of the page
// passes byte for byte.
//
// A name in a rule is the name of the family in Prometheus's text format, so that one rule has the same effect in all formats:
//
//   - A histogram or summary is named without _bucket, _sum and _count. Its # TYPE line has to be in front of its samples, as the
//     formats require; without one, these are families of their own in a text page.
//   - A counter has the suffix _total that its series have in Prometheus, also in OpenMetrics, whose # TYPE line lacks it before
//     version 2. Likewise an OpenMetrics info metric has the suffix _info.
//   - Names are compared as the page has them: an exporter that escapes UTF-8 names for a caller has already done so.
//
// Nothing is interpreted but names. What has no name stays in the page: comments, blank lines, the # EOF of OpenMetrics, and
// everything malformed, so that Prometheus reports the same error as for a scrape without rules.
package families

import (
	"fmt"
	"io"
	"mime"
	"regexp"
	"slices"
	"strings"
)

// Pattern is a regular expression for whole names, as in Prometheus's relabeling. The zero value matches nothing.
type Pattern struct {
	text string
	re   *regexp.Regexp
}

// Compile returns the pattern of a regular expression in the syntax of RE2. It matches whole names only.
func Compile(text string) (Pattern, error) {
	if _, err := regexp.Compile(text); err != nil { // the error shows the expression without the anchors
		return Pattern{}, fmt.Errorf("pattern of metric names: %w", err)
	}
	re, err := regexp.Compile("^(?s:" + text + ")$")
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern of metric names: %w", err)
	}
	return Pattern{text, re}, nil
}

// String returns the regular expression without anchors.
func (p Pattern) String() string { return p.text }

// MarshalText is String.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText is Compile.
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	*p, err = Compile(string(text))
	return err
}

// Rules select the families of a page: those that a pattern of Keep matches, or all if there is none, except those that a pattern
// of Drop matches.
type Rules struct{ Keep, Drop []Pattern }

// Empty reports whether the rules keep everything.
func (r Rules) Empty() bool { return len(r.Keep) == 0 && len(r.Drop) == 0 }

func (r Rules) keeps(name []byte) bool {
	matches := func(p Pattern) bool { return p.re != nil && p.re.Match(name) }
	return (len(r.Keep) == 0 || slices.ContainsFunc(r.Keep, matches)) && !slices.ContainsFunc(r.Drop, matches)
}

// NewReader returns a reader of the page without the families that the rules drop. The content type is that of the exporter's
// answer: the delimited protobuf of Prometheus, OpenMetrics, or text for any other type and none. The body must have no content
// coding. It is an error if the content type has another encoding of protobuf.
func NewReader(body io.Reader, contentType string, rules Rules) (*Reader, error) {
	r := &Reader{src: body, rules: rules}
	if rules.Empty() {
		return r, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media, _, _ = strings.Cut(contentType, ";")
		media = strings.ToLower(strings.TrimSpace(media))
	}
	switch media {
	case "application/vnd.google.protobuf":
		proto, encoding := params["proto"], params["encoding"]
		if proto != "" && proto != "io.prometheus.client.MetricFamily" || encoding != "" && encoding != "delimited" {
			return nil, fmt.Errorf("rules for metric families cannot be applied to %q: want the delimited protobuf of io.prometheus.client.MetricFamily, OpenMetrics or text", contentType)
		}
		r.page, r.limit = &protobuf{}, maxHead
	case "application/openmetrics-text":
		r.page, r.limit = &text{open: true, bare: !strings.HasPrefix(params["version"], "2.")}, maxLine
	default:
		r.page, r.limit = &text{}, maxLine
	}
	return r, nil
}
