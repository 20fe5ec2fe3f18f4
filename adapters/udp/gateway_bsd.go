//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package udp

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/route"
)

// defaultRoutes lists the default routes of the kernel's table.
func defaultRoutes() []defaultRoute {
	b, err := route.FetchRIB(syscall.AF_INET, route.RIBTypeRoute, 0)
	if err != nil {
		return nil // without it no router is known
	}
	messages, err := route.ParseRIB(route.RIBTypeRoute, b)
	if err != nil {
		return nil
	}
	var list []defaultRoute
	for _, m := range messages {
		r, ok := m.(*route.RouteMessage)
		if !ok || r.Flags&syscall.RTF_GATEWAY == 0 || len(r.Addrs) <= syscall.RTAX_NETMASK {
			continue
		}
		to, ok := r.Addrs[syscall.RTAX_DST].(*route.Inet4Addr)
		if !ok || to.IP != [4]byte{} || !isDefault(r.Addrs[syscall.RTAX_NETMASK]) {
			continue
		}
		router, ok := r.Addrs[syscall.RTAX_GATEWAY].(*route.Inet4Addr)
		i, err := net.InterfaceByIndex(r.Index)
		if ok && err == nil {
			list = append(list, defaultRoute{name: i.Name, router: netip.AddrFrom4(router.IP)})
		}
	}
	return list
}

// isDefault reports whether a mask is that of all addresses.
func isDefault(mask route.Addr) bool {
	m, ok := mask.(*route.Inet4Addr)
	return mask == nil || ok && m.IP == [4]byte{}
}
