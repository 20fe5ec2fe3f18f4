package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// The pictures of the pages are SVG that the server draws. Colours are classes of the style sheet, and each picture has its content as
// text, too.

// pathBar has the connections by kind of path, as parts of a bar.
type pathBar struct {
	Parts []pathPart
	Label string // for screen readers
}

// pathPart is a part of the bar, in hundredths of its width.
type pathPart struct {
	Word, Class string
	Count       int
	From, Width float64
}

// barOf counts the connections of aliases; targets with one key share a connection.
func barOf(aliases []domain.AliasStatus) pathBar {
	keys := map[domain.PublicKey]bool{}
	counts := map[domain.Path]int{}
	for _, a := range aliases {
		if a.SessionUp && !keys[a.Key] {
			keys[a.Key] = true
			counts[a.Peer.Path]++
		}
	}
	var bar pathBar
	var words []string
	from := 0.0
	for _, p := range domain.Paths() {
		if counts[p] == 0 {
			continue
		}
		word, _ := pathWords(p)
		width := 100 * float64(counts[p]) / float64(len(keys))
		bar.Parts = append(bar.Parts, pathPart{Word: word, Class: p.String(), Count: counts[p], From: from, Width: width})
		words = append(words, fmt.Sprintf("%d %s", counts[p], strings.ToLower(word)))
		from += width
	}
	bar.Label = "Connections: " + strings.Join(words, ", ")
	return bar
}

// sparkline draws the last scrapes of an alias, the newest at the right edge: their durations as a line, a strip of blocks for those that
// succeeded, and the failed ones as ticks.
type sparkline struct {
	Line  string // of path elements
	Strip string
	Fails string
	Label string // for screen readers, and as the tooltip
}

const (
	// Sizes of a sparkline in its own units, as in aliases.html: its width, the height of its line, the place of the strip below,
	// the distance of two scrapes, and margins.
	sparkWidth  = 96
	sparkHeight = 20
	sparkStrip  = 24
	sparkStep   = 8
	sparkSide   = 4
	sparkEdge   = 2
	// sparkScrapes is the largest number of scrapes in a sparkline.
	sparkScrapes = (sparkWidth-2*sparkSide)/sparkStep + 1
)

// sparklineOf returns nil for less than two scrapes.
func sparklineOf(scrapes []domain.Scrape) *sparkline {
	scrapes = scrapes[max(0, len(scrapes)-sparkScrapes):]
	if len(scrapes) < 2 {
		return nil
	}
	var took []time.Duration // of those that did not fail
	for _, s := range scrapes {
		if s.Err == nil {
			took = append(took, s.Took)
		}
	}
	var low, high time.Duration
	if len(took) > 0 {
		low, high = slices.Min(took), slices.Max(took)
	}
	var line, strip, fails strings.Builder
	left := sparkSide + (sparkScrapes-len(scrapes))*sparkStep
	run := 0 // successful scrapes in a row
	endRun := func(x int) {
		if run > 0 { // one dashed line
			fmt.Fprintf(&strip, "M%d %dh%d", x-run*sparkStep-sparkStep/2+1, sparkStrip, run*sparkStep-2)
		}
		run = 0
	}
	for i, s := range scrapes {
		x := left + i*sparkStep
		if s.Err != nil {
			fmt.Fprintf(&fails, "M%d %dV%d", x, sparkEdge, sparkStrip+1)
			endRun(x)
			continue
		}
		y := sparkHeight - sparkEdge - int(int64(s.Took)*(sparkHeight-2*sparkEdge)/int64(max(high, 1)))
		if run == 0 {
			fmt.Fprintf(&line, "M%d %dh0", x, y) // a single one is a dot
		} else {
			fmt.Fprintf(&line, "L%d %d", x, y)
		}
		run++
	}
	endRun(sparkWidth + sparkSide)
	spark := &sparkline{Line: line.String(), Strip: strip.String(), Fails: fails.String(), Label: fmt.Sprintf("Last %d scrapes: ", len(scrapes))}
	switch failed := len(scrapes) - len(took); {
	case len(took) == 0:
		spark.Label += "all failed"
	case failed > 0:
		spark.Label += fmt.Sprintf("%d failed, the others took %s to %s", failed, span(low), span(high))
	default:
		spark.Label += fmt.Sprintf("%s to %s", span(low), span(high))
	}
	return spark
}
