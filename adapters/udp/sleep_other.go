//go:build !linux

package udp

import "time"

// suspended returns 0 where the monotonic clock runs while the machine sleeps, as on Windows, and on systems
// without a way to detect sleep, where its effects are noticed on the network only.
func suspended() time.Duration { return 0 }
