//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

// lead makes a command the leader of a process group.
func lead(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill kills a command and its group.
func kill(c *exec.Cmd) error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
