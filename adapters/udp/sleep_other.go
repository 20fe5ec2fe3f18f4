//go:build !linux

package udp

import "time"

// suspended is nothing where the steady clock goes on while the machine sleeps, as on Windows; elsewhere a
// sleep goes unnoticed until the network says so.
func suspended() time.Duration { return 0 }
