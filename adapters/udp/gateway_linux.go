package udp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// defaultRoutes lists the routes of the main table, which is in the order of its metrics.
func defaultRoutes() []defaultRoute {
	b, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil // without it no router is known
	}
	return parseRoutes(string(b))
}

// parseRoutes parses the kernel's table of IPv4 routes: name, destination and gateway, the addresses in the byte order of the machine.
func parseRoutes(table string) []defaultRoute {
	var list []defaultRoute
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		word, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil || word == 0 { // a route without a router
			continue
		}
		var ip [4]byte
		binary.NativeEndian.PutUint32(ip[:], uint32(word))
		list = append(list, defaultRoute{name: f[0], router: netip.AddrFrom4(ip)})
	}
	return list
}
