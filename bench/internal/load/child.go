package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a program that runs until it is stopped.
type Child struct {
	cmd    *exec.Cmd
	output *os.File

	in  io.WriteCloser // of StartRole
	out *bufio.Reader
}

// StartChild starts a program in a folder, with its output in a file there.
func StartChild(dir, name, program string, args ...string) (*Child, error) {
	c, err := newChild(dir, name, program, args)
	if err != nil {
		return nil, err
	}
	c.cmd.Stdout = c.output
	return c, c.start()
}

// StartRole starts a program that answers each line on its standard input by a line of JSON. Its errors are in a file of the folder.
func StartRole(dir, name, program string, args ...string) (*Child, error) {
	c, err := newChild(dir, name, program, args)
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.in, err = c.cmd.StdinPipe()
	}
	if err != nil {
		c.output.Close()
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.start()
}

func newChild(dir, name, program string, args []string) (*Child, error) {
	out, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: exec.Command(program, args...), output: out}
	c.cmd.Dir, c.cmd.Stderr = dir, out
	return c, nil
}

func (c *Child) start() error {
	err := c.cmd.Start()
	if err != nil {
		c.output.Close()
	}
	return err
}

// Ask sends a line to a role, and reads its answer.
func (c *Child) Ask(answer any, format string, args ...any) error {
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		return err
	}
	return c.Read(answer)
}

// Read reads a line of JSON of a role. If it has ended, the error quotes its output.
func (c *Child) Read(answer any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		log, _ := os.ReadFile(c.output.Name())
		return fmt.Errorf("%s ended: %w\n%s", c.cmd, err, log[max(0, len(log)-2000):])
	}
	return json.Unmarshal(line, answer)
}

// ProcessorTime returns the one that the program used so far, from Linux's clock of its process.
func (c *Child) ProcessorTime() (time.Duration, error) { return processorTime(c.cmd.Process.Pid) }

// OwnProcessorTime returns the one that this process used so far.
func OwnProcessorTime() (time.Duration, error) { return processorTime(os.Getpid()) }

func processorTime(pid int) (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid)<<3|unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	if err != nil {
		err = fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), err
}

// Resident returns the resident memory of the program, and the private part of it, which is without the pages of files such as the program
// itself, in bytes, from Linux's /proc.
func (c *Child) Resident() (all, private float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	var size, resident, shared float64 // in pages
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil {
		return 0, 0, err
	}
	page := float64(os.Getpagesize())
	return resident * page, (resident - shared) * page, nil
}

// Stop kills the program.
func (c *Child) Stop() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
	c.output.Close()
}
