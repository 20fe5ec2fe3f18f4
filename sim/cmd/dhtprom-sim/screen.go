package main

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/dhtprom/dhtprom/sim"
)

// screen is a terminal with a progress line. A nil one shows nothing.
type screen struct {
	out   io.Writer
	width func() int
}

// newScreen returns nil if out is not a terminal.
func newScreen(out io.Writer) *screen {
	f, ok := out.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &screen{out, func() int { return terminalWidth(f) }}
}

// clear removes the progress line.
func (s *screen) clear() {
	if s != nil {
		fmt.Fprint(s.out, "\r\033[K")
	}
}

// progress shows the progress of a run from time to time.
func (s *screen) progress(o sim.Options) func(sim.Progress) {
	began := time.Now()
	var last time.Time
	return func(p sim.Progress) {
		if time.Since(last) < 100*time.Millisecond {
			return
		}
		last = time.Now()
		line := fmt.Sprintf("%s, seed %d: %v in %v", o.Scenario, o.Seed, p.Now.Round(time.Second), time.Since(began).Round(time.Second))
		if p.Failures > 0 {
			line += fmt.Sprintf(" (%d failures)", p.Failures)
		}
		fmt.Fprintf(s.out, "\r\033[K%s", fit(line+", "+p.Doing, s.width()-1))
	}
}

// fit cuts a line to a number of characters.
func fit(line string, width int) string {
	if width < 1 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}
