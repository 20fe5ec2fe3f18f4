package filesd_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/filesd"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
)

// describe returns targets as lines: alias, URL, instance, labels, place.
func describe(targets []filesd.Target) (lines []string) {
	for _, t := range targets {
		lines = append(lines, fmt.Sprintf("%s %s %s %v %s", t.Alias, t.URL, t.Instance, maps.Collect(t.Labels.All()), t.Place))
	}
	return lines
}

func TestTargetsAreReadFromBothFormats(t *testing.T) {
	for _, c := range []struct{ path, content string }{
		{"site.yml", `# all of the site
- targets: [node1:9100, "[2001:db8::1]:9100"]
- labels: {rack: 7, empty: "", none: ~, on: true, __scrape_interval__: 1m}
  targets:
    - db
    - db2:9187
- targets:
  - probe:9115
  labels:
    __scheme__: https
    __metrics_path__: /probe now
    __param_module: http_2xx
    __param_target: https://example.org/?a=b
    __dhtprom_alias__: the probe
    instance: example.org
`},
		{"site.JSON", `[
  {"targets": ["node1:9100", "[2001:db8::1]:9100"]},

  {"labels": {"rack": "7", "empty": "", "none": null, "on": "true", "__scrape_interval__": "1m"}, "targets": [
    "db",
    "db2:9187"]},

  {"targets":
     ["probe:9115"], "labels": {
    "__scheme__": "https",
    "__metrics_path__": "probe now",
    "__param_module": "http_2xx",
    "__param_target": "https://example.org/?a=b",
    "__dhtprom_alias__": "the probe",
    "instance": "example.org"}}
]
`},
	} {
		got, err := filesd.Parse(c.path, []byte(c.content), "site7")
		want := []string{
			"site7/node1:9100 http://node1:9100/metrics node1:9100 map[] " + c.path + ":2 (group 1, target 1)",
			"site7/[2001:db8::1]:9100 http://[2001:db8::1]:9100/metrics [2001:db8::1]:9100 map[] " + c.path + ":2 (group 1, target 2)",
			"site7/db http://db/metrics db map[__scrape_interval__:1m on:true rack:7] " + c.path + ":5 (group 2, target 1)",
			"site7/db2:9187 http://db2:9187/metrics db2:9187 map[__scrape_interval__:1m on:true rack:7] " + c.path + ":6 (group 2, target 2)",
			"the probe https://probe:9115/probe%20now?module=http_2xx&target=https%3A%2F%2Fexample.org%2F%3Fa%3Db example.org map[] " + c.path + map[bool]string{true: ":8", false: ":9"}[c.path == "site.yml"] + " (group 3, target 1)",
		}
		if got := describe(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.path, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestFilesWithoutTargetsAreEmpty(t *testing.T) {
	for _, c := range []struct{ path, content string }{
		{"a.yml", ""}, {"a.yml", "# nothing"}, {"a.yml", "---\n"}, {"a.yml", "[]"}, {"a.yaml", "- labels: {a: b}"}, {"a.yml", "- targets:\n  labels:\n"},
		{"a.json", "[]"}, {"a.json", " null "}, {"a.json", `[{"targets": null, "labels": null}, {}]`},
	} {
		if got, err := filesd.Parse(c.path, []byte(c.content), "c"); err != nil || len(got) > 0 {
			t.Errorf("%s with %q: %v, %v", c.path, c.content, got, err)
		}
	}
}

func TestAnchorsAndMergeKeysAreFollowed(t *testing.T) {
	const content = `
- &first
  targets: &list [a:1]
  labels: &common {site: berlin, rack: "1"}
- targets: [b:1]
  labels: *common
- targets: [c:1]
  labels: {<<: *common, rack: "2"}
- {<<: *first, targets: [d:1]}
- targets: [e:1]
  labels:
    rack: "3"
    <<: [{row: "5"}, *common]
`
	got, err := filesd.Parse("a.yml", []byte(content), "c")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"map[rack:1 site:berlin]", "map[rack:1 site:berlin]", "map[rack:2 site:berlin]", "map[rack:1 site:berlin]", "map[rack:3 row:5 site:berlin]"}
	for i, g := range got {
		if labels := fmt.Sprint(maps.Collect(g.Labels.All())); labels != want[i] || len(got) != len(want) {
			t.Errorf("target %d: %s", i, labels)
		}
	}
}

func TestFaultsOfAFileHaveTheirLine(t *testing.T) {
	for _, c := range []struct{ name, path, content, want string }{
		{"YAML that is none", "a.yml", "- targets: [a:1]\n  labels:\n\ta: b", "a.yml:3: found character that cannot start any token"},
		{"a bad character", "a.yml", "- \x01", "a.yml: control characters are not allowed"},
		{"JSON that is none", "a.json", "[\n {\"targets\": [\"a:1\"],,\n]", "a.json:2: invalid character ','"},
		{"JSON that breaks off", "a.json", "[\n {\"targets\": [\"a:1\"],\n", "a.json:3: the file ends too early"},
		{"no JSON", "a.json", "", "a.json:1: the file ends too early"},
		{"YAML in a JSON file", "a.json", "- targets: []", "a.json:1: invalid character"},
		{"more JSON", "a.json", "[]\n[]", "a.json:2: more after the list of groups"},
		{"more YAML", "a.yml", "[]\n---\n[]\n", "a.yml:2: a second document"},
		{"more YAML that is none", "a.yml", "[]\n---\n{\n", "a.yml:"},
		{"a mapping for the file", "a.yml", "targets: [a:1]", "a.yml:1: the file: found a mapping, want a list"},
		{"an object for the file", "a.json", `{"targets": []}`, "a.json:1: the file: found an object, want a list"},
		{"a string for a group", "a.yml", "- a:1", "a.yml:1: group 1: found a scalar, want a mapping"},
		{"a string for a group in JSON", "a.json", `[{}, "a:1"]`, "a.json:1: group 2: found a string, want an object"},
		{"null for a group", "a.yml", "- targets: []\n- ~", "a.yml:2: group 2: found null, want a mapping"},
		{"null for a group in JSON", "a.json", "[\nnull]", "a.json:2: group 1: found null, want an object"},
		{"an unknown field", "a.yml", "- targets: []\n  source: x", `a.yml:2: group 1: unknown field "source", want targets or labels`},
		{"an unknown field in JSON", "a.json", `[{"Targets": []}]`, `a.json:1: group 1: unknown field "Targets", want targets or labels`},
		{"targets twice", "a.yml", "- targets: []\n  targets: []", "a.yml:2: group 1: targets is given twice"},
		{"targets twice in JSON", "a.json", "[{\"targets\": [],\n\"targets\": []}]", "a.json:2: group 1: targets is given twice"},
		{"a label twice", "a.yml", "- labels:\n    a: b\n    a: c", "a.yml:3: group 1: labels: a is given twice"},
		{"a label twice in JSON", "a.json", `[{"labels": {"a": "b", "a": "c"}}]`, "a.json:1: group 1: labels: a is given twice"},
		{"a string for targets", "a.yml", "- targets: a:1", "a.yml:1: group 1: targets: found a scalar, want a list"},
		{"a string for targets in JSON", "a.json", `[{"targets": "a:1"}]`, "a.json:1: group 1: targets: found a string, want a list"},
		{"a list for a target", "a.yml", "- targets:\n  - [a]", "a.yml:2: group 1: targets: found a list, want a scalar"},
		{"a number for a target in JSON", "a.json", `[{"targets": [1]}]`, "a.json:1: group 1: targets: found a number, want a string"},
		{"a truth for a label in JSON", "a.json", `[{"labels": {"a": true}}]`, "a.json:1: group 1: labels: a: found true or false, want a string"},
		{"a list for labels", "a.yml", "- labels: [a]", "a.yml:1: group 1: labels: found a list, want a mapping"},
		{"a list for a label's name", "a.yml", "- labels: {[a]: b}", "a.yml:1: group 1: labels: found a list, want a scalar"},
		{"a merge of merges", "a.yml", "- labels: &l\n    <<: {a: b}\n- labels:\n    <<: *l", "a.yml:2: group 2: labels: a merged mapping has a merge key itself"},
		{"a merge of a list", "a.yml", "- labels: {<<: [[a]]}", "a.yml:1: group 1: labels: <<: found a list, want a mapping"},
		{"a list in itself", "a.yml", "&x\n- *x", "a.yml:1: group 1: found a list, want a mapping"},

		{"a URL for a target", "a.yml", "- targets:\n  - a:1\n  - http://a:1/metrics", `a.yml:3: group 1, target 2: "http://a:1/metrics", want HOST:PORT; scheme, path and query are labels`},
		{"a path", "a.yml", "- targets: [a:1/x]", `"a:1/x", want HOST:PORT`},
		{"a query", "a.yml", "- targets: ['a:1?x']", `"a:1?x", want HOST:PORT`},
		{"a user", "a.yml", "- targets: ['u@a:1']", `"u@a:1", want HOST:PORT`},
		{"a port only", "a.yml", "- targets: [':1']", `":1", want HOST:PORT`},
		{"an empty port", "a.yml", "- targets: ['a:']", `"a:", want HOST:PORT`},
		{"a port that is none", "a.yml", "- targets: ['a:http']", `"a:http", want HOST:PORT`},
		{"a large port", "a.yml", "- targets: ['a:65536']", `"a:65536", want HOST:PORT`},
		{"an address without brackets", "a.yml", "- targets: ['2001:db8::1']", `"2001:db8::1", want HOST:PORT`},
		{"an empty target", "a.yml", "- targets: ['']", `"", want HOST:PORT`},
		{"no target", "a.yml", "- targets: [~]", `"", want HOST:PORT`},
		{"a long target", "a.yml", "- targets: [" + strings.Repeat("a", 300) + "]", `want HOST:PORT`},
		{"a long alias", "a.yml", "- targets: [" + strings.Repeat("a", 200) + ":1]", "group 1, target 1: alias is 204 bytes long, at most 128 are allowed; the label __dhtprom_alias__ sets another"},
		{"a scheme", "a.yml", "- targets: [a:1]\n  labels:\n    __scheme__: ftp", `a.yml:3: group 1: label __scheme__: "ftp", want http or https`},
		{"an address", "a.yml", "- targets: [a:1]\n  labels:\n    __address__: b:1", "a.yml:3: group 1: label __address__ comes from targets and cannot be set"},
		{"a label of Prometheus's", "a.yml", "- targets: [a:1]\n  labels:\n    job: x", "a.yml:3: group 1: label job is the job_name"},
		{"a parameter without a name", "a.yml", "- targets: [a:1]\n  labels: {__param_: x}", "a.yml:2: group 1: label __param_: names that begin with __ are internal"},
		{"a parameter that is too long", "a.yml", "- targets: [a:1]\n  labels: {__param_x: " + strings.Repeat("x", 1025) + "}", "label __param_x is 1025 bytes long, want at most 1024"},
		{"an instance", "a.yml", `- {targets: [a:1], labels: {instance: "a\nb"}}`, "a.yml:1: group 1: label instance has the character U+000A"},
		{"a long timeout", "a.json", "[\n{\"targets\": [\"a:1\"], \"labels\": {\n\"__scrape_interval__\": \"1s\", \"__scrape_timeout__\": \"2s\"}}]", "a.json:2: group 1: label __scrape_timeout__ is 2s"},
		{"an alias twice", "a.yml", "- targets: [a:1, b:1]\n- targets: [a:1]", `a.yml:2: alias "c/a:1" is the one of two targets, at a.yml:1 (group 1, target 1) and at a.yml:2 (group 2, target 1): want another address, or a label __dhtprom_alias__ for one of them`},
		{"one alias for a group", "a.yml", "- targets: [a:1, b:1]\n  labels: {__dhtprom_alias__: x}", `alias "x" is the one of two targets, at a.yml:1 (group 1, target 1) and at a.yml:1 (group 1, target 2)`},
	} {
		_, err := filesd.Parse(c.path, []byte(c.content), "c")
		var of *filesd.FileError
		if !errors.As(err, &of) || of.Path != c.path || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
}

func TestTargetsOfAFileAreBounded(t *testing.T) {
	yaml := func(n int) string {
		var b strings.Builder
		b.WriteString("- targets:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - h%d:1\n", i)
		}
		return b.String()
	}
	json := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"h%d:1"`, i))
		}
		return `[{"targets": [` + strings.Join(list, ",\n") + "]}]"
	}
	for path, of := range map[string]func(int) string{"a.yml": yaml, "a.json": json} {
		if got, err := filesd.Parse(path, []byte(of(filesd.MaxTargets)), "c"); err != nil || len(got) != filesd.MaxTargets {
			t.Errorf("%s: %d targets, %v", path, len(got), err)
		}
		if _, err := filesd.Parse(path, []byte(of(filesd.MaxTargets+1)), "c"); err == nil || !strings.Contains(err.Error(), "more than 5000 targets") {
			t.Errorf("%s: %v", path, err)
		}
	}
	repeated := strings.Replace(yaml(filesd.MaxTargets/2), "targets:", "targets: &all", 1) + "- targets: *all\n- targets: *all\n"
	if _, err := filesd.Parse("a.yml", []byte(repeated), "c"); err == nil || !strings.Contains(err.Error(), "more than 5000 targets") {
		t.Error(err)
	}
}

func TestLabelsOfAGroupAreBounded(t *testing.T) {
	labels := func(n int, quote string) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`%s__param_p%d%s: %sx%s`, quote, i, quote, quote, quote))
		}
		return "{" + strings.Join(list, ", ") + "}"
	}
	merges := func(n int) string { return "{<<: [" + strings.Repeat("{}, ", n) + "]}" }
	for _, c := range []struct{ path, most, more string }{
		{"a.yml", "- targets: [a:1]\n  labels: " + labels(filesd.MaxPairs, ""), "- targets: [a:1]\n  labels: " + labels(filesd.MaxPairs+1, "")},
		{"a.json", `[{"targets": ["a:1"], "labels": ` + labels(filesd.MaxPairs, `"`) + "}]", `[{"targets": ["a:1"], "labels": ` + labels(filesd.MaxPairs+1, `"`) + "}]"},
		{"a.yml", "- targets: [a:1]\n  labels: " + merges(filesd.MaxPairs), "- targets: [a:1]\n  labels: " + merges(filesd.MaxPairs+1)},
	} {
		if _, err := filesd.Parse(c.path, []byte(c.most), "c"); err != nil {
			t.Error(err)
		}
		if _, err := filesd.Parse(c.path, []byte(c.more), "c"); err == nil || !strings.Contains(err.Error(), "more than 64") {
			t.Error(err)
		}
	}
}

func TestFileNamesArePrometheus(t *testing.T) {
	for _, ok := range []string{"a.json", "/etc/prom/*.yml", "t/site-*.YAML", "*.json", "t/a?.yml", "./x.yaml"} {
		if err := filesd.CheckGlob(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "a", "a.txt", "*/a.json", "t/*/a.yml", "**.json/x", "t/*.y*ml", "[.json", "t/", "*.JsOn"} {
		if err := filesd.CheckGlob(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("- targets: [a:1, 'b']\n  labels: {__scheme__: https, x: y}\n"), false)
	f.Add([]byte("- &g\n  targets: &t [a:1]\n  labels: &l {<<: {a: b}}\n- *g\n- targets: *t\n  labels: {<<: [*l, *l]}\n"), false)
	f.Add([]byte("&x\n- *x\n- {<<: *x, targets: *x}"), false)
	f.Add([]byte(`[{"targets": ["a:1"], "labels": {"__param_x": "y", "a": null}}, null]`), true)
	f.Add([]byte("[{\"labels\": {\"a\": \"\\ud800\\n\"},\n\"targets\": null}] x"), true)
	f.Fuzz(func(t *testing.T, content []byte, json bool) {
		path := map[bool]string{true: "a.json", false: "a.yml"}[json]
		var targets []filesd.Target
		var err error
		// A node of YAML takes 200 bytes of memory and may be one of input; a group of a few bytes may repeat the labels of another.
		bound := cost.Bound{StepsPerByte: 400, Steps: 20_000, BytesPerByte: 4096, Bytes: 128 << 10}
		bound.Check(t, len(content), func() { targets, err = filesd.Parse(path, content, "c") })
		var of *filesd.FileError
		if err != nil && (!errors.As(err, &of) || of.Line > len(content)+1) {
			t.Errorf("%q: %v", content, err)
		}
		seen := map[domain.Alias]bool{}
		for _, x := range targets {
			if _, err := domain.ParseAlias(string(x.Alias)); err != nil || seen[x.Alias] || x.URL.Host == "" || x.Instance == "" || x.Place == "" {
				t.Errorf("%q: %+v, %v", content, x, err)
			}
			seen[x.Alias] = true
		}
	})
}
