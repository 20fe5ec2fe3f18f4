package systemd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorded returns a service whose reports are collected.
func recorded() (*Service, *[]string) {
	var sent []string
	return &Service{log: slog.New(slog.DiscardHandler), send: func(state string) error {
		sent = append(sent, regexp.MustCompile(`\nMONOTONIC_USEC=\d+`).ReplaceAllString(state, ""))
		return nil
	}}, &sent
}

func TestStartReloadsAndStopAreReportedInOrder(t *testing.T) {
	s, sent := recorded()
	fine := func() error { return nil }
	s.Status("Entering the DHT")
	s.Reload(fine) // its end must not look like that of the start
	s.Ready()
	s.Status("Serving metrics")
	s.Reload(fine)
	s.Reload(func() error { return errors.New("no such file\nnor folder") })
	s.Reload(func() error {
		s.Stopping()
		return nil
	})
	s.Status("late")
	if want := []string{
		"STATUS=Entering the DHT", "READY=1", "STATUS=Serving metrics",
		"RELOADING=1", "READY=1\nSTATUS=Serving metrics",
		"RELOADING=1", "READY=1\nSTATUS=Reloading failed: no such file; nor folder",
		"RELOADING=1", "STOPPING=1",
	}; !slices.Equal(*sent, want) {
		t.Errorf("sent\n%q\nwant\n%q", *sent, want)
	}
}

func TestWatchdogNeedsATurnOfTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sent := recorded()
		var log bytes.Buffer
		s.watchdog, s.log = 10*time.Second, slog.New(slog.NewTextHandler(&log, nil))
		ctx, stop := context.WithTimeout(t.Context(), 59*time.Second)
		defer stop()
		began := time.Now()
		s.Watch(ctx, func(ctx context.Context) error {
			if since := time.Since(began); since >= 20*time.Second && since < 40*time.Second { // the loop hangs
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		// At 0, 5, 10, 15, 40, 45, 50 and 55 seconds.
		if len(*sent) != 8 || slices.ContainsFunc(*sent, func(state string) bool { return state != "WATCHDOG=1" }) {
			t.Errorf("sent %q", *sent)
		}
		if n := strings.Count(log.String(), "The loop does not answer"); n != 4 {
			t.Errorf("%d of 4 hangs are logged:\n%s", n, &log)
		}
	})
}

func TestServiceWithoutAWatchdogServesNone(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	New(slog.New(slog.DiscardHandler)).Watch(t.Context(), func(context.Context) error {
		t.Error("the loop is asked")
		return nil
	})
}

func TestReportsReachTheSocketOfSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "7000000")
	t.Setenv("WATCHDOG_PID", "")
	s := New(slog.New(slog.DiscardHandler))
	s.Ready()
	state := make([]byte, 100)
	if n, err := socket.Read(state); err != nil || string(state[:n]) != "READY=1" || s.watchdog != 7*time.Second {
		t.Errorf("%q, %v, a watchdog of %s", state[:n], err, s.watchdog)
	}
	var log bytes.Buffer
	t.Setenv("NOTIFY_SOCKET", path+".none")
	t.Setenv("WATCHDOG_USEC", "soon")
	s = New(slog.New(slog.NewTextHandler(&log, nil)))
	s.Ready()
	if n := strings.Count(log.String(), "level=WARN"); n != 2 {
		t.Errorf("%d warnings of 2:\n%s", n, &log)
	}
}
