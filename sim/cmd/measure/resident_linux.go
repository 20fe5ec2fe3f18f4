package main

import (
	"os"
	"syscall"
)

// resident returns the peak memory of a process that has ended, in bytes.
func resident(p *os.ProcessState) int64 {
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		return int64(u.Maxrss) << 10
	}
	return 0
}
