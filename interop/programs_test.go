package interop_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program is one of our binaries as a process, with its log.
type program struct {
	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{}

	mu      sync.Mutex
	logged  []entry // not awaited yet, oldest first
	lines   []string
	changed chan struct{}
	killed  bool
}

// entry is a line of a program's log.
type entry map[string]any

func (e entry) text(name string) string {
	s, _ := e[name].(string)
	return s
}

// start runs one of our binaries until the test ends. The environment carries values that must not be visible in the list
// of processes.
func start(t testing.TB, name string, env []string, args ...string) *program {
	t.Helper()
	return startOf(t, ours{}.programs(t), name, env, args...)
}

// startOf is start with the binaries of a folder.
func startOf(t testing.TB, dir, name string, env []string, args ...string) *program {
	t.Helper()
	p := &program{
		t: t, cmd: exec.Command(filepath.Join(dir, name), append(args, "--log.format=json", "--log.level=debug")...),
		ended: make(chan struct{}), changed: make(chan struct{}),
	}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append(os.Environ(), env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stderr)
	t.Cleanup(p.cleanup)
	return p
}

func (p *program) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.take(lines.Text())
	}
	if err := lines.Err(); err != nil {
		p.take(fmt.Sprintf("reading the log: %v", err))
	}
	_ = p.cmd.Wait() // the exit status is in ProcessState
	close(p.ended)
}

func (p *program) take(line string) {
	var e entry
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		e = entry{"msg": line}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	p.logged = append(p.logged, e)
	close(p.changed)
	p.changed = make(chan struct{})
}

// kill ends the program at once, as a crash does, and waits until it is gone.
func (p *program) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill() // it may have exited by itself
	<-p.ended
}

// stop asks the program to end, as a service manager does, and waits until it has.
func (p *program) stop(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, p.cmd.Path+" ends", p.ended)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with code %d", p.cmd.Path, code)
	}
}

func (p *program) cleanup() {
	died := false
	select {
	case <-p.ended:
		died = !p.killed
	default:
	}
	p.kill()
	if died {
		p.t.Errorf("%s ended by itself: %v", p.cmd.Path, p.cmd.ProcessState)
	}
	if p.t.Failed() {
		p.t.Logf("%s %s logged:\n%s", filepath.Base(p.cmd.Path), p.cmd.Args[1:], p.tail())
	}
}

// tailLines is the number of lines of a log in a failed test.
const tailLines = 60

func (p *program) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines[max(0, len(p.lines)-tailLines):], "\n")
}

// await waits for a line with a message that match accepts, or any if it is nil, and removes it from the list. Earlier
// lines count; others stay.
func (p *program) await(t testing.TB, message string, match func(entry) bool) entry {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		for i, e := range p.logged {
			if e["msg"] == message && (match == nil || match(e)) {
				p.logged = append(p.logged[:i:i], p.logged[i+1:]...)
				p.mu.Unlock()
				return e
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.ended:
			t.Fatalf("waiting for %q: %s has ended", message, p.cmd.Path)
		case <-timeout.C:
			t.Fatalf("%s did not log %q within %v", p.cmd.Path, message, patience)
		}
	}
}

// count returns the number of lines that were not awaited yet, with a message that match accepts, or any if it is nil.
func (p *program) count(message string, match func(entry) bool) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.logged {
		if e["msg"] == message && (match == nil || match(e)) {
			n++
		}
	}
	return n
}

// bootstrapTestnet runs a private DHT as users do.
func bootstrapTestnet(t testing.TB) testnet {
	t.Helper()
	port := freePorts(t, testnetSize)
	p := start(t, "dhtprom-scraper", nil, "bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), fmt.Sprintf("--nodes=%d", testnetSize))
	p.await(t, "Running DHT nodes", nil)
	return testnet{bootstrap: []string{fmt.Sprintf("127.0.0.1:%d", port)}}
}

// nextPorts is the offset at which freePorts continues. It starts at random, as a run before this one may still use ports.
var nextPorts = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(rand.Int64N(portRange))
	return &n
}()

// portRange is the number of ports that freePorts selects from. Package process, whose tests run at the same time, uses
// those above.
const portRange = 5000

// freePorts returns the first of n consecutive unused UDP ports below the ephemeral ones. Tests that run in parallel get
// different ones.
func freePorts(t testing.TB, n int) int {
	t.Helper()
	const first = 15000
	for range portRange / n {
		offset := int(nextPorts.Add(int64(n))) % (portRange - n)
		if base := first + offset; portsAreFree(base, n) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func portsAreFree(base, n int) bool {
	var err error
	for port := base; port < base+n && err == nil; port++ {
		var c *net.UDPConn
		c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err == nil
}
