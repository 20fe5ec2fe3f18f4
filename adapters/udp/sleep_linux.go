package udp

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended returns the time that this machine has slept since boot, during which Go's monotonic clock is stopped.
func suspended() time.Duration {
	var boot, steady unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &steady) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - steady.Nano())
}
