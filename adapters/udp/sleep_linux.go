package udp

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended is how long this machine has slept since it was booted: Go's steady clock stands still meanwhile.
func suspended() time.Duration {
	var boot, steady unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &steady) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - steady.Nano())
}
