//go:build unix

package tempfile

import "syscall"

// NoFollow makes os.OpenFile fail on a symbolic link.
const NoFollow = syscall.O_NOFOLLOW
