//go:build !unix

package cli

import (
	"os"
	"syscall"
)

// survived are signals that exit a program by default and must not end this one without a goodbye.
var survived = []os.Signal{syscall.SIGHUP}
