package udp

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// manglesMessages reports whether this kernel is one that, in front of some network cards, sends datagrams of one size that were handed over
// as a message with wrong lengths and checksums. They arrive as losses, and nothing else shows it. The loopback interface is not affected.
//
// Ending each message with a smaller datagram avoids the fault, too, but makes the firmware of other cards fail
// (https://github.com/tailscale/tailscale/issues/20994).
func manglesMessages() bool {
	var name unix.Utsname
	return unix.Uname(&name) == nil && mangles(unix.ByteSliceToString(name.Release[:]))
}

// mangles reports whether a release of Linux is of 7.0.0 to 7.1.4.
func mangles(release string) bool {
	var version [3]int // major, minor, patch
	for i := range version {
		end := strings.IndexFunc(release, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(release)
		}
		n, err := strconv.Atoi(release[:end])
		if err != nil {
			break
		}
		version[i] = n
		if end == len(release) || release[end] != '.' {
			break
		}
		release = release[end+1:]
	}
	return version[0] == 7 && (version[1] == 0 || version[1] == 1 && version[2] < 5)
}
