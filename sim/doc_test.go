package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDocListsEveryRuleAndEveryBound compares the tables of the package comment with the code.
func TestDocListsEveryRuleAndEveryBound(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`(?:\.fail\(|Check: )"([a-z]+)"`)
	seen := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(code), -1) {
			seen[m[1]] = true
		}
	}
	for rule := range seen {
		if !strings.Contains(string(doc), "\n//\t"+rule+" ") {
			t.Errorf("the rule %s is not in doc.go", rule)
		}
	}
	for _, m := range regexp.MustCompile(`\n//\t([a-z]+)  +an? |\n//\t([a-z]+)  +(?:some|what)`).FindAllStringSubmatch(string(doc), -1) {
		if rule := m[1] + m[2]; !seen[rule] {
			t.Errorf("doc.go has a rule %s, which nothing judges by", rule)
		}
	}
	if len(seen) < 14 {
		t.Errorf("%d rules only: %v", len(seen), seen)
	}
	for name, bound := range map[string]time.Duration{
		"healWithin": healWithin, "reunionWithin": reunionWithin, "crowdWithin": crowdWithin, "announcedWithin": announcedWithin, "namedWithin": namedWithin, "missedWithin": missedWithin,
		"guessWithin": guessWithin,
	} {
		if !regexp.MustCompile(fmt.Sprintf(`\t%s +%d s `, name, int(bound.Seconds()))).Match(doc) {
			t.Errorf("doc.go does not say that %s is %v", name, bound)
		}
	}
}
