//go:build unix

package cli

import (
	"os"
	"syscall"
)

// survived are signals that exit a program by default and must not end this one without a goodbye: a hang-up requests a reload, a
// broken pipe means that the reader of the log has exited, the others have no meaning here.
var survived = []os.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM}
