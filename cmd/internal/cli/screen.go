package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Screen is an output that has, on a terminal, a last line that changes: what a program is waiting for, and since when. Written text
// appears above it. Other outputs have no such line.
type Screen struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool

	text    string // of the line; empty for none
	began   time.Time
	shown   int  // width of the line on the terminal; 0 while it is not there
	partial bool // the text above has no end of its line yet
	stop    chan struct{}
}

// NewScreen returns a screen on w.
func NewScreen(w io.Writer) *Screen { return &Screen{w: w, terminal: IsTerminal(w)} }

// IsTerminal reports whether an output is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Terminal reports whether the screen has a line that changes.
func (s *Screen) Terminal() bool { return s != nil && s.terminal }

// Show replaces the line; an empty text removes it. The time counts from the first Show of the same text.
func (s *Screen) Show(text string) {
	if !s.Terminal() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.text {
		return
	}
	if s.stop != nil {
		close(s.stop)
		s.stop = nil
	}
	s.clear()
	s.text, s.began = text, time.Now()
	if text == "" {
		return
	}
	s.stop = make(chan struct{})
	go s.count(s.stop)
	s.draw()
}

// count redraws the line each second.
func (s *Screen) count(stop chan struct{}) {
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		select {
		case <-stop:
			return
		case <-each.C:
		}
		s.mu.Lock()
		if s.stop == stop {
			s.clear()
			s.draw()
		}
		s.mu.Unlock()
	}
}

// lineWidth bounds the line: longer ones would wrap on a usual terminal, and could not be removed.
const lineWidth = 79

// draw shows the line, unless it would continue another one.
func (s *Screen) draw() {
	if s.text == "" || s.partial {
		return
	}
	after := " ..."
	if seconds := int(time.Since(s.began).Seconds()); seconds > 0 {
		after += fmt.Sprintf(" %d s", seconds)
	}
	text := s.text
	if room := lineWidth - len(after); utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:room])
	}
	line := text + after
	s.shown = utf8.RuneCountInString(line)
	_, _ = io.WriteString(s.w, line)
}

// clear removes the line. Spaces do that on every terminal.
func (s *Screen) clear() {
	if s.shown > 0 {
		_, _ = io.WriteString(s.w, "\r"+strings.Repeat(" ", s.shown)+"\r")
	}
	s.shown = 0
}

// Write writes text above the line.
func (s *Screen) Write(b []byte) (int, error) {
	if !s.Terminal() {
		return s.w.Write(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	n, err := s.w.Write(b)
	s.partial = len(b) > 0 && !bytes.HasSuffix(b, []byte("\n"))
	s.draw()
	return n, err
}
