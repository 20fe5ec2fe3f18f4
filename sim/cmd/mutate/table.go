package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// table is the result of a draw.
type table struct {
	places   int // to draw from
	seed     uint64
	reasons  map[string]string // judgements
	verdicts []verdict
}

// column counts the mutations of a row by result.
type column map[string]int

// write writes the table as Markdown, as in sim/MUTATIONS.md.
func (tb *table) write(out io.Writer) {
	fmt.Fprintf(out, "%s, seed %d: %d mutations of %d places.\n", time.Now().UTC().Format(time.DateOnly), tb.seed, len(tb.verdicts), tb.places)
	tb.rows(out, "package", func(v verdict) string { return v.pkg })
	tb.rows(out, "rule", func(v verdict) string { return v.rule })
	if tb.count(byReason) > 0 {
		fmt.Fprintf(out, "\n| equivalent | because |\n|---|---|\n")
	}
	for _, v := range tb.sorted() {
		if v.by == byReason {
			fmt.Fprintf(out, "| %s | %s |\n", v.place, strings.ReplaceAll(v.reason, "|", "\\|"))
		}
	}
	if tb.count(survived) > 0 {
		fmt.Fprintf(out, "\nSurvivors:\n\n")
	}
	for _, v := range tb.sorted() {
		if v.by == survived {
			fmt.Fprintf(out, "- %s, %s\n", v.place, v.at)
		}
	}
}

// rows writes one table, with a row for each value of a key and one for all.
func (tb *table) rows(out io.Writer, title string, key func(verdict) string) {
	ways := []string{byOwn, byImporters, byScenarios, byReason, survived}
	fmt.Fprintf(out, "\n| %s | drawn | %s |\n|---|%s\n", title, strings.Join(ways, " | "), strings.Repeat("---|", len(ways)+1))
	rows, all := map[string]column{}, column{}
	for _, v := range tb.verdicts {
		if rows[key(v)] == nil {
			rows[key(v)] = column{}
		}
		rows[key(v)][v.by]++
		all[v.by]++
	}
	row := func(name string, c column) {
		sum := 0
		cells := ""
		for _, way := range ways {
			sum += c[way]
			cells += fmt.Sprintf(" %d |", c[way])
		}
		fmt.Fprintf(out, "| %s | %d |%s\n", name, sum, cells)
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		row(name, rows[name])
	}
	row("all", all)
}

func (tb *table) count(by string) (n int) {
	for _, v := range tb.verdicts {
		if v.by == by {
			n++
		}
	}
	return n
}

func (tb *table) sorted() []verdict {
	return slices.SortedFunc(slices.Values(tb.verdicts), func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.pos, b.pos))
	})
}
