package udp

import (
	"net"
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// gateway is the router as last looked up, which takes several system calls.
type gateway struct {
	router, local netip.Addr
	at            host.Instant // zero before the first
}

var _ host.Gateway = (*Host)(nil)

// Gateway implements host.Gateway. It knows no router on systems other than Linux, macOS and the BSDs.
func (h *Host) Gateway() (router, local netip.Addr, ok bool) {
	if g, now := &h.addrs.gateway, h.clock.now; g.at == 0 || now.Sub(g.at) > addrsLifetime {
		g.router, g.local = lookUpGateway()
		g.at = now
	}
	return h.addrs.gateway.router, h.addrs.gateway.local, h.addrs.gateway.router.IsValid()
}

// lookUpGateway returns the router of the interface that datagrams to the internet leave by: of several default routes, that is
// not the one of a VPN that is not used. Both addresses are invalid if there is none.
func lookUpGateway() (router, local netip.Addr) {
	local = routedAddr()
	if !local.IsValid() {
		return netip.Addr{}, netip.Addr{}
	}
	name, network := interfaceOf(local)
	for _, r := range defaultRoutes() {
		if r.name == name && r.router.Is4() && network.Contains(r.router) {
			return r.router, local
		}
	}
	return netip.Addr{}, netip.Addr{}
}

// defaultRoute is a route to the internet.
type defaultRoute struct {
	name   string // of its interface
	router netip.Addr
}

// interfaceOf returns the name of the interface with an address, and the address's network.
func interfaceOf(local netip.Addr) (string, netip.Prefix) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", netip.Prefix{}
	}
	for _, i := range interfaces {
		list, err := i.Addrs()
		if err != nil {
			continue // the interface was removed
		}
		for _, a := range list {
			n, err := netip.ParsePrefix(a.String())
			if err == nil && n.Addr() == local {
				return i.Name, n.Masked()
			}
		}
	}
	return "", netip.Prefix{}
}
