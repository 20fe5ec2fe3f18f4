package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

// terminal returns a terminal and what is shown on it.
func terminal(t *testing.T) (screen, shown *os.File) {
	t.Helper()
	shown, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shown.Close() })
	if err := unix.IoctlSetPointerInt(int(shown.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(shown.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return screen, shown
}

// Each service shows what its start waits for, and why, and ends while it waits.
func TestStartsShowWhatTheyWaitFor(t *testing.T) {
	t.Setenv("TERM", "xterm")
	closed := fmt.Sprintf("--dht.bootstrap=127.0.0.1:%d", freePorts(t, 1))
	for _, c := range []struct {
		args  []string
		shows string
	}{
		{[]string{"run", "--storage.path=" + t.TempDir(), "--web.listen-address=127.0.0.1:0", "--dht.listen-address=127.0.0.1:0", closed}, `entering the DHT: no DHT node answers; is UDP blocked`},
		{[]string{"relay", "--storage.path=" + t.TempDir(), "--dht.listen-address=127.0.0.1:0", closed}, `entering the DHT: no DHT node answers; is UDP blocked`},
		// An address that no machine has.
		{[]string{"bootstrap", "--host=192.0.2.1", fmt.Sprintf("--port=%d", freePorts(t, 2)), "--nodes=2"}, `starting DHT nodes: 1 of 2 run; the first does not answer: is --host`},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			screen, shown := terminal(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			code := make(chan int, 1)
			go func() {
				code <- start(ctx, c.args, io.Discard, screen)
				_ = screen.Close()
			}()
			var text strings.Builder
			b := make([]byte, 4096)
			for {
				n, err := shown.Read(b)
				if text.Write(b[:n]); err != nil {
					break // all is closed
				}
				if strings.Contains(text.String(), c.shows) {
					stop()
				}
			}
			if ended := <-code; ended != cli.OK || !strings.Contains(text.String(), c.shows) {
				t.Errorf("exit code %d; the terminal shows\n%s", ended, text.String())
			}
		})
	}
}
