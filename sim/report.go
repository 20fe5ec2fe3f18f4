package sim

import (
	"fmt"
	"html"
	"io"
	"strings"
	"time"
)

// WriteTable writes a result for a terminal.
func WriteTable(out io.Writer, r *Result) error {
	var b strings.Builder
	state := "ok"
	if !r.OK() {
		state = fmt.Sprintf("%d FAILURES", len(r.Failures))
	}
	fmt.Fprintf(&b, "%s, seed %d: %s  (%d nodes, %d clients, %s of virtual time, hash %016x)\n",
		r.Options.Scenario, r.Options.Seed, state, r.Options.Nodes, r.Options.Clients, stamp(r.Virtual), r.Hash)
	width := 0
	for _, row := range r.Rows {
		width = max(width, len(row.Name))
	}
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, row.Name, row.Value)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "  ! %v\n", f)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

const pageHead = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>dhtprom: simulated runs</title>
<style>
:root { color-scheme: light dark; --ink: light-dark(#1c2024, #e8eaed); --dim: light-dark(#60646c, #9aa0a6); --line: light-dark(#dfe2e6, #3c4043); --band: light-dark(#f3f5f8, #202327); --good: light-dark(#3568c8, #8ab4f8); --other: light-dark(#0e8a7d, #5bc8bb); --idle: light-dark(#b4bbc6, #5f6670); --bad: light-dark(#c62a2f, #f28b82); --warn: light-dark(#d9822b, #f5b971) }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: light-dark(#fff, #17191c); max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem } p { margin: .3rem 0; color: var(--dim) }
table { border-collapse: collapse; width: 100%; font-size: .9rem } td { border-top: 1px solid var(--line); padding: .25rem .8rem .25rem 0; vertical-align: top } td:first-child { color: var(--dim); min-width: 12rem }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0 } figure { margin: 0 } figure.wide { width: 100% } figure.half { width: calc(50% - .5rem); min-width: 20rem; flex-grow: 1; max-width: 34rem } svg { display: block; width: 100% }
figcaption { font-size: .85rem; color: var(--dim); margin-bottom: .2rem } figcaption b { color: var(--ink); font-weight: 600 }
.key { display: inline-block; width: .7em; height: .7em; margin: 0 .35em 0 .9em; border-radius: 2px; background: currentColor } .key.good { color: var(--good) } .key.other { color: var(--other) } .key.idle { color: var(--idle) } .key.bad { color: var(--bad) } .key.warn { color: var(--warn) } .key.outline, .key.bound { height: 2px; vertical-align: middle; color: var(--ink) } .key.bound { color: var(--bad) }
svg text { font: 10.5px system-ui, sans-serif; fill: var(--dim) } svg .mid { text-anchor: middle } svg .end { text-anchor: end } svg .number { font-size: 9px }
svg .good { fill: var(--good) } svg .other { fill: var(--other) } svg .idle { fill: var(--idle) } svg rect.bad, svg .dot.bad { fill: var(--bad) } svg .warn { fill: var(--warn) } svg .dot { fill-opacity: .65 }
svg .curve { fill: none; stroke: var(--good); stroke-width: 2 } svg polyline.outline { fill: none; stroke: var(--ink); stroke-width: 1 } svg .axis { stroke: var(--line) } svg .tick { stroke: var(--dim) } svg .bound { stroke: var(--bad); stroke-width: 2 } svg .band { fill: none; pointer-events: all } svg .band.odd { fill: var(--band) }
.phases { font-size: .85rem; color: var(--dim); margin: .2rem 0; padding-left: 2.2rem; columns: 2; column-gap: 2.5rem } .phases time { font-variant-numeric: tabular-nums; margin-right: .6em } summary { cursor: pointer; color: var(--dim); font-size: .85rem }
.bad { color: var(--bad) } code { font-size: .85rem; word-break: break-all } details pre { font-size: .75rem; overflow: auto; max-height: 40rem; border: 1px solid var(--line); padding: .5rem }
</style>
<h1>dhtprom: simulated runs</h1>
`

// WritePage writes results as one self-contained HTML page.
func WritePage(out io.Writer, results []*Result) error {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, r := range results {
		r.section(&b)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// pageTranscript bounds the transcript of one run on a page, in bytes.
const pageTranscript = 256 << 10

func (r *Result) section(b *strings.Builder) {
	state := `ok`
	if !r.OK() {
		state = fmt.Sprintf(`<span class="bad">%d failures</span>`, len(r.Failures))
	}
	fmt.Fprintf(b, "<section><h2>%s, seed %d: %s</h2>\n", html.EscapeString(r.Options.Scenario), r.Options.Seed, state)
	if s := Find(r.Options.Scenario); s != nil {
		fmt.Fprintf(b, "<p>%s</p>\n", html.EscapeString(s.About))
	}
	fmt.Fprintf(b, "<p>%d nodes, %d clients, %s of virtual time, hash %016x<br><code>%s</code></p>\n",
		r.Options.Nodes, r.Options.Clients, stamp(r.Virtual), r.Hash, html.EscapeString(r.Options.Command()))
	for _, f := range r.Failures {
		fmt.Fprintf(b, "<p class=\"bad\">%s</p>\n", html.EscapeString(f.String()))
	}
	b.WriteString("<div class=\"plots\">\n")
	if r.chronicle != nil {
		r.overTime(b)
	}
	r.healings(b)
	for _, p := range r.Plots {
		if len(p.Points) > 0 {
			p.draw(b)
		}
	}
	b.WriteString("</div>\n")
	r.story(b)
	b.WriteString("<table>\n")
	for _, row := range r.Rows {
		fmt.Fprintf(b, "<tr><td>%s<td>%s\n", html.EscapeString(row.Name), html.EscapeString(row.Value))
	}
	b.WriteString("</table>\n")
	if text := r.Transcript; text != "" {
		more := ""
		if len(text) > pageTranscript {
			text, more = text[:pageTranscript], "…\n"
		}
		fmt.Fprintf(b, "<details><summary>transcript</summary><pre>%s%s</pre></details>\n", html.EscapeString(text), more)
	}
	b.WriteString("</section>\n")
}

// overTime draws the plots of every run: scrapes, punches and lookups over virtual time, with the phases of the scenario.
func (r *Result) overTime(b *strings.Builder) {
	c := r.chronicle
	// All plots have the same intervals, few enough to be readable.
	const most = 120
	width := time.Second
	for width*most < r.Virtual {
		width *= 2
	}
	for _, t := range c.counts {
		width = max(width, t.width)
	}
	row := func(what, name, class string) series { return series{name, class, c.counts[what].by(width)} }
	r.counted(b, "Scrapes", []series{
		row(scrapedOK, "ok", "good"), row(scrapedFailed, "failed", "bad"),
		row(polledOK, "polled until it worked: ok", "other"), row(polledFailed, "not yet", "idle"),
	}, nil, width)
	r.lasted(b, "Time of a scrape", "ok", "failed", c.scrapes)
	started := row(punchStarted, "started", "outline")
	r.counted(b, "Punches", []series{
		row(punchWon, "won", "good"), row(punchWonRandom, "won by guessing ports", "other"),
		row(punchLost, "lost", "bad"), row(punchLostRandm, "lost guessing ports", "warn"),
	}, &started, width)
	r.counted(b, "Lookups", []series{row(lookupFound, "found", "good"), row(lookupFailed, "failed", "bad")}, nil, width)
	r.lasted(b, "Time of a lookup", "found", "failed", c.lookups)
}

// story lists the phases with their numbers in the plots.
func (r *Result) story(b *strings.Builder) {
	if r.chronicle == nil || len(r.chronicle.phases) == 0 {
		return
	}
	fmt.Fprintf(b, "<details open><summary>the %d phases of the story</summary><ol class=\"phases\">\n", len(r.chronicle.phases))
	for _, p := range r.chronicle.phases {
		fmt.Fprintf(b, "<li><time>%s</time>%s\n", stamp(p.From), html.EscapeString(p.What))
	}
	b.WriteString("</ol></details>\n")
}
