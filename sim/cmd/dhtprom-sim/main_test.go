package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/sim"
)

// command runs the program and returns its output.
func command(args ...string) (status int, out, complaint string) {
	var o, e bytes.Buffer
	status = start(args, &o, &e)
	return status, o.String(), e.String()
}

func TestWithoutArgumentsScenariosAreListed(t *testing.T) {
	status, out, complaint := command()
	if status != 0 || complaint != "" {
		t.Errorf("status %d: %s", status, complaint)
	}
	for _, s := range sim.Scenarios() {
		if !strings.Contains(out, "  "+s.Name+" ") || !strings.Contains(out, s.About) {
			t.Errorf("%s is not listed", s.Name)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, flag := range []string{"-h", "-help", "--help"} {
		status, out, complaint := command(flag)
		if status != 0 || complaint != "" {
			t.Errorf("%s: status %d: %s", flag, status, complaint)
		}
		for _, want := range []string{"Usage:", "-scenario all", "-scenario name", "-cpuprofile file", "Examples:", "flashcrowd", "crashes,disk,"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is missing", flag, want)
			}
		}
	}
}

func TestWhatCannotBePlayedIsRefusedBeforeAnythingIs(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none", "file")
	tests := []struct {
		name, args string
		want       []string
	}{
		{"no such scenario", "-scenario nonsense", []string{`"nonsense"`, "firstscrape", "swarm"}},
		{"no nodes", "-scenario slice -nodes 0", []string{"-nodes", "1 or more"}},
		{"fewer nodes than none", "-scenario slice -nodes -3", []string{"-nodes", "1 or more"}},
		{"no clients", "-scenario slice -clients 0", []string{"-clients", "1 or more"}},
		{"no seeds", "-scenario slice -seeds 0", []string{"-seeds", "1 or more"}},
		{"no time", "-scenario slice -for 0", []string{"-for", "0s"}},
		{"no time, with a unit", "-scenario slice -for 0s", []string{"-for", "longer than none"}},
		{"time without a unit", "-scenario slice -for 5", []string{"-for", "5s"}},
		{"a time that is none", "-scenario slice -for soon", []string{"-for", "90s"}},
		{"a seed that is none", "-scenario slice -seed x", []string{"-seed", "random"}},
		{"too few nodes", "-scenario flashcrowd -nodes 4", []string{"-nodes 4", "at least 16"}},
		{"too short", "-scenario registration -for 1m", []string{"-for 1m0s", "at least 1h30m"}},
		{"too short for one of all", "-scenario all -for 1m", []string{"registration needs at least 1h30m", "flashcrowd needs at least 5m"}},
		{"no such fault", "-scenario chaos -without nonsense", []string{"-without", "crashes"}},
		{"a fault among others that is none", "-scenario chaos -without sleeps,nonsense", []string{"-without"}},
		{"a scenario without faults", "-scenario slice -without sleeps", []string{"slice draws no faults"}},
		{"a scenario without that fault", "-scenario sleepers -without disk", []string{"only sleeps"}},
		{"no scenario", "-nodes 5", []string{"-scenario"}},
		{"a scenario without its flag", "chaos", []string{"-scenario chaos"}},
		{"something else", "nonsense", []string{"nonsense"}},
		{"no such flag", "-planets 9", []string{"-planets", "-h"}},
		{"a report nowhere", "-scenario growth -report " + nowhere, []string{nowhere}},
		{"a trace nowhere", "-scenario growth -trace " + nowhere, []string{nowhere}},
		{"datagrams nowhere", "-scenario growth -pcap " + nowhere, []string{nowhere}},
		{"a profile nowhere", "-scenario growth -cpuprofile " + nowhere, []string{nowhere}},
		{"a profile of memory nowhere", "-scenario growth -memprofile " + nowhere, []string{nowhere}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, out, complaint := command(strings.Fields(test.args)...)
			if status != 2 || out != "" {
				t.Errorf("status %d: %s", status, out)
			}
			if lines := strings.Count(complaint, "\n"); !strings.HasPrefix(complaint, "dhtprom-sim: ") || lines > 8 {
				t.Errorf("%d lines: %s", lines, complaint)
			}
			for _, want := range test.want {
				if !strings.Contains(complaint, want) {
					t.Errorf("%q is missing in %s", want, complaint)
				}
			}
		})
	}
}

func TestEachRunHasFilesOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	status, out, complaint := command("-scenario", "firstscrape", "-seed", "4", "-seeds", "2", "-pcap", in("d.pcap"), "-trace", in("t"), "-report", in("r.html"),
		"-cpuprofile", in("cpu"), "-memprofile", in("memory"))
	if status != 0 {
		t.Fatalf("status %d: %s%s", status, out, complaint)
	}
	for _, name := range []string{"d-firstscrape-4.pcap", "d-firstscrape-5.pcap", "t-firstscrape-4", "t-firstscrape-5", "r.html", "cpu", "memory"} {
		if info, err := os.Stat(in(name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	page, err := os.ReadFile(in("r.html"))
	if err != nil || strings.Count(string(page), "<section>") != 2 {
		t.Errorf("the report has %d runs, %v", strings.Count(string(page), "<section>"), err)
	}
	for _, want := range []string{"events ", "per second", "bytes for each of", "memory of the world", "healed"} {
		if want != "healed" && !strings.Contains(out, want) {
			t.Errorf("%q is missing in %s", want, out)
		}
	}
	if status, _, _ := command("-scenario", "firstscrape", "-pcap", in("one.pcap")); status != 0 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(in("one.pcap")); err != nil {
		t.Error(err)
	}
}

func TestRunsWithinARunCount(t *testing.T) {
	status, out, _ := command("-scenario", "growth", "-nodes", "100", "-clients", "2")
	if status != 0 || strings.Contains(out, " 0 sent") || strings.Contains(out, ", 0 per second") {
		t.Errorf("status %d: %s", status, out)
	}
}

func TestTableOfAGreenRunTellsOfNoFailedPolls(t *testing.T) {
	status, out, _ := command("-scenario", "slice", "-clients", "8", "-for", "30s")
	if status != 0 || !strings.Contains(out, "scrapes ") || strings.Contains(out, "unknown_alias") {
		t.Errorf("status %d: %s", status, out)
	}
}

func TestSeedThatWasDrawnIsTold(t *testing.T) {
	status, out, _ := command("-scenario", "firstscrape", "-seed", "random", "-seeds", "2")
	if status != 0 || !strings.HasPrefix(out, "seeds from ") {
		t.Errorf("status %d: %s", status, out)
	}
}

func TestKindsOfFaultsAreLeftOutWhereTheyAreDrawn(t *testing.T) {
	set, err := parse(strings.Fields("-scenario all -without sleeps,crashes"))
	if err != nil {
		t.Fatal(err)
	}
	runs, err := set.runs()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"chaos": 2, "groupchaos": 2, "oneportchaos": 2, "elders": 2, "churn": 1, "sleepers": 1}
	for _, o := range runs {
		if len(o.Without) != want[o.Scenario] {
			t.Errorf("%s is played without %v", o.Scenario, o.Without)
		}
	}
	if len(runs) < 10 {
		t.Errorf("%d runs", len(runs))
	}
}

func TestProgressFitsTheTerminal(t *testing.T) {
	long := "swarm, seed 1: a laptop goes to a café, and " + strings.Repeat("ü", 100)
	tests := []struct {
		line  string
		width int
		want  string
	}{{"short", 79, "short"}, {"café", 4, "café"}, {"cafés", 4, "caf…"}, {"üüü", 2, "ü…"}, {"x", 0, "x"}}
	for _, test := range tests {
		if got := fit(test.line, test.width); got != test.want {
			t.Errorf("%q in %d is %q, want %q", test.line, test.width, got, test.want)
		}
	}
	var b bytes.Buffer
	s := &screen{&b, func() int { return 40 }}
	s.progress(sim.Options{Scenario: "swarm"})(sim.Progress{Doing: long, Failures: 2})
	_, line, _ := strings.Cut(b.String(), "\033[K")
	if n := len([]rune(line)); n != 39 || !strings.Contains(line, "2 failures") {
		t.Errorf("%d characters: %q", n, line)
	}
}

func TestWhatIsNoTerminalGetsNoProgress(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if newScreen(f) != nil || newScreen(&bytes.Buffer{}) != nil {
		t.Error("a file is taken for a terminal")
	}
}
