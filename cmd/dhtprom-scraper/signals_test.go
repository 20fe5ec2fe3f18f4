//go:build unix

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// A hang-up asks daemons to reload. It once ended bootstrap and relay, and made demo draw another secret.
func TestEveryCommandSurvivesHangUps(t *testing.T) {
	n := newNetwork(t)
	port := freePorts(t, 1)
	for _, c := range []struct {
		args  []string
		ready string
		says  string
	}{
		{[]string{"run", "--storage.path=" + t.TempDir(), "--web.listen-address=127.0.0.1:0", "--dht.bootstrap=" + n.addr, "--dht.listen-address=127.0.0.1:0"}, accepting, `msg=Reloaded secrets=1`},
		{[]string{"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), "--nodes=1"}, `Running DHT nodes`, `Nothing to reload`},
		{[]string{"relay", "--storage.path=" + t.TempDir(), "--dht.bootstrap=" + n.addr}, `msg=Relaying`, `Nothing to reload`},
		{[]string{"demo", "--web.listen-address=127.0.0.1:0"}, scraping, `Nothing to reload`},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			p := startProcess(t, nil, c.args...)
			p.until(c.ready)
			for range 2 {
				if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				p.until(c.says)
			}
			for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
				if err := p.cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			// A hang-up while it stops, too.
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = p.cmd.Process.Signal(syscall.SIGHUP)
			<-p.done
			_ = p.cmd.Wait()
			if code := p.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(p.all(), "msg=Stopping") || strings.Contains(p.all(), "level=ERROR") {
				t.Errorf("exit code %d:\n%s", code, p.all())
			}
		})
	}
}
