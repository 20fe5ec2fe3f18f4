//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/keyfile"
)

// TestMain runs the program instead of the tests where a test starts this binary as a process.
func TestMain(m *testing.M) {
	if os.Getenv("DHTPROM_TEST_AS_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A hang-up once ended the client without a goodbye.
func TestHangUpReadsTheSecretsAgain(t *testing.T) {
	first, second := keyfile.NewSecret(), keyfile.NewSecret()
	file := secretFile(t, first.RevealText())
	cmd := exec.Command(os.Args[0], "--scraper="+domain.KeyPairFromSeed(keyfile.NewSeed()).Public.String(), "--secret-file="+file,
		"--alias=web", "--dht.bootstrap=127.0.0.1:9")
	cmd.Env = append(os.Environ(), "DHTPROM_TEST_AS_PROGRAM=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // no-op after a clean exit
	var said strings.Builder
	lines := bufio.NewScanner(out)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("ended before it said %q:\n%s", want, &said)
	}
	hangUp := func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	until("msg=")
	hangUp()
	until("changed_secrets=0")
	if err := os.WriteFile(file, []byte(second.RevealText()), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp()
	until("changed_secrets=1")
	if err := os.WriteFile(file, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp()
	until("Reloading failed, the configuration is unchanged")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("msg=Stopped")
	if err := cmd.Wait(); err != nil || strings.Contains(said.String(), "hunter2") {
		t.Errorf("%v:\n%s", err, &said)
	}
}
