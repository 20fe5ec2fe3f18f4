package domain_test

import (
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

func TestPlainAliasesAreTheirOwnPathForm(t *testing.T) {
	for _, alias := range []string{"web", "web-1.example.com", "host:9100", "a/b/c", "user@host", "A_b~c", "...a", "metrics", "a/metrics", "a/.hidden"} {
		if got := domain.Alias(alias).PathForm(); got != alias {
			t.Errorf("%q becomes %q", alias, got)
		}
		if got := domain.AliasFromPath(alias); got != domain.Alias(alias) {
			t.Errorf("%q is read as %q", alias, got)
		}
	}
}

func TestOtherAliasesAreEscaped(t *testing.T) {
	for _, c := range []struct{ alias, form string }{
		{"../../x", "~.~2e~2f.~2e~2fx"},
		{"./a", "~.~2fa"},
		{"..", "~.~2e"},
		{".", "~."},
		{"...", "~.~2e~2e"},
		{"a//b", "~a~2f~2fb"},
		{"/a", "~~2fa"},
		{"a/", "~a~2f"},
		{"a?b#c", "~a~3fb~23c"},
		{"100%", "~100~25"},
		{"%2e%2e", "~~252e~252e"},
		{"my web", "~my~20web"},
		{"ü", "~~c3~bc"},
		{`a\b`, "~a~5cb"},
		{"a;b=c&d+e,f", "~a~3bb~3dc~26d~2be~2cf"},
		{"~", "~~7e"},
		{"~a", "~~7ea"},
		{"~~7ea", "~~7e~7e7ea"},
	} {
		if got := domain.Alias(c.alias).PathForm(); got != c.form {
			t.Errorf("%q becomes %q, want %q", c.alias, got, c.form)
		}
		if got := domain.AliasFromPath(c.form); got != domain.Alias(c.alias) {
			t.Errorf("%q is read as %q, want %q", c.form, got, c.alias)
		}
	}
}

// URLs made before path forms existed hold the alias itself.
func TestTextThatIsNoPathFormIsTheAlias(t *testing.T) {
	for _, text := range []string{"../../x", "a b", "ü", "~a", "~", "~~", "~~2", "~~2F", "~~61", "~a.b", "~a/~2f", "~~2e", "~..~20"} {
		if got := domain.AliasFromPath(text); got != domain.Alias(text) {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

var safePath = regexp.MustCompile(`^[A-Za-z0-9._~:@/-]+$`)

// normalise changes a path as nginx does before it passes it on by a proxy_pass with a URI: percent-decoding, resolving dots,
// merging slashes, and escaping again.
func normalise(p string) string {
	decoded, err := url.PathUnescape(p)
	if err != nil {
		return "bad request"
	}
	return (&url.URL{Path: path.Clean(decoded)}).EscapedPath()
}

func checkPathForm(t *testing.T, alias string) {
	form := domain.Alias(alias).PathForm()
	if got := domain.AliasFromPath(form); got != domain.Alias(alias) {
		t.Errorf("%q becomes %q, which is read as %q", alias, form, got)
	}
	if !safePath.MatchString(form) {
		t.Errorf("%q becomes %q, which needs escaping", alias, form)
	}
	full := "/scrape/" + form + "/metrics"
	if got := path.Clean(full); got != full {
		t.Errorf("%q: cleaning turns %q into %q", alias, full, got)
	}
	if got := normalise(full); got != full {
		t.Errorf("%q: a proxy turns %q into %q", alias, full, got)
	}
	// As URL text, as vmagent reads it, and as a path, as Prometheus reads it.
	if u, err := url.Parse("http://h:1" + full); err != nil || u.Path != full || u.RawQuery != "" || u.Fragment != "" || u.RawPath != "" {
		t.Errorf("%q: %q is parsed as %+v, %v", alias, full, u, err)
	}
	if got := (&url.URL{Scheme: "http", Host: "h:1", Path: full}).String(); got != "http://h:1"+full {
		t.Errorf("%q: %q is written as %q", alias, full, got)
	}
	// Unnecessary escaping leads to the same alias.
	if u, err := url.Parse("http://h:1/scrape/" + strings.ReplaceAll(url.PathEscape(form), "~", "%7E") + "/metrics"); err != nil || u.Path != full {
		t.Errorf("%q: escaped once more it is %+v, %v", alias, u, err)
	}
}

func FuzzPathFormsAreUnambiguousAndSurviveProxies(f *testing.F) {
	for _, alias := range []string{"web", "a/b", "../../x", "./a", "a//b", "?#%", "~", "~~7ea", "~a", "ü 電", "a/..", "a/.", "%2e%2e%2f", "\\..\\", "a/metrics"} {
		f.Add(alias)
	}
	f.Fuzz(func(t *testing.T, alias string) {
		if alias == "" {
			return
		}
		checkPathForm(t, alias)
		// A byte becomes five at most.
		var form string
		cost.Parsing.Check(t, 5*len(alias), func() { form = domain.Alias(alias).PathForm() })
		cost.Parsing.Check(t, len(form), func() { domain.AliasFromPath(form) })
	})
}

// All aliases of up to four of the relevant characters, which a fuzzer may miss.
func TestPathFormsOfAllShortAliases(t *testing.T) {
	seen := map[string]string{}
	var all func(alias string, left int)
	all = func(alias string, left int) {
		if alias != "" {
			checkPathForm(t, alias)
			form := domain.Alias(alias).PathForm()
			if other, taken := seen[form]; taken {
				t.Fatalf("%q and %q have one path form, %q", alias, other, form)
			}
			seen[form] = alias
		}
		if left == 0 {
			return
		}
		for _, c := range []string{"a", "7", "e", ".", "/", "~", "%", "?", " ", "ü"} {
			all(alias+c, left-1)
		}
	}
	all("", 4)
}
