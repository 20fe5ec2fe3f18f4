package sim

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"
)

// Plot is an additional plot of a scenario in a report.
type Plot struct {
	Title, X, Y string
	Bars        bool // instead of a line
	Labels      []string
	Points      []Point
}

// Point is one value. For bars, X is the index of its label.
type Point struct{ X, Y float64 }

// timeline is a plot of counts by second.
func timeline(title string, seconds []int) Plot {
	p := Plot{Title: title, X: "seconds", Y: "count"}
	for i, n := range seconds {
		p.Points = append(p.Points, Point{float64(i), float64(n)})
	}
	return p
}

// histogram is a plot of durations.
func histogram(title string, all []time.Duration) Plot {
	p := Plot{Title: title, X: "time", Y: "count", Bars: true}
	if len(all) == 0 {
		return p
	}
	most := quantile(all, 1)
	const bars = 20
	width := max(most/bars+1, time.Millisecond)
	counts := make([]int, bars)
	for _, d := range all {
		counts[min(int(d/width), bars-1)]++
	}
	for i, n := range counts {
		p.Labels = append(p.Labels, (width * time.Duration(i)).Round(time.Millisecond).String())
		p.Points = append(p.Points, Point{float64(i), float64(n)})
	}
	return p
}

// canvas is a drawing area with margins, in pixels.
type canvas struct {
	b                        *strings.Builder
	width, height            float64
	left, right, top, bottom float64 // of the area inside the margins
}

// begin opens a figure; caption is HTML.
func begin(b *strings.Builder, class, title, caption string, width, height float64) *canvas {
	fmt.Fprintf(b, "<figure class=\"%s\"><figcaption>%s</figcaption><svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n",
		class, caption, width, height, html.EscapeString(title))
	return &canvas{b: b, width: width, height: height, left: 62, right: width - 12, top: 8, bottom: height - 36}
}

func (c *canvas) end() { c.b.WriteString("</svg></figure>\n") }

func (c *canvas) text(class string, x, y float64, text string) {
	fmt.Fprintf(c.b, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", class, x, y, html.EscapeString(text))
}

func (c *canvas) rect(class string, x, y, width, height float64, title string) {
	fmt.Fprintf(c.b, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s</title></rect>\n",
		class, x, y, width, height, html.EscapeString(title))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(c.b, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2)
}

// names labels the axes.
func (c *canvas) names(x, y string) {
	c.text("mid", (c.left+c.right)/2, c.height-5, x)
	at := (c.top + c.bottom) / 2
	fmt.Fprintf(c.b, "<text class=\"mid\" x=\"12\" y=\"%.1f\" transform=\"rotate(-90 12 %.1f)\">%s</text>\n", at, at, html.EscapeString(y))
}

// scale maps values to places between two ends.
type scale struct {
	low, high float64
	from, to  float64 // pixels
	log       bool
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log10(max(v, low)), math.Log10(low), math.Log10(high)
	}
	if high <= low {
		high = low + 1
	}
	return s.from + (min(max(v, low), high)-low)/(high-low)*(s.to-s.from)
}

// niceStep is the smallest of 1, 2 and 5 times a power of ten that needs at most so many steps. For counts it is 1 at
// least.
func niceStep(most float64, steps int, n numbers) float64 {
	if most <= 0 || math.IsInf(most, 0) || math.IsNaN(most) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/float64(steps))))
	if n == whole {
		power = max(power, 1)
	}
	for _, f := range []float64{1, 2, 5, 10} {
		if f*power*float64(steps) >= most {
			return f * power
		}
	}
	return 10 * power
}

// numbers is the kind of numbers that an axis is divided by.
type numbers bool

const (
	whole numbers = true
	_     numbers = false // any
)

// counts draws a vertical axis from zero and returns its scale.
func (c *canvas) counts(most float64, by numbers) scale {
	const steps = 4
	step := niceStep(most, steps, by)
	n := max(int(math.Ceil(most/step)), 1)
	y := scale{0, float64(n) * step, c.bottom, c.top, false}
	for i := range n + 1 {
		v := float64(i) * step
		c.line("axis", c.left, y.at(v), c.right, y.at(v))
		c.text("end", c.left-6, y.at(v)+3, fmt.Sprintf("%.4g", v))
	}
	return y
}

// durations draws a logarithmic vertical axis and returns its scale, in seconds.
func (c *canvas) durations(least, most time.Duration) scale {
	low, high := decades(least, most)
	y := scale{low, high, c.bottom, c.top, true}
	for v := low; v <= high*1.01; v *= 10 {
		c.line("axis", c.left, y.at(v), c.right, y.at(v))
		c.text("end", c.left-6, y.at(v)+3, seconds(v))
	}
	return y
}

// decades are powers of ten seconds around durations.
func decades(least, most time.Duration) (low, high float64) {
	low = math.Pow(10, math.Floor(math.Log10(max(least, time.Millisecond).Seconds())+1e-9))
	high = math.Pow(10, math.Ceil(math.Log10(max(most, 2*time.Millisecond).Seconds())-1e-9))
	return low, max(high, 10*low)
}

// seconds names a duration on an axis.
func seconds(v float64) string {
	if v < 0.9 {
		return fmt.Sprintf("%.4g ms", 1000*v)
	}
	return fmt.Sprintf("%.4g s", v)
}

// clockSteps are the distances that ticks of virtual time may have.
var clockSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// clock draws a horizontal axis of virtual time and returns its scale, in seconds.
func (c *canvas) clock(until time.Duration) scale {
	x := scale{0, max(until, time.Second).Seconds(), c.left, c.right, false}
	const most = 10
	step := clockSteps[len(clockSteps)-1]
	for _, s := range clockSteps {
		if until/s < most {
			step = s
			break
		}
	}
	for until/step >= most {
		step *= 2
	}
	for at := time.Duration(0); at <= until; at += step {
		c.line("tick", x.at(at.Seconds()), c.bottom, x.at(at.Seconds()), c.bottom+4)
		h, m, s := int(at.Hours()), int(at.Minutes())%60, int(at.Seconds())%60
		text := fmt.Sprintf("%d:%02d:%02d", h, m, s)
		if until < time.Hour {
			text = fmt.Sprintf("%d:%02d", m, s)
		}
		c.text("mid", x.at(at.Seconds()), c.bottom+15, text)
	}
	return x
}

// series is a row of counts of a timeline, by interval.
type series struct {
	name, class string
	counts      []int
}

func (s series) total() (n int) {
	for _, c := range s.counts {
		n += c
	}
	return n
}

// bands draws the phases of a story, and their numbers where there is room.
func (c *canvas) bands(x scale, phases []Phase, until time.Duration) {
	taken := 0.0 // by the last number
	seen := 0
	for i, p := range phases {
		end := until
		if i+1 < len(phases) {
			end = phases[i+1].From
		}
		from, to := x.at(p.From.Seconds()), x.at(end.Seconds())
		if to-from < 0.5 {
			continue
		}
		seen++
		c.rect([]string{"band odd", "band"}[seen%2], from, c.top, to-from, c.bottom-c.top, fmt.Sprintf("%d %s  %s", i+1, stamp(p.From), p.What))
		number := fmt.Sprint(i + 1)
		if width := float64(6*len(number) + 2); to-from >= width && from >= taken {
			c.text("number", from+2, c.top+9, number)
			taken = from + width
		}
	}
}

// A plot over time is as wide as the page.
const timeWidth, timeHeight = 1040.0, 168.0

// counted draws counts by interval over virtual time, one upon the other, with an outline above them.
func (r *Result) counted(b *strings.Builder, title string, stack []series, outline *series, width time.Duration) {
	sum, most := 0, 0
	var high []int
	for _, s := range stack {
		sum += s.total()
		for i, n := range s.counts {
			for len(high) <= i {
				high = append(high, 0)
			}
			high[i] += n
			most = max(most, high[i])
		}
	}
	caption := "<b>" + html.EscapeString(title) + "</b>"
	for _, s := range stack {
		if s.total() > 0 {
			caption += fmt.Sprintf(" <i class=\"key %s\"></i>%s %d", s.class, html.EscapeString(s.name), s.total())
		}
	}
	if outline != nil {
		sum += outline.total()
		most = max(most, slices.Max(append(outline.counts, 0)))
		caption += fmt.Sprintf(" <i class=\"key outline\"></i>%s %d", html.EscapeString(outline.name), outline.total())
	}
	if sum == 0 {
		return
	}
	c := begin(b, "wide", title, caption, timeWidth, timeHeight)
	x := scale{0, max(r.Virtual, time.Second).Seconds(), c.left, c.right, false}
	c.bands(x, r.chronicle.phases, r.Virtual)
	y := c.counts(float64(most), whole)
	x = c.clock(r.Virtual)
	base := make([]int, len(high))
	for _, s := range stack {
		for i, n := range s.counts {
			if n == 0 {
				continue
			}
			from := width * time.Duration(i)
			left, right := x.at(from.Seconds()), x.at((from + width).Seconds())
			c.rect(s.class, left, y.at(float64(base[i]+n)), max(right-left-0.5, 0.5), y.at(float64(base[i]))-y.at(float64(base[i]+n)),
				fmt.Sprintf("%s: %d %s", stamp(from), n, s.name))
			base[i] += n
		}
	}
	if outline != nil {
		c.b.WriteString("<polyline class=\"outline\" points=\"")
		for i := range int(r.Virtual/width) + 1 {
			n := 0.0
			if i < len(outline.counts) {
				n = float64(outline.counts[i])
			}
			from := width * time.Duration(i)
			fmt.Fprintf(c.b, "%.1f,%.1f %.1f,%.1f ", x.at(from.Seconds()), y.at(n), x.at((from + width).Seconds()), y.at(n))
		}
		c.b.WriteString("\"/>\n")
	}
	c.names("virtual time", fmt.Sprintf("per %s", short(width)))
	c.end()
}

// short names a duration without the parts that are zero: 2m, not 2m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// lasted plots the durations of operations, by the time of their ends.
func (r *Result) lasted(b *strings.Builder, title, good, bad string, d dots) {
	if len(d.all) == 0 {
		return
	}
	least, most := d.all[0].took, d.all[0].took
	for _, one := range d.all {
		least, most = min(least, one.took), max(most, one.took)
	}
	c := begin(b, "wide", title, fmt.Sprintf("<b>%s</b> <i class=\"key good\"></i>%s <i class=\"key bad\"></i>%s",
		html.EscapeString(title), html.EscapeString(good), html.EscapeString(bad)), timeWidth, timeHeight)
	x := scale{0, max(r.Virtual, time.Second).Seconds(), c.left, c.right, false}
	c.bands(x, r.chronicle.phases, r.Virtual)
	y := c.durations(least, most)
	x = c.clock(r.Virtual)
	for _, one := range d.all {
		class := "dot good"
		if one.failed {
			class = "dot bad"
		}
		fmt.Fprintf(c.b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>", class, x.at(one.at.Seconds()), y.at(one.took.Seconds()))
	}
	c.b.WriteString("\n")
	c.names("virtual time", "it took")
	c.end()
}

// healings plots the time in which each client came back, a row for each healing, with its bound.
func (r *Result) healings(b *strings.Builder) {
	if len(r.Healings) == 0 {
		return
	}
	const row = 20.0
	least, most := time.Second, time.Second
	for _, h := range r.Healings {
		most = max(most, h.Within)
		for _, d := range h.Took {
			least, most = min(least, d), max(most, d)
		}
	}
	c := begin(b, "wide", "Time to heal", "<b>Time to heal</b>, of each client until it was scraped again "+
		"<i class=\"key idle\"></i>at once <i class=\"key good\"></i>later <i class=\"key bad\"></i>not within the bound <i class=\"key bound\"></i>the bound",
		timeWidth, row*float64(len(r.Healings))+54)
	c.left, c.right = 330, timeWidth-110
	low, high := decades(least, most)
	x := scale{low, high, c.left, c.right, true}
	for v := low; v <= high*1.01; v *= 10 {
		c.line("axis", x.at(v), c.top, x.at(v), c.bottom)
		c.text("mid", x.at(v), c.bottom+15, seconds(v))
	}
	for i, h := range r.Healings {
		y := c.top + row*(float64(i)+0.5)
		c.text("end", c.left-8, y+3, h.After)
		c.line("axis", c.left, y, c.right, y)
		c.line("bound", x.at(h.Within.Seconds()), y-row/2+2, x.at(h.Within.Seconds()), y+row/2-2)
		for _, d := range h.Took {
			class := "dot idle"
			if d > atOnce {
				class = "dot good"
			}
			fmt.Fprintf(c.b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>%v</title></circle>", class, x.at(d.Seconds()), y, d.Round(time.Millisecond))
		}
		for n := range h.Failed {
			fmt.Fprintf(c.b, "<circle class=\"dot bad\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>", x.at(h.Within.Seconds())+6+3*float64(n%8), y)
		}
		most := "none"
		if len(h.Took) > 0 {
			most = "most " + quantile(h.Took, 1).Round(10*time.Millisecond).String()
		}
		c.text("start", c.right+8, y+3, most)
	}
	c.text("mid", (c.left+c.right)/2, c.height-5, "seconds of virtual time, logarithmic")
	c.end()
}

// A scenario's own plots stand beside each other.
const plotWidth, plotHeight, plotLabelsMost = 500.0, 220.0, 8

// draw writes a plot as inline SVG.
func (p Plot) draw(b *strings.Builder) {
	low, high, most, by := p.Points[0].X, p.Points[0].X, 0.0, whole
	for _, pt := range p.Points {
		low, high, most = min(low, pt.X), max(high, pt.X), max(most, pt.Y)
		by = by && numbers(pt.Y == math.Trunc(pt.Y))
	}
	if p.Bars {
		low, high = low-0.5, high+0.5
	}
	c := begin(b, "half", p.Title, "<b>"+html.EscapeString(p.Title)+"</b>", plotWidth, plotHeight)
	y := c.counts(most, by)
	x := scale{low, high, c.left, c.right, false}
	if high == low {
		x.low, x.high = low-0.5, high+0.5
	}
	if p.Bars {
		width := (c.right - c.left) / (high - low) * 0.8
		for _, pt := range p.Points {
			c.rect("good", x.at(pt.X)-width/2, y.at(pt.Y), width, y.at(0)-y.at(pt.Y), fmt.Sprintf("%s: %g", p.label(pt.X), pt.Y))
		}
	} else {
		b.WriteString("<polyline class=\"curve\" points=\"")
		for _, pt := range p.Points {
			fmt.Fprintf(b, "%.1f,%.1f ", x.at(pt.X), y.at(pt.Y))
		}
		b.WriteString("\"/>\n")
	}
	for _, at := range p.ticks() {
		c.text("mid", x.at(at), c.bottom+15, p.label(at))
	}
	c.names(p.X, p.Y)
	c.end()
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
