//go:build solaris || aix || (!unix && !windows)

package keyfile

import "os"

// tryLock does nothing on systems without flock.
func tryLock(*os.File) error { return nil }
