package main

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

// The input from a terminal may never end.
func TestPipesDoNotWaitForATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	in := private(t)
	there, passphrase := listening(t, terminal, in()...)
	received := make(chan string, 1)
	go func() { received <- there.line() }()
	if got := succeeds(t, "it ends\n", in("pipe", passphrase)...); got != "" {
		t.Errorf("the terminal sent %q", got)
	}
	if got := <-received; got != "it ends" {
		t.Errorf("got %q", got)
	}
	if code := there.end(); code != cli.OK {
		t.Errorf("ended with %d: %s", code, there.errs.String())
	}
}
