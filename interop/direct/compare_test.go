package direct_test

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// compressFrom is the size from which the scraper compresses a page for a caller that accepts it, in bytes.
const compressFrom = 2048

// comparison compares what a caller gets directly and through dhtprom.
type comparison struct {
	*testing.T
	*caller
	direct, through *scraped
}

// same checks that both are the same response with the same conclusion.
func (c *comparison) same() {
	c.Helper()
	c.sameHead()
	c.sameConclusion()
	if !bytes.Equal(c.direct.body, c.through.body) {
		c.Errorf("the bodies differ: %s", difference(string(c.direct.body), string(c.through.body)))
	}
	if a, b := strings.Join(c.direct.entries, "\n"), strings.Join(c.through.entries, "\n"); a != b {
		c.Errorf("the metrics differ: %s", difference(a, b))
	}
}

// sameHead checks status, content type and content coding. The coding is another one where a page that the exporter did not compress was
// compressed for the caller, or one that the caller does not accept was decoded.
func (c *comparison) sameHead() {
	c.Helper()
	if c.direct.line != c.through.line {
		c.Errorf("status %q, through dhtprom %q: %v", c.direct.line, c.through.line, c.through.err)
	}
	if c.direct.contentType != c.through.contentType {
		c.Errorf("content type %q, through dhtprom %q", c.direct.contentType, c.through.contentType)
	}
	a, b := c.direct.coding, c.through.coding
	compressed := a == "" && b == "gzip" && c.accepts("gzip") && len(c.direct.body) >= compressFrom && c.direct.status == http.StatusOK
	decoded := b == "" && !c.accepts(a)
	if a != b && !compressed && !decoded {
		c.Errorf("content coding %q, through dhtprom %q, of %d bytes", a, b, len(c.direct.body))
	}
}

func contains(text, part string) bool { return strings.Contains(text, part) }

func (c *comparison) accepts(coding string) bool {
	return slices.Contains(strings.Split(c.caller.coding, ","), coding)
}

func (c *comparison) sameConclusion() {
	c.Helper()
	if c.direct.up() != c.through.up() || c.direct.samples != c.through.samples {
		c.Errorf("%d samples, error %v; through dhtprom %d samples, error %v", c.direct.samples, c.direct.err, c.through.samples, c.through.err)
	}
}

// failsAlike checks that both fail for lack of a whole response. The scraper reports with its own status whatever it knows before the
// first byte of the response; later, it breaks the connection as the exporter did.
func (c *comparison) failsAlike() {
	c.Helper()
	if c.direct.up() || c.through.up() {
		c.Errorf("error %v, through dhtprom %v", c.direct.err, c.through.err)
	}
	switch s := c.through; s.status {
	case 0, c.direct.status, http.StatusOK:
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		if !strings.Contains(s.line, "(client ") {
			c.Errorf("status line %q", s.line)
		}
	default:
		c.Errorf("status line %q", s.line)
	}
}

// sameShape checks an exporter whose values change: what is in both of two direct scrapes is in the one between them, and what is in
// neither is not. A counter that did not change has the same value.
func (c *comparison) sameShape(after *scraped) {
	c.Helper()
	c.sameHead()
	before := c.direct
	if !before.up() || !after.up() || !c.through.up() || c.through.samples == 0 {
		c.Fatalf("%v, %v, through dhtprom %v", before.err, after.err, c.through.err)
	}
	for what, of := range map[string]func(*scraped) map[string]string{
		"series": func(s *scraped) map[string]string { return s.families },
		"types":  func(s *scraped) map[string]string { return s.types },
	} {
		a, b, got := of(before), of(after), of(c.through)
		for name, kind := range a {
			if b[name] == kind && got[name] != kind {
				c.Errorf("%s: %s is %q, through dhtprom %q", what, name, kind, got[name])
			}
		}
		for name, kind := range got {
			if a[name] != kind && b[name] != kind {
				c.Errorf("%s: %s is %q through dhtprom only", what, name, kind)
			}
		}
	}
	for name, value := range maps.All(before.counters) {
		if got, ok := c.through.counters[name]; ok && value == after.counters[name] && got != value {
			c.Errorf("%s is %v, through dhtprom %v", name, value, got)
		}
	}
	if before.helpTexts != c.through.helpTexts && after.helpTexts != c.through.helpTexts {
		c.Errorf("%d help texts, through dhtprom %d", before.helpTexts, c.through.helpTexts)
	}
}

// difference returns where two texts begin to differ.
func difference(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	part := func(text string) string { return text[max(0, n-40):min(len(text), n+80)] }
	return strings.Join([]string{"direct …", part(a), "…, through dhtprom …", part(b), "…"}, "")
}
