package udp

import (
	"net"
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/ports/host"
)

// addrs are the addresses of the machine as last listed, which takes several system calls. Every handshake needs them.
type addrs struct {
	list func() []netip.Addr
	last []netip.Addr
	at   host.Instant // of last; zero before the first

	gateway gateway
}

// of returns the addresses at an instant, from the last list unless that is older than addrsLifetime. They are the caller's.
func (a *addrs) of(now host.Instant) []netip.Addr {
	if a.at == 0 || now.Sub(a.at) > addrsLifetime {
		a.last, a.at = a.list(), now
	}
	return slices.Clone(a.last)
}

// Addrs implements host.Host. The source address of datagrams to the internet comes first, so that a change of the route
// to another interface changes the result. A change may take a second to appear.
func (h *Host) Addrs() []netip.Addr { return h.addrs.of(h.clock.now) }

// listAddrs asks the system for the addresses.
func listAddrs() []netip.Addr {
	addrs, first := interfaceAddrs(), routedAddr()
	if i := slices.Index(addrs, first); i > 0 {
		addrs = slices.Insert(slices.Delete(addrs, i, i+1), 0, first)
	}
	return addrs
}

// routedAddr returns the source address of datagrams to the internet, invalid without a route. Nothing is sent.
func routedAddr() netip.Addr {
	c, err := net.Dial("udp4", documentationAddr)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

func interfaceAddrs() []netip.Addr {
	var addrs []netip.Addr
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil // without known interfaces there are no addresses
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		list, err := i.Addrs()
		if err != nil {
			continue // the interface was removed
		}
		for _, a := range list {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			if addr, ok := netip.AddrFromSlice(n.IP); ok && addr.Unmap().Is4() && !addr.Unmap().IsLoopback() {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs
}
