package prometheus_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/process"
)

// examples are the configurations that the docs give to operators, by their way of discovering aliases.
var examples = []struct{ name, file string }{
	{"file discovery", "prometheus.yml"},
	{"HTTP discovery", "prometheus-http.yml"},
}

func TestPrometheusScrapesBothKindsOfClients(t *testing.T) {
	process.Need(t, "prometheus")
	jspeer.Require(t)
	w := newWorld(t)
	var all []*prometheus
	for _, e := range examples {
		all = append(all, w.startPrometheus(w.exampleConfig(e.file)))
	}
	each := func(check func(t *testing.T, p *prometheus)) {
		t.Helper()
		for i, p := range all {
			check(t, &prometheus{p.world, p.url})
			if t.Failed() {
				t.Fatalf("with %s", examples[i].name)
			}
		}
	}
	each(func(t *testing.T, p *prometheus) {
		p.awaits("nobody is there yet", "laptop", func(found *target) bool { return found == nil })
	})

	client := w.goClient("laptop", "backup_age_seconds 7\n")
	printer := w.javaScriptClient("printer", "jobs_waiting 3\n")
	each(func(t *testing.T, p *prometheus) {
		p.reads(`up{instance="laptop"}`, "1")
		p.reads(`up{instance="printer"}`, "1")
		wantLabels(t, p.reads("backup_age_seconds", "7"), map[string]string{
			"instance": "laptop", "hostname": "mercury", "service": "backup",
		})
		wantLabels(t, p.reads("jobs_waiting", "3"), map[string]string{
			"instance": "printer", "hostname": "cellar", "service": "printer",
		})
		p.reads("dhtprom_aliases", "2")
	})

	// HTTP discovery has the labels of targets in a set; the file is in the format of the bridge, which has none.
	w.site()
	t.Run("labels", func(t *testing.T) {
		p := &prometheus{w, all[1].url}
		var discovered map[string]string
		p.awaits("the labels are there", "attic:9100", func(found *target) bool {
			if found == nil || found.Health != "up" || found.ScrapeInterval != "1s" {
				return false
			}
			discovered = found.DiscoveredLabels
			return true
		})
		wantLabels(t, discovered, map[string]string{
			"__meta_dhtprom_alias": "attic", "__meta_dhtprom_label_site": "north", "__meta_dhtprom_label_room": `a "small" one`,
		})
		wantLabels(t, p.reads(`attic_windows{room=~"a.*"}`, "2"), map[string]string{
			"instance": "attic:9100", "hostname": "venus", "service": "windows", "job": "windows", "site": "north", "room": `a "small" one`,
			"__scrape_interval__": "",
		})
		wantLabels(t, p.reads(`attic_windows{instance="shed"}`, "1"), map[string]string{"site": "north", "room": "unknown"})
		(&prometheus{w, all[0].url}).reads(`attic_windows{instance="attic"}`, "2")
	})

	t.Run("own metrics", func(t *testing.T) { checkOwnMetrics(t, w) })
	t.Run("mixin", func(t *testing.T) { checkMixin(t, all[0]) })

	client.Stop()  // and deregisters
	printer.Kill() // and cannot deregister
	each(func(_ *testing.T, p *prometheus) {
		p.awaits("a client that left is no target any more", "laptop", func(found *target) bool { return found == nil })
		p.awaits("a client that vanished is down, with a reason", "printer", func(found *target) bool {
			return found != nil && found.Health == "down" && found.LastError != ""
		})
		p.reads(`up{instance="printer"}`, "0")
	})
}

func wantLabels(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("label %s is %q, want %q, in %v", name, got[name], value, got)
		}
	}
}
