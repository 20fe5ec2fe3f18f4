package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Command describes a program to start.
type Command struct {
	Path string   // a program of this module by its name, any other as in exec.Command
	Args []string //
	Env  []string // added to the test's own; for values that must not be visible in the list of processes
	Dir  string   // a new temporary folder if empty
	// Stdin is the program's input; nil is none.
	Stdin io.Reader
}

// Process is a running program with its output.
type Process struct {
	Dir string // its working directory

	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has exited, and all of its output was read

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed when there is another line
	asked   bool          // to stop, by Stop or Kill
	told    bool          // what it printed is the caller's
}

// Start runs a program until the test ends. If it exits by itself, the test fails, unless Wait was called.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	if slices.Contains(names, c.Path) {
		c.Path = filepath.Join(Programs(t), c.Path)
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	p := &Process{
		Dir: c.Dir, t: t, cmd: exec.Command(c.Path, c.Args...), ended: make(chan struct{}), changed: make(chan struct{}),
	}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdin = c.Dir, append(os.Environ(), c.Env...), c.Stdin
	lead(p.cmd) // a shell's children end with it
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	err = p.cmd.Start()
	_ = in.Close() // the child has its own
	if err != nil {
		t.Fatal(err)
	}
	go p.read(out)
	t.Cleanup(p.cleanup)
	return p
}

func (p *Process) read(out io.ReadCloser) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		p.take(lines.Text())
	}
	if err := lines.Err(); err != nil {
		p.take(fmt.Sprintf("reading the output: %v", err))
	}
	_ = out.Close()
	_ = p.cmd.Wait() // the exit status is in ProcessState
	close(p.ended)
}

func (p *Process) take(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.changed)
	p.changed = make(chan struct{})
}

// Pid is the process's number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output returns the output of the process so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Await waits for a line that matches, from the start of the output on, and returns its groups.
func (p *Process) Await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(Patience)
	for seen := 0; ; {
		p.mu.Lock()
		fresh, changed := p.lines[seen:], p.changed
		p.mu.Unlock()
		for _, line := range fresh {
			if groups := re.FindStringSubmatch(line); groups != nil {
				return groups
			}
		}
		if seen += len(fresh); len(fresh) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-p.ended:
			p.t.Fatalf("%s ended before it printed %s", p, pattern)
		case <-late:
			p.t.Fatalf("%s did not print %s within %v", p, pattern, Patience)
		}
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%s: %v", p, err)
	}
}

// Stop asks the process to stop and waits until it has exited. An exit code other than 0 fails the test.
func (p *Process) Stop() {
	p.t.Helper()
	p.asks()
	p.Signal(syscall.SIGTERM)
	if code := p.await(stopTimeout); code != 0 {
		p.t.Errorf("%s ended with code %d", p, code)
	}
}

// Wait waits until the process exits by itself and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	p.asks()
	return p.await(Patience)
}

// Kill ends the process at once, as a crash does, and waits until it has exited.
func (p *Process) Kill() {
	p.asks()
	_ = kill(p.cmd) // it may have exited by itself
	<-p.ended
}

func (p *Process) asks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = true
}

func (p *Process) await(within time.Duration) (code int) {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.t.Fatalf("%s did not end within %v", p, within)
		return -1
	}
}

func (p *Process) cleanup() {
	died := false
	select {
	case <-p.ended:
		died = !p.asked
	default:
	}
	p.Kill()
	if died {
		p.t.Errorf("%s ended by itself: %v", p, p.cmd.ProcessState)
	}
	if p.t.Failed() && !p.told {
		lines := strings.Split(p.Output(), "\n")
		p.t.Logf("%s printed:\n%s", p, strings.Join(lines[max(0, len(lines)-tailLines):], "\n"))
	}
}

func (p *Process) String() string { return filepath.Base(p.cmd.Path) }

// Run runs a program to its end and returns its output. An exit code other than 0 fails the test.
func Run(t testing.TB, c Command) string {
	t.Helper()
	p := Start(t, c)
	p.told = true
	if code := p.Wait(); code != 0 {
		t.Fatalf("%s %s ended with code %d:\n%s", p, strings.Join(c.Args, " "), code, p.Output())
	}
	return p.Output()
}
