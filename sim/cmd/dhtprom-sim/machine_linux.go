package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// usualWidth is that of a terminal that does not say.
const usualWidth = 80

// terminalWidth is how many characters a line may have.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return usualWidth
	}
	return int(size.Col)
}

// maxResident is the most memory that this program ever had, in bytes.
func maxResident() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return int64(u.Maxrss) << 10
}
