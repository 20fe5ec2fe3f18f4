package laws

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The parts of .ci/nightly, the jobs of its workflow and the rows of its page are the same: a part that one of them does not have
// would be missing unnoticed.
func TestNightlyPartsAreAllPlayed(t *testing.T) {
	enter(t)
	var parts []string
	for _, match := range regexp.MustCompile(`(?m)^part (\S+) `).FindAllStringSubmatch(read(t, ".ci/nightly"), -1) {
		parts = append(parts, match[1])
	}
	if len(parts) < 10 {
		t.Fatalf("parts %q", parts)
	}
	var workflow struct {
		Jobs struct {
			Part struct {
				Strategy struct {
					Matrix struct {
						Part []string
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/nightly.yml")), &workflow); err != nil {
		t.Fatal(err)
	}
	if jobs := workflow.Jobs.Part.Strategy.Matrix.Part; !slices.Equal(jobs, parts) {
		t.Errorf("the workflow plays %q, .ci/nightly has %q", jobs, parts)
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z]+) \|`).FindAllStringSubmatch(read(t, "docs/nightly.md"), -1) {
		if row[1] != "part" && !slices.Contains(parts, row[1]) {
			t.Errorf("docs/nightly.md has a row of %q, which is no part", row[1])
		}
	}
}

// A part that names tests by -run would pass without a test if they had other names.
func TestNightlyPartsNameTestsThatExist(t *testing.T) {
	all := packages(t)
	found := 0
	for line := range strings.Lines(read(t, ".ci/nightly")) {
		fields := strings.Fields(line)
		i := slices.Index(fields, "-run")
		if i < 0 {
			continue
		}
		found++
		names, err := regexp.Compile(strings.Trim(fields[i+1], "'"))
		if err != nil {
			t.Fatal(err)
		}
		var folders []string
		for _, f := range fields {
			switch f = strings.TrimSuffix(f, ";"); {
			case strings.HasPrefix(f, "./"):
				folders = append(folders, strings.TrimPrefix(f, "./"))
			case strings.HasPrefix(f, "interop/"): // a module of its own: go -C
				folders = append(folders, f)
			}
		}
		if len(folders) == 0 {
			t.Errorf("no package in %q", line)
		}
		for _, folder := range folders {
			j := slices.IndexFunc(all, func(p *pkg) bool { return p.path == folder })
			if j < 0 || !slices.ContainsFunc(all[j].tests, func(f file) bool { return hasTest(f, names) }) {
				t.Errorf("%s has no test %s", folder, names)
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d lines of .ci/nightly name tests", found)
	}
}

func hasTest(f file, names *regexp.Regexp) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && strings.HasPrefix(f.Name.Name, "Test") && names.MatchString(f.Name.Name)
	})
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
