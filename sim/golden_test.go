package sim

import (
	"testing"

	"github.com/dhtprom/dhtprom/internal/golden"
)

// TestFirstScrape holds the transcript that a newcomer reads to what happens. A change of it is part of the review.
func TestFirstScrape(t *testing.T) {
	golden.File(t, "testdata/first_scrape.txt", play(t, Options{Scenario: "firstscrape", Seed: 1}).Transcript)
}
