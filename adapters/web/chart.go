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

// sparkline draws the durations of the last scrapes of an alias, the oldest on the left, and the failed ones as ticks.
type sparkline struct {
	Line  string // of a path element
	Fails []int  // their places on the x axis
	Label string // for screen readers, and as the tooltip
}

const (
	// sparkWidth and sparkHeight are those of a sparkline, in its own units, as in aliases.html. sparkStep is the distance of two scrapes,
	// and sparkEdge keeps the line inside the picture.
	sparkWidth  = 96
	sparkHeight = 20
	sparkStep   = 8
	sparkEdge   = 2
	// sparkScrapes is the largest number of scrapes in a sparkline.
	sparkScrapes = (sparkWidth-2*sparkEdge)/sparkStep + 1
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
	var line strings.Builder
	drawing := false
	spark := &sparkline{}
	for i, s := range scrapes {
		x := sparkEdge + i*sparkStep
		if s.Err != nil {
			spark.Fails = append(spark.Fails, x)
			drawing = false
			continue
		}
		y := sparkHeight - sparkEdge - int(int64(s.Took)*(sparkHeight-2*sparkEdge)/int64(max(high, 1)))
		command := "M"
		if drawing {
			command = "L"
		}
		fmt.Fprintf(&line, "%s%d %d", command, x, y)
		if !drawing {
			line.WriteString("h0") // a single one is a dot
		}
		drawing = true
	}
	spark.Line = line.String()
	spark.Label = fmt.Sprintf("Last %d scrapes: ", len(scrapes))
	switch {
	case len(took) == 0:
		spark.Label += "all failed"
	case len(spark.Fails) > 0:
		spark.Label += fmt.Sprintf("%d failed, the others took %s to %s", len(spark.Fails), span(low), span(high))
	default:
		spark.Label += fmt.Sprintf("%s to %s", span(low), span(high))
	}
	return spark
}
