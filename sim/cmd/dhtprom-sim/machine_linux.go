package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// usualWidth is the width of a terminal that does not report one.
const usualWidth = 80

// terminalWidth returns the number of characters in a line.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return usualWidth
	}
	return int(size.Col)
}

// maxResident returns the peak memory of this program, in bytes.
func maxResident() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return int64(u.Maxrss) << 10
}
