//go:build unix

package cli

import (
	"os"
	"syscall"
)

// survived are the signals that end a program by default and must not end ours without a goodbye: a hang-up asks to
// reload, a broken pipe is the end of whatever read the log, the others mean nothing here.
var survived = []os.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM}
