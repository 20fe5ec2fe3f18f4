package sim

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestFirstScrape holds the transcript that a newcomer reads to what happens. A change of it is part of the review.
func TestFirstScrape(t *testing.T) {
	const file = "testdata/first_scrape.txt"
	r := play(t, Options{Scenario: "firstscrape", Seed: 1})
	got := r.Transcript
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	have, old := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(have), len(old)) {
		if have[i] != old[i] {
			t.Fatalf("line %d is now\n\t%s\nand was\n\t%s\nRun the test with -update and read the difference.\nreplay: %s -transcript", i+1, have[i], old[i], r.Options.Command())
		}
	}
	t.Fatalf("%d lines, were %d. Run the test with -update and read the difference.\nreplay: %s -transcript", len(have), len(old), r.Options.Command())
}
