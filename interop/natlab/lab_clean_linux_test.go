package natlab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCrashesLeaveNothingBehind(t *testing.T) {
	need(t)
	for _, how := range []string{guarded, "alone"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), roleVariable+"=crash", argsVariable+"="+how)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd.Stdout = w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			var sleeper int
			if _, err := fmt.Fscan(r, &sleeper); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("it ended with %v", err)
			}
			if how != guarded {
				if err := sweepOrphans(); err != nil {
					t.Fatal(err)
				}
			}
			name := fmt.Sprintf("%s%d-x", family, cmd.Process.Pid)
			if !every(10*time.Millisecond, startTimeout, func() bool { return gone(name) && dead(sleeper) }) {
				t.Errorf("namespace %s gone: %v, process %d gone: %v", name, gone(name), sleeper, dead(sleeper))
			}
		})
	}
}

// dead reports whether a process has exited, or is a zombie that its parent has not waited for.
func dead(pid int) bool {
	if unix.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestNothingLeavesTheLaboratory(t *testing.T) {
	need(t)
	l := newLab(t)
	interfaces := func(n namespace) (names []string) {
		n.do(func() {
			all, err := net.Interfaces()
			l.must(err)
			for _, i := range all {
				names = append(names, i.Name)
			}
		})
		return names
	}
	for _, name := range interfaces(l.core) {
		if name != "lo" && !strings.HasPrefix(name, "cable") && name != "sit0" {
			t.Errorf("the core has an interface %q", name)
		}
	}
	// The core rejects packets to any other address with an ICMP message.
	for _, k := range []kind{openKind, doubleKind} {
		h := l.site(strings.Fields(k.name)[0], k)
		var c net.Conn
		var err error
		h.do(func() { c, err = net.Dial("udp4", "8.8.8.8:53") })
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		l.must(c.SetReadDeadline(time.Now().Add(startTimeout)))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("%s: a machine beside the core handled a datagram to the internet: %v", k.name, err)
		}
	}
}
