//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

// lead makes a command the head of a group of processes.
func lead(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends a command and its group.
func kill(c *exec.Cmd) error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
