package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// onTerminal returns what a terminal shows of output, with the cursor's line last.
func onTerminal(output string) string {
	lines := [][]rune{nil}
	column := 0
	for _, r := range output {
		last := len(lines) - 1
		switch r {
		case '\n':
			lines, column = append(lines, nil), 0
		case '\r':
			column = 0
		default:
			for len(lines[last]) <= column {
				lines[last] = append(lines[last], ' ')
			}
			lines[last][column] = r
			column++
		}
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

func TestScreenHasALineThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &Screen{w: &out, terminal: true}
		want := func(text string) {
			t.Helper()
			synctest.Wait()
			if got := onTerminal(out.String()); got != text {
				t.Fatalf("the terminal shows\n%s\nwant\n%s", got, text)
			}
		}
		s.Show("entering the DHT")
		want("entering the DHT ...")
		time.Sleep(12*time.Second + time.Millisecond)
		want("entering the DHT ... 12 s")
		s.Show("entering the DHT")
		want("entering the DHT ... 12 s")
		_, _ = fmt.Fprintln(s, "a log line")
		want("a log line\nentering the DHT ... 12 s")
		_, _ = fmt.Fprint(s, "half ")
		want("a log line\nhalf")
		_, _ = fmt.Fprintln(s, "a line")
		want("a log line\nhalf a line\nentering the DHT ... 12 s")
		s.Show("announcing")
		want("a log line\nhalf a line\nannouncing ...")
		s.Show(strings.Repeat("é", 200))
		want("a log line\nhalf a line\n" + strings.Repeat("é", lineWidth-4) + " ...")
		s.Show("")
		want("a log line\nhalf a line")
		time.Sleep(time.Minute)
		want("a log line\nhalf a line")
	})
}

func TestScreenOfAFileIsTheFile(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out)
	s.Show("waiting")
	_, _ = fmt.Fprintln(s, "a line")
	s.Show("")
	if out.String() != "a line\n" {
		t.Errorf("%q", out.String())
	}
	var none *Screen
	none.Show("waiting")
}
