package sim

import (
	"fmt"
	"html"
	"io"
	"strings"
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
:root { color-scheme: light dark; --ink: light-dark(#1c2024, #e8eaed); --dim: light-dark(#60646c, #9aa0a6); --line: light-dark(#d9dce0, #3c4043); --mark: light-dark(#3568c8, #8ab4f8); --bad: light-dark(#c62a2f, #f28b82); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: light-dark(#fff, #17191c); max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem } p { margin: .3rem 0; color: var(--dim) }
table { border-collapse: collapse; width: 100%; font-size: .9rem } td { border-top: 1px solid var(--line); padding: .25rem .8rem .25rem 0; vertical-align: top } td:first-child { white-space: nowrap; color: var(--dim) }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0 } figure { margin: 0 } figcaption { font-size: .85rem; color: var(--dim) }
svg text { font: 10px system-ui, sans-serif; fill: var(--dim) } svg .bar { fill: var(--mark) } svg .curve { fill: none; stroke: var(--mark); stroke-width: 2 } svg .axis { stroke: var(--line) }
.bad { color: var(--bad) } code { font-size: .85rem; word-break: break-all } details pre { font-size: .75rem; overflow: auto; max-height: 40rem; border: 1px solid var(--line); padding: .5rem }
</style>
<h1>dhtprom: simulated runs</h1>
`

// WritePage writes results as one HTML page that needs nothing else.
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
	for _, p := range r.Plots {
		if len(p.Points) > 0 {
			p.draw(b)
		}
	}
	b.WriteString("</div>\n<table>\n")
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

// The canvas of a plot, in pixels, and its margins.
const (
	plotWidth, plotHeight     = 480.0, 220.0
	plotLeft, plotRight       = 52.0, 12.0
	plotTop, plotBottom       = 10.0, 34.0
	plotTicks, plotLabelsMost = 4, 8
)

// draw writes a plot as inline SVG.
func (p Plot) draw(b *strings.Builder) {
	low, high, most := p.Points[0].X, p.Points[0].X, 0.0
	for _, pt := range p.Points {
		low, high, most = min(low, pt.X), max(high, pt.X), max(most, pt.Y)
	}
	if p.Bars {
		low, high = low-0.5, high+0.5
	}
	if high == low {
		high = low + 1
	}
	if most == 0 {
		most = 1
	}
	x := func(v float64) float64 { return plotLeft + (v-low)/(high-low)*(plotWidth-plotLeft-plotRight) }
	y := func(v float64) float64 { return plotHeight - plotBottom - v/most*(plotHeight-plotTop-plotBottom) }

	fmt.Fprintf(b, "<figure><svg width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n",
		plotWidth, plotHeight, plotWidth, plotHeight, html.EscapeString(p.Title))
	for i := range plotTicks + 1 {
		v := most * float64(i) / plotTicks
		fmt.Fprintf(b, "<line class=\"axis\" x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\"/><text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
			plotLeft, y(v), plotWidth-plotRight, y(v), plotLeft-6, y(v)+3, v)
	}
	if p.Bars {
		width := (plotWidth - plotLeft - plotRight) / (high - low) * 0.8
		for _, pt := range p.Points {
			fmt.Fprintf(b, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s</title></rect>\n",
				x(pt.X)-width/2, y(pt.Y), width, y(0)-y(pt.Y), html.EscapeString(fmt.Sprintf("%s: %g", p.label(pt.X), pt.Y)))
		}
	} else {
		b.WriteString("<polyline class=\"curve\" points=\"")
		for _, pt := range p.Points {
			fmt.Fprintf(b, "%.1f,%.1f ", x(pt.X), y(pt.Y))
		}
		b.WriteString("\"/>\n")
	}
	for _, pt := range p.ticks() {
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x(pt), plotHeight-plotBottom+14, html.EscapeString(p.label(pt)))
	}
	fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n</svg><figcaption>%s</figcaption></figure>\n",
		(plotLeft+plotWidth-plotRight)/2, plotHeight-6, html.EscapeString(p.X), html.EscapeString(p.Title))
}

// label names a place on the horizontal axis.
func (p Plot) label(x float64) string {
	if i := int(x); p.Bars && i >= 0 && i < len(p.Labels) {
		return p.Labels[i]
	}
	return fmt.Sprintf("%.4g", x)
}

// ticks are the places that have a label: few enough to be read.
func (p Plot) ticks() []float64 {
	every := (len(p.Points) + plotLabelsMost - 1) / plotLabelsMost
	var at []float64
	for i := 0; i < len(p.Points); i += max(every, 1) {
		at = append(at, p.Points[i].X)
	}
	return at
}
