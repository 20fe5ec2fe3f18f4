//go:build unix

package cli_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

// A clean stop with 5,000 clients took longer than is promised: each part of it had a bound, and the sum had none.
func TestProgramThatDoesNotStopIsEnded(t *testing.T) {
	if os.Getenv("DHTPROM_TEST_NEVER_STOPS") != "" {
		cli.Main(func(context.Context, []string, io.Writer, io.Writer) int {
			fmt.Println("running")
			select {}
		})
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProgramThatDoesNotStopIsEnded$")
	cmd.Env = append(os.Environ(), "DHTPROM_TEST_NEVER_STOPS=1")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != cli.Failed || !strings.Contains(said.String(), "not stopped within") {
		t.Errorf("%v: %s", err, &said)
	}
}
