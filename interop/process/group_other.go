//go:build !unix

package process

import "os/exec"

func lead(*exec.Cmd) {}

func kill(c *exec.Cmd) error { return c.Process.Kill() }
