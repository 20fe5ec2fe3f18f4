package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func shell(text string) Command { return Command{Path: "sh", Args: []string{"-c", text}} }

func TestLinesAreAwaitedFromTheStart(t *testing.T) {
	p := Start(t, shell("echo one 1; echo two 2 >&2; exec sleep 60"))
	if got := p.Await(`^two (\d)`); got[1] != "2" {
		t.Errorf("got %q", got)
	}
	if got := p.Await(`^one (\d)`); got[1] != "1" {
		t.Errorf("a line that came earlier: %q", got)
	}
}

func TestProcessesEndWithTheirChildren(t *testing.T) {
	p := Start(t, shell("sleep 60 & echo $!; wait"))
	child := p.Await(`^(\d+)$`)[1]
	p.Kill()
	Until(t, "the child is gone", func() error {
		stat, err := os.ReadFile(filepath.Join("/proc", child, "stat"))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return errors.New("it lives")
		}
		return nil
	})
}

func TestStopTellsAProcessToEnd(t *testing.T) {
	p := Start(t, shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"))
	p.Await("up")
	p.Stop()
	if !strings.HasSuffix(p.Output(), "bye") {
		t.Errorf("it printed %q", p.Output())
	}
}

func TestUntilLooksAgain(t *testing.T) {
	looks := 0
	Until(t, "the third look", func() error {
		if looks++; looks < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if looks != 3 {
		t.Errorf("%d looks", looks)
	}
}

func TestRunReturnsWhatIsPrinted(t *testing.T) {
	if got := Run(t, shell("echo out; echo err >&2")); got != "out\nerr" {
		t.Errorf("got %q", got)
	}
	if code := Start(t, shell("exit 3")).Wait(); code != 3 {
		t.Errorf("code %d", code)
	}
}
