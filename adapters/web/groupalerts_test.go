package web_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	alertExpr   = regexp.MustCompile(`(?m)^ *expr: (.*)$`)
	groupMetric = regexp.MustCompile(`\bdhtprom_[a-z_]+\b`)
)

// An alert on a metric that does not exist never fires, and neither does one on a metric that docs/group.md gives another name.
func TestMetricsOfGroupsExist(t *testing.T) {
	_, metrics := get(t, serve(t, follower()).URL+"/metrics")
	alerts, err := os.ReadFile("../../mixin/alerts/group.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/group.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`dhtprom_group_[a-z_]+`).FindAllString(string(page), -1)
	for _, expr := range alertExpr.FindAllStringSubmatch(string(alerts), -1) {
		names = append(names, groupMetric.FindAllString(expr[1], -1)...)
	}
	if len(names) < 10 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		if !strings.Contains(metrics, "\n"+name+" ") {
			t.Errorf("there is no %s", name)
		}
	}
}
