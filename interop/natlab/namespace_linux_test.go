package natlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/interop/netns"
)

// namespace is a network namespace by its name in netns.Dir.
type namespace string

// do is netns.Do for an existing namespace of the laboratory.
func (n namespace) do(f func()) {
	if err := netns.Do(string(n), f); err != nil {
		panic(err)
	}
}

// run runs a program in the namespace, with input.
func (n namespace) run(input string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var out []byte
	var err error
	n.do(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		return fmt.Errorf("%s in %s: %w\n%s%s", strings.Join(args, " "), n, err, input, out)
	}
	return nil
}

// ip runs commands of ip in the namespace, one a line.
func (n namespace) ip(lines string) error {
	return n.run(strings.TrimSpace(lines)+"\n", "ip", "-batch", "-")
}

// client returns an HTTP client that is in the namespace.
func (n namespace) client() *http.Client {
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			n.do(func() { c, err = dialer.DialContext(ctx, network, addr) })
			return c, err
		},
	}}
}

// flush makes the namespace forget its connections and with them its NAT mappings, as a reboot does.
func (n namespace) flush() error { return netns.FlushSessions(string(n)) }

// family is the prefix of the namespaces of all laboratories; the process id of the owner follows.
const family = "natlab"

// sweep kills the processes in the namespaces with a prefix and removes them.
func sweep(prefix string) error {
	entries, err := os.ReadDir(netns.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	failures := []error{err}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		pids, err := exec.Command("ip", "netns", "pids", e.Name()).Output()
		if gone(e.Name()) {
			continue
		}
		failures = append(failures, err)
		for _, text := range strings.Fields(string(pids)) {
			pid, err := strconv.Atoi(text)
			if err != nil || pid == os.Getpid() {
				continue
			}
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				failures = append(failures, err)
			}
		}
		if out, err := exec.Command("ip", "netns", "del", e.Name()).CombinedOutput(); err != nil && !gone(e.Name()) {
			failures = append(failures, fmt.Errorf("namespace %s stays behind: %w\n%s", e.Name(), err, out))
		}
	}
	return errors.Join(failures...)
}

// gone reports whether a namespace has been removed: two may sweep at a time.
func gone(name string) bool {
	_, err := os.Stat(filepath.Join(netns.Dir, name))
	return errors.Is(err, os.ErrNotExist)
}

// sweepOrphans removes namespaces of dead processes.
func sweepOrphans() error {
	entries, err := os.ReadDir(netns.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	failures := []error{err}
	dead := map[string]bool{}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), family)
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if !ours || err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		dead[family+owner+"-"] = true
	}
	for prefix := range dead {
		failures = append(failures, sweep(prefix))
	}
	return errors.Join(failures...)
}

// guard starts a process that sweeps a prefix when this one has ended. stop makes it do so now, and waits.
func guard(prefix string) (stop func() error, err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=guard", argsVariable+"="+prefix)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // it outlives an interrupt from the keyboard
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Minute
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		in.Close()
		return cmd.Wait()
	}, nil
}
