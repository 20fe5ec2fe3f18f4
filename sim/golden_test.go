package sim

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/golden"
)

// TestFirstScrape compares the transcript of the first scrape with its golden file. A change of it is part of the review.
func TestFirstScrape(t *testing.T) {
	golden.File(t, "testdata/first_scrape.txt", play(t, Options{Scenario: "firstscrape", Seed: 1}).Transcript)
}
