//go:build !unix

package cli

import (
	"os"
	"syscall"
)

// survived are the signals that end a program by default and must not end ours without a goodbye.
var survived = []os.Signal{syscall.SIGHUP}
