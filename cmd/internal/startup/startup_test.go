package startup

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

// watch returns the log lines, without their times, of a start whose steps come from ask.
func watch(t *testing.T, ask func(at time.Duration) (Step, error)) string {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				a.Value = slog.DurationValue(time.Since(began).Round(time.Second))
			}
			return a
		}}))
		ctx, stop := context.WithTimeout(t.Context(), 24*time.Hour)
		defer stop()
		Watch(ctx, cli.NewScreen(&out), log, func(context.Context) (Step, error) { return ask(time.Since(began)) })
	})
	return strings.TrimSpace(out.String())
}

func TestStepsAreLoggedAsTheyEnd(t *testing.T) {
	got := watch(t, func(at time.Duration) (Step, error) {
		switch {
		case at < time.Second:
			return Network("starting", false), nil
		case at < 5*time.Second:
			return Network("online", false), nil
		}
		return Network("online", true), nil
	})
	if want := `time=1s level=INFO msg="Entered the DHT" took=1s`; got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

func TestWaitsAreLoggedMoreAndMoreRarely(t *testing.T) {
	got := watch(t, func(time.Duration) (Step, error) { return Network("offline", false), nil })
	lines := strings.Split(got, "\n")
	want := `time=10s level=WARN msg="Still starting" step="entering the DHT" waited=10s hint="no DHT node answers; is UDP blocked, or are the nodes of --dht.bootstrap down?"`
	if lines[0] != want {
		t.Errorf("logged\n%s\nwant\n%s", lines[0], want)
	}
	if len(lines) != 14 || !strings.HasPrefix(lines[13], "time=22h45m20s ") {
		t.Errorf("%d lines in a day:\n%s", len(lines), got)
	}
}

func TestWatchEndsWithTheProgram(t *testing.T) {
	if got := watch(t, func(time.Duration) (Step, error) { return Step{Doing: "x"}, errors.New("closed") }); got != "" {
		t.Errorf("logged %s", got)
	}
}
