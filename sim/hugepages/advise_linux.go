package hugepages

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// least is smaller than any piece by which Go's heap grows, 64 MB on most machines, and larger than most other mappings.
const least = 4 << 20

// Advise asks the kernel to keep the memory of this program in huge pages from now on, as far as it is allocated by now:
// call it again as the program grows. Without huge pages programs are slower and nothing else changes.
func Advise() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("hugepages: %w", err)
	}
	var all error
	for line := range strings.Lines(string(maps)) {
		from, to, ok := heap(line)
		if !ok {
			continue
		}
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE); e != 0 {
			all = errors.Join(all, fmt.Errorf("hugepages: %x-%x: %w", from, to, e))
		}
	}
	return all
}

// heap parses a line of /proc/self/maps (proc_pid_maps(5)) and reports whether it may be of the heap: private, anonymous
// and large memory.
func heap(line string) (from, to uintptr, ok bool) {
	var rights, offset, device string
	var inode uint64
	if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &rights, &offset, &device, &inode); err != nil {
		return 0, 0, false
	}
	return from, to, rights == "rw-p" && inode == 0 && to-from >= least
}
